// Drop a field in and see it sharpen.
import { computed, signal, useComputed } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { words } from "./api";
import { LogChart, type Line } from "./chart";
import { COARSE, FAMILY, TRUTH } from "./colours";
import { AXES, NAMES, difference, others, range, unit, type Axis, type Field, type Name, type Plane } from "./field";
import { Inputs } from "./inputs";
import { Alert, Choice, Notes, Warnings, format } from "./parts";
import { Metrics } from "./report";
import { ColourBar, Slice, WHOLE, Where, type Look } from "./slice";
import { kind } from "./spectrum";
import { ThreeOnDemand } from "./three";
import * as trial from "./trial";
import type { Answer } from "./trial";
import type { Family } from "./types";

const axis = signal<Axis>(0);
const share = signal(0.5);
const name = signal<Name>("u");
const look: Look = { camera: signal(WHOLE), probe: signal(null) };

interface Panel {
  name: string;
  plane: Plane;
  colour?: string;
  error?: boolean;
}

/** Planes that tell the range of a field: of the true one, or of the answer. */
function sampled(found: Answer, which: Name, along: Axis): Float32Array {
  const field = which === "error" ? found.fine : (found.truth ?? found.fine);
  const n = field.cells[along];
  const planes = [0.1, 0.3, 0.5, 0.7, 0.9].map((place) => field.plane(which, along, Math.floor(place * n)).data);
  const all = new Float32Array(planes.length * planes[0]!.length);
  planes.forEach((plane, i) => all.set(plane, i * plane.length));
  return all;
}

const index = computed(() => {
  const n = trial.answer.value?.fine.cells[axis.value] ?? 1;
  return Math.min(n - 1, Math.floor(share.value * n));
});

export function step(cells: number): void {
  const n = trial.answer.value?.fine.cells[axis.value] ?? 1;
  share.value = (Math.max(0, Math.min(n - 1, index.value + cells)) + 0.5) / n;
}

function panels(found: Answer, which: Name, along: Axis, at: number): Panel[] {
  const colour = FAMILY[found.model.family];
  if (which === "error") return [{ name: "expected error", plane: found.fine.plane("error", along, at), colour }, ...errors(found, along, at).slice(1)];
  const plane = (field: Field, i = at) => field.plane(which, along, i);
  return [
    { name: "coarse", plane: plane(found.coarse, Math.floor(at / found.model.factor)), colour: COARSE },
    { name: "trilinear", plane: plane(found.trilinear), colour: FAMILY.trilinear },
    { name: "answer", plane: plane(found.fine), colour },
    ...(found.truth ? [{ name: "truth", plane: plane(found.truth), colour: TRUTH }] : []),
  ];
}

function errors(found: Answer, along: Axis, at: number): Panel[] {
  if (!found.truth) return [];
  return [
    { name: "error of trilinear", plane: difference(found.trilinear, found.truth, along, at), colour: FAMILY.trilinear },
    { name: "error of answer", plane: difference(found.fine, found.truth, along, at), colour: FAMILY[found.model.family] },
  ];
}

function Slices({ found }: { found: Answer }) {
  const predicted = found.fine.components > 3;
  const which = name.value === "error" && !predicted ? "u" : name.value;
  const { units } = found.input;
  const along = axis.value;
  const at = index.value;
  const limits = useMemo(() => range(sampled(found, which, along)), [found, which, along]);
  const shown = useMemo(() => panels(found, which, along, at), [found, which, along, at]);
  const wrong = useMemo(() => (which === "error" ? [] : errors(found, along, at)), [found, which, along, at]);
  const worst = useMemo(() => (wrong[0] ? range(wrong[0].plane.data)[1] : 1), [wrong]);
  const [down, right] = others(along);
  const aspect = found.fine.length[down]! / found.fine.length[right]!;
  const n = found.fine.cells[along];
  const names = (Object.keys(NAMES) as Name[]).filter((each) => each !== "error" || predicted);
  return (
    <section class="slices" aria-label="Slices">
      <div class="tools">
        <Choice label="Field" value={which} options={names.map((each) => [each, NAMES[each].label, NAMES[each].about])} onChange={(next) => (name.value = next)} />
        <Choice label="Axis" value={String(along)} options={AXES.map((each, i) => [String(i), each, `planes normal to ${each}`])} onChange={(next) => (axis.value = Number(next) as Axis)} />
        <label class="slider">
          <span>
            {AXES[along]}: cell {at} of {n}
          </span>
          <input
            type="range"
            aria-label={`Plane along ${AXES[along]}`}
            min={0}
            max={n - 1}
            value={at}
            onInput={(event) => (share.value = (event.currentTarget.valueAsNumber + 0.5) / n)}
          />
        </label>
      </div>
      <div class="grid" style={{ "--columns": shown.length }}>
        {shown.map((panel) => (
          <Slice key={panel.name} {...panel} range={limits} aspect={aspect} look={look} />
        ))}
      </div>
      <ColourBar range={limits} unit={unit(which, units)} label={NAMES[which].label} />
      {wrong.length > 0 && (
        <>
          <div class="grid errors" style={{ "--columns": shown.length }}>
            {wrong.map((panel) => (
              <Slice key={panel.name} {...panel} range={[0, worst]} aspect={aspect} look={look} />
            ))}
          </div>
          <ColourBar range={[0, worst]} unit={unit("error", units)} label="|answer − truth|, mean over u, v, w" />
        </>
      )}
      <Where look={look} along={along} cells={found.fine.cells} />
      <p class="hint">
        Boundary along z, y, x: {found.boundary.join(", ")}. Rows run along {AXES[down]} upwards, columns along {AXES[right]}. Scroll to zoom, drag to move,
        double-click for the whole plane. Keys: <kbd>,</kbd> <kbd>.</kbd> step, <kbd>x</kbd> <kbd>y</kbd> <kbd>z</kbd> axis, <kbd>1</kbd>–<kbd>{names.length}</kbd> field;
        on a picture <kbd>+</kbd> <kbd>−</kbd> <kbd>0</kbd> and arrows.
      </p>
    </section>
  );
}

const LINES: Record<string, { dash?: number[]; colour: (family: Family) => string }> = {
  truth: { colour: () => TRUTH },
  coarse: { colour: () => COARSE, dash: [6, 4] },
  trilinear: { colour: () => FAMILY.trilinear },
  fine: { colour: (family) => FAMILY[family] },
};

function Spectra({ found }: { found: Answer }) {
  const given = trial.spectra.value;
  const lines = useMemo(
    () =>
      Object.entries(LINES).flatMap(([key, { dash, colour }]): Line[] => {
        const spectrum = given[key];
        if (!spectrum) return [];
        return [{ name: key === "fine" ? found.model.name : key, colour: colour(found.model.family), dash, x: spectrum.k, y: spectrum.energy }];
      }),
    [given, found],
  );
  const which = kind(found.fine);
  if (which === null) return <p class="why">No axis is periodic: there is no spectrum to draw.</p>;
  if (trial.unmeasured.value) return <Alert of={trial.unmeasured.value} />;
  const over = which === "shells" ? "wavenumber · 2π / longest edge" : `wavenumber along ${AXES[which]} · 2π / length along ${AXES[which]}`;
  const energy = `kinetic energy · (${unit("u", found.input.units)})²`;
  const end = Math.floor((which === "shells" ? Math.max(...found.coarse.cells) : found.coarse.cells[which]) / 2);
  return lines.length ? <LogChart lines={lines} x={over} y={energy} mark={end} label="Energy spectra of the fields" /> : <p class="why">Computing spectra…</p>;
}

/** The part of the error of interpolation that is left, if error and correction are independent. */
function left({ expected_mae, correction }: trial.Expected): string {
  return `${Math.round(100 * (expected_mae / Math.hypot(expected_mae, correction) || 0))} %`;
}

function Scores({ found }: { found: Answer }) {
  const { report, expected, failure } = trial.scores.value;
  if (report) return <Metrics report={report} />;
  if (failure) return <Alert of={`The answer could not be measured. ${failure}`} />;
  const spelled = (value: number) => [format(value), found.input.units.velocity].filter(Boolean).join(" ");
  return expected ? (
    <p class="expected">
      The truth is not known. The model expects a mean absolute error of <b>{spelled(expected.expected_mae)}</b>, and corrected trilinear interpolation by{" "}
      <b>{spelled(expected.correction)}</b>. If it is right, about <b>{left(expected)}</b> of the error of interpolation is left.
      {found.warnings.length > 0 && " Do not rely on this where a warning says that the field is unlike what the model knows."}
    </p>
  ) : (
    <p class="why">{found.truth || found.model.uncertainty.quantiles ? "Measuring…" : "The truth is not known, and this model predicts no error."}</p>
  );
}

function Results({ found }: { found: Answer }) {
  const solids = { trilinear: found.trilinear, [found.model.name]: found.fine, ...(found.truth ? { truth: found.truth } : {}) };
  const own = found.input.file && !found.input.name.endsWith(".npy");
  const busy = Boolean(trial.busy.value);
  const kindOfFile = found.input.name.split(".").pop();
  return (
    <>
      <h1 class="hidden">{found.input.name}, made finer</h1>
      <Warnings of={[...new Set([...found.warnings, ...(trial.scores.value.report?.warnings ?? [])])]} />
      <Slices found={found} />
      <div class="pair">
        <section>
          <h2>Energy spectra</h2>
          <Spectra found={found} />
        </section>
        <section>
          <h2>How good it is</h2>
          <Scores found={found} />
          <div class="actions">
            <button disabled={busy} title={found.fine.components > 3 ? "u, v, w and the expected error" : "u, v, w"} onClick={() => void trial.download(false)}>
              Download .npy
            </button>
            {own && (
              <button disabled={busy} onClick={() => void trial.download(true)}>
                Download .{kindOfFile}
              </button>
            )}
          </div>
        </section>
      </div>
      <section class="three">
        <h2>In three dimensions</h2>
        <ThreeOnDemand solids={solids} first={found.model.name} units={found.input.units} />
      </section>
    </>
  );
}

function Welcome() {
  const loaded = useComputed(() => trial.cards.value !== null);
  return (
    <div class="welcome">
      <h1>Super-resolve a turbulent velocity field</h1>
      <p>
        Give a coarse velocity field, block means of a finer one. A network that respects the symmetries of the flow makes it {trial.chosen.value.card?.factor ?? 4} times
        as fine along every axis. Drop a file, or begin with a sample that no model was trained on.
      </p>
      {loaded.value && trial.samples.value[0] && (
        <div class="actions">
          {trial.samples.value.map((sample) => (
            <button key={sample.name} class="main" onClick={() => void trial.choose(sample)}>
              Try {sample.name}
            </button>
          ))}
        </div>
      )}
    </div>
  );
}

export function Try() {
  useEffect(() => {
    trial.load().catch((error) => (trial.failure.value = words(error)));
    const onKey = (event: KeyboardEvent) => {
      const isTyped = (event.target as Element).closest("select, input:not([type=radio], [type=range])");
      if (event.ctrlKey || event.metaKey || event.altKey || isTyped) return;
      const names = Object.keys(NAMES) as Name[];
      if (event.key === "." || event.key === ",") step(event.key === "." ? 1 : -1);
      else if (AXES.includes(event.key as "z")) axis.value = AXES.indexOf(event.key as "z") as Axis;
      else if (names[Number(event.key) - 1]) name.value = names[Number(event.key) - 1]!;
    };
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  }, []);
  const found = trial.answer.value;
  return (
    <div class="try">
      <Inputs />
      <div class="results" aria-busy={Boolean(trial.busy.value)}>
        <Notes>
          <Alert of={trial.failure.value} />
          {trial.busy.value && (
            <p class="note busy" role="status">
              {trial.busy.value}…
            </p>
          )}
        </Notes>
        {found ? <Results found={found} /> : !trial.busy.value && <Welcome />}
      </div>
    </div>
  );
}
