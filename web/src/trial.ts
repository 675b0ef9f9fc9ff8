// One trial: a coarse field, what a model makes of it, and the true field where it is known.
import { computed, effect, signal } from "@preact/signals";
import { bytes, json, warnings, words } from "./api";
import { Field } from "./field";
import { cellsOf, posted, read, requireFit, times, withTruth, type Cells, type Input, type Naming } from "./input";
import { readNpy, writeNpy } from "./npy";
import type { Spectrum } from "./spectrum";
import type { Card, Cards, Report, Sample } from "./types";

export interface Answer {
  wanted: object;
  input: Input;
  model: Card;
  boundary: string[];
  /** The first of the times that it was made from. */
  level: number;
  coarse: Field;
  fine: Field;
  trilinear: Field;
  truth: Field | null;
  warnings: string[];
}

/** The mean absolute error that the model expects, and by how much it corrected interpolation. */
export interface Expected {
  expected_mae: number;
  correction: number;
}

/** Errors against the truth or those that the model expects, or why there are none; nothing yet while they are measured. */
interface Scores {
  report?: Report;
  expected?: Expected;
  failure?: string;
}

export const cards = signal<Cards | null>(null);
export const samples = signal<Sample[]>([]);
export const input = signal<Input | null>(null);
/** What was chosen; "" leaves it to the service. */
export const model = signal("");
export const boundary = signal<string[] | null>(null);
export const level = signal(0);
/** Of the files that are read next. */
export const naming = signal<Naming>({ names: "", drop: "" });
export const answer = signal<Answer | null>(null);
export const scores = signal<Scores>({});
export const spectra = signal<Record<string, Spectrum | null>>({});
/** Why there are no spectra. */
export const unmeasured = signal("");
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
  return { ends: ["periodic", "periodic", "periodic"], why: "assumed, as neither the field nor the model gives one" };
});

/** How many times of the input have an answer. */
export const levels = computed(() => (input.value && chosen.value.card ? times(input.value) - chosen.value.card.frames + 1 : 1));
/** The first of the times that the model takes: as many as it has frames. It answers the one in their middle. */
const first = computed(() => Math.max(0, Math.min(level.value, levels.value - 1)));
const answered = computed(() => first.value + ((chosen.value.card?.frames ?? 1) >> 1));

/** The true field, where it is of the time and of the cells that are answered. */
export const truth = computed(() => {
  const [given, factor] = [input.value, chosen.value.card?.factor];
  const fits = given?.truth && factor && given.truth.time === answered.value && given.truth.cells.join() === cellsOf(given).map((n) => n * factor).join();
  return fits ? given.truth : null;
});

/** All that an answer depends on: another object once any of it changes. */
const wanted = computed(() => ({ given: input.value, card: chosen.value.card, said: ends.value.ends, from: first.value, known: truth.value }));

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

let running = new AbortController();

/** Do something instead of what is being done, which is given up: it must not overwrite what comes of this. */
function during(what: string, work: (signal: AbortSignal) => Promise<void>): Promise<void> {
  running.abort();
  running = new AbortController();
  return told(what, work, running.signal);
}

async function told(what: string, work: (signal: AbortSignal) => Promise<void>, signal: AbortSignal): Promise<void> {
  busy.value = what;
  failure.value = "";
  try {
    await work(signal);
  } catch (error) {
    // Beside that of a file that could not be read.
    if (!signal.aborted) failure.value = [failure.value, words(error)].filter(Boolean).join("; ");
  } finally {
    if (!signal.aborted) busy.value = "";
  }
}

let reading: AbortSignal | null = null;

/** Read what is to be computed, and compute it; if that fails, what is chosen beside what was there before. */
function begin(what: string, get: (signal: AbortSignal) => Promise<void>): Promise<void> {
  return during(what, async (signal) => {
    reading = signal;
    try {
      await get(signal);
    } catch (error) {
      if (signal.aborted || !input.value || answer.value?.wanted === wanted.value) throw error;
      failure.value = words(error);
    } finally {
      if (reading === signal) reading = null;
    }
    await compute(signal);
  });
}

/** Take an input; a boundary is kept if it was chosen while the input was read. */
function take(found: Input, before: string[] | null): void {
  if (chosen.value.card) requireFit(found, chosen.value.card);
  answer.value = null;
  scores.value = {};
  spectra.value = {};
  if (boundary.value === before) boundary.value = null;
  level.value = 0;
  input.value = found;
}

/** What the service is to know of a file that it reads. */
function context(factor: number): Record<string, string> {
  const { card } = chosen.value;
  return { factor: String(factor), ...(card && { model: card.name }) };
}

function only(files: File[]): File {
  if (files.length > 1) throw new Error(`${files.map(({ name }) => name).join(", ")}: expected one file at a time.`);
  return files[0]!;
}

/** Take a file as the coarse field. */
export function drop(files: File[]): Promise<void> {
  const before = boundary.value;
  return begin(`Reading ${files[0]!.name}`, async (signal) => {
    const file = only(files);
    await load();
    take({ ...(await read(file, naming.value, context(1), signal)), truth: null }, before);
  });
}

/** Take a file as the true field of the coarse one that is there. */
export function dropTruth(files: File[]): Promise<void> {
  return begin(`Reading ${files[0]!.name}`, async (signal) => {
    const file = only(files);
    const [coarse, factor, time] = [input.value!, chosen.value.card?.factor ?? 4, answered.value];
    const { velocity } = coarse.units;
    const fine = await read(file, naming.value, { ...context(factor), ...(velocity && { units: velocity }) }, signal);
    input.value = withTruth(coarse, fine, factor, time);
  });
}

/** Take a held-out sample, with its truth. */
export function choose(sample: Sample): Promise<void> {
  const before = boundary.value;
  return begin(`Fetching ${sample.name}`, async (signal) => {
    const [coarse, fine] = await Promise.all(
      ["coarse", "fine"].map(async (part) => readNpy((await bytes(`/v1/samples/${sample.name}/${part}`, { signal })).content)),
    );
    const { name, length, boundary: said, frames } = sample;
    const truth = { name, data: fine!.data, cells: fine!.shape.slice(-3), time: frames >> 1 };
    const none = { names: "", drop: "" };
    take({ name, ...coarse!, length, coordinates: [], units: {}, boundary: said, warnings: [], file: null, naming: none, truth }, before);
  });
}

/** Compute what is chosen, and say how good it is; what is being read is computed in any case. */
export function recompute(): void {
  if (!reading) void during("Computing", compute);
}

async function compute(signal: AbortSignal): Promise<void> {
  const order = wanted.value;
  const { card, said, from, known } = order;
  const given = order.given!;
  if (!card) throw new Error("The service has no default model: choose one.");
  requireFit(given, card);
  const cells = cellsOf(given);
  const size = 3 * cells[0] * cells[1] * cells[2];
  const part = given.data.subarray(from * size, (from + card.frames) * size);
  const body = writeNpy([...(card.frames > 1 ? [card.frames] : []), 3, ...cells], part);
  const middle = part.subarray((card.frames >> 1) * size, ((card.frames >> 1) + 1) * size);
  busy.value = `Computing ${cells.map((n) => n * card.factor).join(" × ")} cells`;
  const query = new URLSearchParams({ boundary: said.join(",") });
  const upscale = async (name: string, what: Blob, error: boolean) => {
    const asked = new URLSearchParams([...query, ["model", name], ...(error ? [["error", "true"]] : [])]);
    return bytes(`/v1/upscale?${asked}`, { method: "POST", body: what, headers: { "Content-Type": "application/x-npy" }, signal });
  };
  const [ours, plain] = await Promise.all([
    upscale(card.name, body, Boolean(card.uncertainty.quantiles)),
    upscale(`trilinear-x${card.factor}`, writeNpy([3, ...cells], middle), false),
  ]);
  const periodic = said.map((end) => end === "periodic");
  const fine = cells.map((n) => n * card.factor) as Cells;
  const field = (data: Float32Array, shape: Cells) => new Field(data, shape, given.length, periodic);
  const found: Answer = {
    wanted: order,
    input: given,
    model: card,
    boundary: said,
    level: from,
    coarse: field(middle, cells),
    fine: field(readNpy(ours.content).data, fine),
    trilinear: field(readNpy(plain.content).data, fine),
    truth: known && field(known.data, fine),
    warnings: [...given.warnings, ...warnings(ours.headers)],
  };
  answer.value = found;
  scores.value = {};
  const gone = new AbortController();
  const stop = effect(() => {
    if (answer.value === found) return;
    gone.abort();
    queueMicrotask(() => stop());
  });
  void judge(found, body, query, gone.signal);
  measure(found, gone.signal);
}

/** Errors against the truth, or those that the model expects. */
async function judge(found: Answer, body: Blob, query: URLSearchParams, signal: AbortSignal): Promise<void> {
  const asked = new URLSearchParams([...query, ["model", found.model.name]]);
  try {
    if (found.truth) {
      asked.set("length", found.input.length.join());
      const form = new FormData();
      form.append("coarse", body, "coarse.npy");
      form.append("reference", writeNpy([3, ...found.truth.cells], found.truth.data), "reference.npy");
      scores.value = { report: await json<Report>(`/v1/validate?${asked}`, { method: "POST", body: form, signal }) };
    } else if (found.model.uncertainty.quantiles) {
      const headers = { "Content-Type": "application/x-npy" };
      scores.value = { expected: await json(`/v1/check?${asked}`, { method: "POST", body, headers, signal }) };
    }
  } catch (error) {
    if (!signal.aborted) scores.value = { failure: words(error) };
  }
}

/** Spectra of all fields, one after the other, in a worker. */
function measure(found: Answer, signal: AbortSignal): void {
  spectra.value = {};
  unmeasured.value = "";
  const worker = new Worker(new URL("./spectrum.worker.ts", import.meta.url), { type: "module" });
  signal.addEventListener("abort", () => worker.terminate());
  const fields = Object.entries({ truth: found.truth, fine: found.fine, trilinear: found.trilinear, coarse: found.coarse }).filter(([, field]) => field);
  const names = fields.map(([name]) => name);
  worker.onmessage = ({ data }: MessageEvent<Spectrum | null>) => {
    spectra.value = { ...spectra.value, [names.shift()!]: data };
    if (!names.length) worker.terminate();
  };
  worker.onerror = () => (unmeasured.value = "The spectra could not be computed. Load the page again.");
  for (const [, field] of fields) {
    const { data, cells, length, periodic } = field!;
    worker.postMessage({ data: data.slice(0, 3 * field!.size), cells, length, periodic });
  }
}

/** Save what was computed: as .npy, or as a file of the kind that came. */
export function download(own: boolean): Promise<void> {
  return told("Preparing the file", (signal) => save(own, signal), running.signal);
}

async function save(own: boolean, signal: AbortSignal): Promise<void> {
  const { fine, model: card, input: given, boundary: said, level: from } = answer.value!;
  const ofLevel = times(given) > 1 ? `-level-${from}` : "";
  let [blob, ending] = [writeNpy([fine.components, ...fine.cells], fine.data), `${ofLevel}.npy`];
  if (own && given.file) {
    const query = new URLSearchParams({ ...given.naming, model: card.name, boundary: said.join(",") });
    const { content } = await bytes(`/v1/upscale?${query}`, { ...posted(given.file), signal });
    [blob, ending] = [new Blob([content]), `.${given.file.name.split(".").pop()!}`];
  }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `${given.name.replace(/\.[^.]*$/, "")}-${card.name}${ending}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
