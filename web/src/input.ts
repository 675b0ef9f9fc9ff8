// What a trial begins with: the velocity of a file or of a held-out sample, and the true field that belongs to it.
import { bytes, warnings } from "./api";
import type { Units } from "./field";
import { readNpy } from "./npy";
import type { Card } from "./types";

export type Cells = [number, number, number];

/** Fine cells that a tab can hold and draw. */
const MOST = 256 ** 3;
/** Lengths may differ by so much, relative to them, as coordinates are rounded. */
const ROUNDING = 1e-3;
const NETCDF = "application/netcdf";
const TYPES: Record<string, string> = { npy: "application/x-npy", zip: "application/zip", nc: NETCDF, nc4: NETCDF, cdf: NETCDF, h5: NETCDF, hdf5: NETCDF };

/** How a file names what it holds, and what of it is left out; "" where nothing is to be said. */
export interface Naming {
  names: string;
  drop: string;
}

interface Velocity {
  name: string;
  /** All times of the file, (3, z, y, x) or (time, 3, z, y, x). */
  shape: number[];
  data: Float32Array;
  length: number[];
  /** Of the file, of each axis: ascending, descending or none; of a sample unknown. */
  coordinates: string[];
  units: Units;
  /** The boundary that the file or the sample says. */
  boundary: string[] | null;
  /** What is doubtful about the file. */
  warnings: string[];
  /** The file itself, for an answer in its own container; none of a sample. */
  file: File | null;
  naming: Naming;
}

export interface Truth {
  name: string;
  data: Float32Array;
  cells: number[];
  /** The time of the coarse field that it belongs to. */
  time: number;
}

export interface Input extends Velocity {
  truth: Truth | null;
}

export function cellsOf({ shape }: Velocity): Cells {
  return shape.slice(-3) as Cells;
}

export function times({ shape }: Velocity): number {
  return shape.length > 4 ? shape[0]! : 1;
}

/** A file as a request. */
export function posted(file: File): RequestInit {
  const type = TYPES[file.name.split(".").pop()!.toLowerCase()] ?? "application/octet-stream";
  return { method: "POST", body: file, headers: { "Content-Type": type } };
}

/** The velocity of a file, read by the service. */
export async function read(file: File, naming: Naming, query: Record<string, string>, signal: AbortSignal): Promise<Velocity> {
  const { headers, content } = await bytes(`/v1/velocity?${new URLSearchParams({ ...naming, ...query })}`, { ...posted(file), signal });
  const { shape, data } = readNpy(content);
  const said = headers.get("Eddylift-Boundary");
  const length = headers.get("Eddylift-Length")!.split(",").map(Number);
  const [velocity, along] = (headers.get("Eddylift-Units") ?? "").split(",").map(decodeURIComponent);
  const coordinates = headers.get("Eddylift-Coordinates")?.split(",") ?? [];
  const units = { velocity, length: along };
  return { name: file.name, shape, data, length, coordinates, units, boundary: said ? said.split(",") : null, warnings: warnings(headers), file, naming };
}

/** Refuse a field that the model cannot take, or whose answer a tab cannot hold. */
export function requireFit(given: Velocity, card: Card): void {
  const cells = cellsOf(given);
  if (cells.reduce((product, n) => product * n * card.factor, 1) > MOST)
    throw new Error(`${cells.join(" × ")} cells are too many for this page: store the field as a volume and look at it there.`);
  if (times(given) < card.frames) throw new Error(`${given.name} has ${times(given)} times; ${card.name} takes ${card.frames}.`);
}

/** A coarse field with the true one of a time; throws for one of other cells or another place. */
export function withTruth(coarse: Input, fine: Velocity, factor: number, time: number): Input {
  const [have, want] = [cellsOf(fine), cellsOf(coarse).map((n) => n * factor)];
  if (have.join() !== want.join() || times(fine) > 1)
    throw new Error(`The true field has cells ${have.join(" × ")} at ${times(fine)} times; expected ${want.join(" × ")} at one time.`);
  const axis = ["z", "y", "x"].find((_, i) => [coarse.coordinates[i], fine.coordinates[i]].sort().join() === "descending,none");
  if (axis) throw new Error(`One file has coordinates ${axis} that descend, the other one has none: its ends may be swapped.`);
  const [known, also] = [coarse, fine].map(({ coordinates }) => !coordinates.includes("none"));
  if (known && also && coarse.length.some((along, i) => Math.abs(fine.length[i]! - along) > ROUNDING * along))
    throw new Error(`The true field is ${spell(fine.length)} long; expected ${spell(coarse.length)}, as the coarse field is.`);
  const measured = known || !also ? coarse : fine;
  return {
    ...coarse,
    length: measured.length,
    units: { velocity: coarse.units.velocity || fine.units.velocity, length: measured.units.length },
    warnings: [...coarse.warnings, ...fine.warnings],
    truth: { name: fine.name, data: fine.data, cells: have, time },
  };
}

function spell(length: number[]): string {
  return length.map((along) => Number(along.toPrecision(4))).join(" × ");
}
