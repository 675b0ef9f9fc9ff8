// One trial: a coarse field, what a model makes of it, and the true field where it is known.
import { computed, effect, signal } from "@preact/signals";
import { bytes, json, warnings, words } from "./api";
import { Field, type Units } from "./field";
import { format, parse } from "./npy";
import type { Spectrum } from "./spectrum";
import type { Card, Cards, Report, Sample } from "./types";

/** Fine cells that a tab can hold and draw. */
const MOST = 256 ** 3;
const NETCDF = "application/netcdf";
const TYPES: Record<string, string> = { npy: "application/x-npy", zip: "application/zip", nc: NETCDF, nc4: NETCDF, cdf: NETCDF, h5: NETCDF, hdf5: NETCDF };

export interface Input {
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
  /** The file itself, for an answer in its own container; none of a sample. */
  file: File | null;
  truth: { name: string; data: Float32Array } | null;
}

export interface Answer {
  input: Input;
  model: Card;
  boundary: string[];
  coarse: Field;
  fine: Field;
  trilinear: Field;
  truth: Field | null;
  warnings: string[];
}

export const cards = signal<Cards | null>(null);
export const samples = signal<Sample[]>([]);
export const input = signal<Input | null>(null);
/** What was chosen; "" leaves it to the service. */
export const model = signal("");
export const boundary = signal<string[] | null>(null);
export const level = signal(0);
export const answer = signal<Answer | null>(null);
export const report = signal<Report | null>(null);
export const expected = signal<{ expected_mae: number; correction: number } | null>(null);
export const spectra = signal<Record<string, Spectrum | null>>({});
export const busy = signal("");
export const failure = signal("");

/** The model that is used, and why. */
export const chosen = computed(() => {
  const list = cards.value?.models ?? [];
  const card = list.find((each) => each.name === (model.value || cards.value?.default)) ?? null;
  if (!card) return { card, why: "" };
  const why = model.value ? "chosen by you" : "the service's default";
  return { card, why };
});

/** The boundary that holds, and why; the rule is that of the service. */
export const ends = computed(() => {
  const card = chosen.value.card;
  if (boundary.value) return { ends: boundary.value, why: "chosen by you" };
  if (input.value?.boundary) return { ends: input.value.boundary, why: "given by the field" };
  if (card?.boundary) return { ends: card.boundary, why: `${card.name} was trained on it` };
  return { ends: ["periodic", "periodic", "periodic"], why: "neither the field nor the model gives one" };
});

let loading: Promise<void> | null = null;

/** Fetch what there is to choose from, once. */
export function load(): Promise<void> {
  const fetched = async () => {
    [cards.value, samples.value] = await Promise.all([
      json<Cards>("/v1/models"),
      json<{ samples: Sample[] }>("/v1/samples").then((found) => found.samples),
    ]);
  };
  loading ??= fetched().catch((error) => {
    loading = null;
    throw error;
  });
  return loading;
}

async function during(what: string, work: () => Promise<void>): Promise<void> {
  busy.value = what;
  failure.value = "";
  try {
    await work();
  } catch (error) {
    failure.value = words(error);
  } finally {
    busy.value = "";
  }
}

/** A file as a request. */
function posted(file: File): RequestInit {
  const type = TYPES[file.name.split(".").pop()!.toLowerCase()] ?? "application/octet-stream";
  return { method: "POST", body: file, headers: { "Content-Type": type } };
}

async function read(file: File, factor: number): Promise<Omit<Input, "truth">> {
  const { headers, content } = await bytes(`/v1/velocity?factor=${factor}`, posted(file));
  const { shape, data } = parse(content);
  const said = headers.get("Eddylift-Boundary");
  const length = headers.get("Eddylift-Length")!.split(",").map(Number);
  const [velocity, along] = (headers.get("Eddylift-Units") ?? "").split(",").map(decodeURIComponent);
  const coordinates = headers.get("Eddylift-Coordinates")?.split(",") ?? [];
  return { name: file.name, shape, data, length, coordinates, units: { velocity, length: along }, boundary: said ? said.split(",") : null, file };
}

/** Refuse a field that the model cannot take, or whose answer a tab cannot hold. */
function requireFit({ name, shape }: Input, card: Card): void {
  const cells = shape.slice(-3);
  if (cells.reduce((product, n) => product * n * card.factor, 1) > MOST)
    throw new Error(`${cells.join(" × ")} cells are too many for this page: store the field as a volume and look at it there.`);
  const times = shape.length > 4 ? shape[0]! : 1;
  if (times < card.frames) throw new Error(`${name} has ${times} times; ${card.name} takes ${card.frames}.`);
}

async function take(found: Input): Promise<void> {
  await load();
  if (chosen.value.card) requireFit(found, chosen.value.card);
  answer.value = report.value = expected.value = null;
  spectra.value = {};
  boundary.value = null;
  level.value = 0;
  input.value = found;
}

/** Take a file as the coarse field. */
export function drop(file: File): Promise<void> {
  return during(`Reading ${file.name}`, async () => {
    await take({ ...(await read(file, 1)), truth: null });
    await compute();
  });
}

/** Take a file as the true field of the coarse one that is there. */
export function dropTruth(file: File): Promise<void> {
  return during(`Reading ${file.name}`, async () => {
    const coarse = input.value!;
    const { shape, data, coordinates } = await read(file, chosen.value.card?.factor ?? 4);
    const [have, want] = [shape.slice(-3), coarse.shape.slice(-3).map((n) => n * (chosen.value.card?.factor ?? 4))];
    if (have.join() !== want.join() || shape.length > 4) throw new Error(`The true field has cells ${have.join(" × ")}; expected ${want.join(" × ")}, at one time.`);
    const axis = ["z", "y", "x"].find((_, i) => [coarse.coordinates[i], coordinates[i]].sort().join() === "descending,none");
    if (axis) throw new Error(`One file has coordinates ${axis} that descend, the other one has none: its ends may be swapped.`);
    input.value = { ...coarse, truth: { name: file.name, data } };
    await compute();
  });
}

/** Take a held-out sample, with its truth. */
export function choose(sample: Sample): Promise<void> {
  return during(`Fetching ${sample.name}`, async () => {
    const [coarse, fine] = await Promise.all(
      ["coarse", "fine"].map(async (part) => parse((await bytes(`/v1/samples/${sample.name}/${part}`)).content)),
    );
    const { name, length, boundary: said } = sample;
    await take({ name, ...coarse!, length, coordinates: [], units: {}, boundary: said, file: null, truth: { name, data: fine!.data } });
    await compute();
  });
}

/** Compute what is chosen, and say how good it is. */
export function recompute(): Promise<void> {
  return during("Computing", compute);
}

async function compute(): Promise<void> {
  const [given, { card }] = [input.value!, chosen.value];
  const said = ends.value.ends;
  if (!card) throw new Error("The service has no default model: choose one.");
  requireFit(given, card);
  const cells = given.shape.slice(-3) as [number, number, number];
  const size = 3 * cells[0] * cells[1] * cells[2];
  // A model takes as many times as it has frames, and answers the one in their middle.
  const first = Math.min(level.value, given.data.length / size - card.frames);
  const part = given.data.subarray(first * size, (first + card.frames) * size);
  const body = format([...(card.frames > 1 ? [card.frames] : []), 3, ...cells], part);
  const middle = part.subarray((card.frames >> 1) * size, ((card.frames >> 1) + 1) * size);
  busy.value = `Computing ${cells.map((n) => n * card.factor).join(" × ")} cells`;
  const query = new URLSearchParams({ boundary: said.join(",") });
  const upscale = async (name: string, what: Blob, error: boolean) => {
    const asked = new URLSearchParams([...query, ["model", name], ...(error ? [["error", "true"]] : [])]);
    return bytes(`/v1/upscale?${asked}`, { method: "POST", body: what, headers: { "Content-Type": "application/x-npy" } });
  };
  const [ours, plain] = await Promise.all([
    upscale(card.name, body, Boolean(card.uncertainty.quantiles)),
    upscale(`trilinear-x${card.factor}`, format([3, ...cells], middle), false),
  ]);
  const periodic = said.map((end) => end === "periodic");
  const fine = cells.map((n) => n * card.factor) as [number, number, number];
  const field = (data: Float32Array, shape: [number, number, number]) => new Field(data, shape, given.length, periodic);
  const found: Answer = {
    input: given,
    model: card,
    boundary: said,
    coarse: field(middle, cells),
    fine: field(parse(ours.content).data, fine),
    trilinear: field(parse(plain.content).data, fine),
    truth: given.truth && field(given.truth.data, fine),
    warnings: warnings(ours.headers),
  };
  answer.value = found;
  void judge(found, body, query).catch((error) => (failure.value = words(error)));
  measure(found);
}

/** Errors against the truth, or those that the model expects. */
async function judge(found: Answer, body: Blob, query: URLSearchParams): Promise<void> {
  report.value = expected.value = null;
  query = new URLSearchParams([...query, ["model", found.model.name]]);
  if (found.truth) {
    const form = new FormData();
    form.append("coarse", body, "coarse.npy");
    form.append("reference", format([3, ...found.truth.cells], found.truth.data), "reference.npy");
    const given = await json<Report>(`/v1/validate?${query}`, { method: "POST", body: form });
    if (answer.value === found) report.value = given;
  } else if (found.model.uncertainty.quantiles) {
    const headers = { "Content-Type": "application/x-npy" };
    const given = await json<{ expected_mae: number; correction: number }>(`/v1/check?${query}`, { method: "POST", body, headers });
    if (answer.value === found) expected.value = given;
  }
}

/** Spectra of all fields, one after the other, in a worker. */
function measure(found: Answer): void {
  spectra.value = {};
  const worker = new Worker(new URL("./spectrum.worker.ts", import.meta.url), { type: "module" });
  const fields = Object.entries({ truth: found.truth, fine: found.fine, trilinear: found.trilinear, coarse: found.coarse }).filter(([, field]) => field);
  const names = fields.map(([name]) => name);
  worker.onmessage = ({ data }: MessageEvent<Spectrum | null>) => {
    spectra.value = { ...spectra.value, [names.shift()!]: data };
    if (!names.length) worker.terminate();
  };
  for (const [, field] of fields) {
    const { data, cells, length, periodic } = field!;
    worker.postMessage({ data: data.slice(0, 3 * field!.size), cells, length, periodic });
  }
  const stop = effect(() => {
    if (answer.value !== found) {
      worker.terminate();
      queueMicrotask(() => stop());
    }
  });
}

/** Save what was computed: as .npy, or as a file of the kind that came. */
export function download(own: boolean): Promise<void> {
  return during("Preparing the file", () => save(own));
}

async function save(own: boolean): Promise<void> {
  const { fine, model: card, input: given, boundary: said } = answer.value!;
  let [blob, ending] = [format([fine.components, ...fine.cells], fine.data), "npy"];
  if (own && given.file) {
    const query = new URLSearchParams({ model: card.name, boundary: said.join(",") });
    const { content } = await bytes(`/v1/upscale?${query}`, posted(given.file));
    [blob, ending] = [new Blob([content]), given.file.name.split(".").pop()!];
  }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `${given.name.replace(/\.[^.]*$/, "")}-${card.name}.${ending}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
