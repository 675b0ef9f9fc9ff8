// What the service answers, as far as the page reads it; /docs has all of it.
export type Numbers = Record<string, number | (number | null)[] | null>;

export interface Measured {
  run: string;
  flow: string;
  cells: number[];
  samples: number;
  [metric: string]: unknown;
}

export interface Card {
  name: string;
  family: Family;
  flow: string | null;
  factor: number;
  frames: number;
  group: string | null;
  parameters: number;
  receptive_field: number;
  boundary: string[] | null;
  measured: Measured[];
  symmetry: {
    equivariance_error?: Record<string, number>;
    relaxation?: Record<string, Record<string, number>>;
  };
  uncertainty: { quantiles?: Record<string, number> };
}

export type Family = "trilinear" | "conv" | "equivariant" | "relaxed";

export interface Cards {
  models: Card[];
  default: string | null;
  /** Error of the best linear estimator over that of trilinear interpolation, by flow. */
  linear: Record<string, number>;
}

export interface Sample {
  name: string;
  run: string;
  factor: number;
  frames: number;
  boundary: string[];
  length: number[];
  cells: number[];
}

export interface Report {
  model: string;
  metrics: Numbers;
  trilinear: Numbers;
  warnings: string[];
  expected_mae: number | null;
}

export interface Volume {
  name: string;
  keys: number;
  bytes: number;
  variables: string[];
  cells: number[] | null;
  levels: number | null;
  boundary: string[] | null;
  problem: string | null;
}

/** Which symmetries the map between two volumes keeps. */
export interface Discovery {
  verdict: string;
}

export interface Job {
  id: string;
  task: "upscale" | "discover";
  state: "queued" | "running" | "done" | "failed" | "cancelled";
  detail: string | null;
  created: number;
  source: string;
  target: string | null;
  reference: string | null;
  model: string | null;
  boundary: string | null;
  names: Record<string, string>;
  drop: string[];
  stage: string;
  blocks: number | null;
  blocks_done: number;
  voxels_per_second: number | null;
  seconds_left: number | null;
  warnings: string[];
  report: Report | Discovery | null;
}
