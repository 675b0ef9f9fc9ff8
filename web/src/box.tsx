// A solid in three dimensions, to turn around.
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { words } from "./api";
import { NAMES, unit, type Units } from "./field";
import { useGestures } from "./gestures";
import { Alert, Choice, format } from "./parts";
import { ColourBar } from "./slice";
import { MOST, pack, type Solid } from "./solid";
import { DARKEST, stage, type Stage } from "./stage";

const KEYS: Record<string, [number, number, number]> = {
  ArrowLeft: [-0.1, 0, 1],
  ArrowRight: [0.1, 0, 1],
  ArrowUp: [0, 0.1, 1],
  ArrowDown: [0, -0.1, 1],
  "+": [0, 0, 0.9],
  "-": [0, 0, 1.1],
};

export function Box({ solids, first, units }: { solids: Record<string, Solid>; first: string; units: Units }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const made = useRef<Stage | null>(null);
  const which = useSignal(first);
  const way = useSignal<"surface" | "projection">("surface");
  const tint = useSignal<"vorticity" | "speed">("vorticity");
  const level = useSignal(0.25);
  /** The values that colours and bytes of the shape are relative to; null while a solid comes. */
  const tops = useSignal<{ tint: number; shape: number } | null>(null);
  const failure = useSignal("");
  useEffect(() => {
    try {
      made.current = stage(canvas.current!);
    } catch {
      failure.value = "The 3D view needs WebGL 2, which this browser does not support.";
    }
    return () => made.current?.close();
  }, []);
  // Which solids there are changes with the model.
  const shown = which.value in solids ? which.value : first;
  const solid = solids[shown]!;
  const reference = solids.truth ?? solids[first]!;
  useEffect(() => {
    let stale = false;
    if (made.current) failure.value = "";
    const surface = way.value === "surface";
    tops.value = null;
    Promise.all([pack(solid, tint.value, reference), surface ? pack(solid, "q", reference) : null]).then(
      ([colour, shape]) => {
        if (stale) return;
        tops.value = { tint: colour.top, shape: (shape ?? colour).top };
        made.current?.show(solid, shape ?? colour, shape && colour);
      },
      (error) => {
        // What is given up for another solid is no failure.
        if (!stale && error.name !== "AbortError") failure.value = words(error);
      },
    );
    return () => (stale = true);
  }, [solid, reference, way.value, tint.value]);
  useEffect(() => made.current?.cut(level.value), [level.value]);
  const gestures = useGestures({
    drag: (dx, dy) => made.current?.turn(-dx / 150, dy / 150, 1),
    pinch: (factor) => made.current?.turn(0, 0, 1 / factor),
  });
  return (
    <div class="box" aria-busy={tops.value === null}>
      <div class="tools">
        {Object.keys(solids).length > 1 && (
          <Choice label="Field in the box" value={shown} options={Object.keys(solids).map((name) => [name, name])} onChange={(next) => (which.value = next)} />
        )}
        <Choice
          label="Drawing"
          value={way.value}
          options={[
            ["surface", "surfaces of Q"],
            ["projection", "largest value", "along each line of sight"],
          ]}
          onChange={(next) => (way.value = next)}
        />
        <Choice
          label="Colour"
          value={tint.value}
          options={[
            ["vorticity", "vorticity"],
            ["speed", "speed"],
          ]}
          onChange={(next) => (tint.value = next)}
        />
        {way.value === "surface" && (
          <label class="slider">
            <span>{tops.value && `Q = ${format(level.value * MOST * tops.value.shape)} ${unit("q", units)}`}</span>
            <input type="range" aria-label="Level of Q" min={0.03} max={0.9} step={0.01} value={level.value} onInput={(event) => (level.value = event.currentTarget.valueAsNumber)} />
          </label>
        )}
      </div>
      <Alert of={failure.value} />
      <canvas
        ref={canvas}
        tabIndex={0}
        role="application"
        aria-label={`The ${shown} field in three dimensions. Arrows turn, plus and minus zoom.`}
        {...gestures}
        onWheel={(event) => {
          event.preventDefault();
          made.current?.turn(0, 0, 2 ** (event.deltaY / 600));
        }}
        onKeyDown={(event) => {
          if (!KEYS[event.key]) return;
          event.preventDefault();
          made.current?.turn(...KEYS[event.key]!);
        }}
      />
      {tops.value && <ColourBar range={[0, tops.value.tint]} unit={unit(tint.value, units)} label={NAMES[tint.value].label} from={way.value === "surface" ? DARKEST : 0} />}
    </div>
  );
}
