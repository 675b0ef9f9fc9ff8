// A view of any size: it opens at once, and is computed only where somebody looks.
import { useSignal } from "@preact/signals";
import { useEffect, useMemo, useRef } from "preact/hooks";
import { bytes, warnings, words } from "./api";
import { Around } from "./around";
import { AXES, NAMES, others, unit, type Axis, type Name, type Units } from "./field";
import { useGestures, type ScreenPoint } from "./gestures";
import { Alert, Choice, Notes, Warnings, count, format } from "./parts";
import { ColourBar } from "./slice";
import { EDGE, Tiles, type SliceSpec } from "./tiles";

interface Head {
  fingerprint: string;
  cells: [number, number, number];
  /** Fine cells of a block. */
  block: [number, number, number];
  length: [number, number, number];
  times: number;
  factor: number;
  boundary: string;
  units: Units;
  error: boolean;
  warnings: string[];
}

interface Variable {
  shape: number[];
  dimension_names: string[];
  chunk_grid: { configuration: { chunk_shape: number[] } };
  attributes: { units?: string };
}

/** What the documents of a view say of it. */
async function open(view: string): Promise<Head> {
  const { headers, content } = await bytes(`${view}/zarr.json`);
  const { attributes, consolidated_metadata } = JSON.parse(new TextDecoder().decode(content)) as {
    attributes: Record<string, unknown>;
    consolidated_metadata: { metadata: Record<string, Variable> };
  };
  const { metadata } = consolidated_metadata;
  const velocity = metadata.u ?? Object.values(metadata).find((each) => each.dimension_names?.includes("component"))!;
  const time = velocity.dimension_names.indexOf("time");
  return {
    fingerprint: attributes.eddylift_fingerprint as string,
    cells: velocity.shape.slice(-3) as [number, number, number],
    block: velocity.chunk_grid.configuration.chunk_shape.slice(-3) as [number, number, number],
    length: attributes.eddylift_length as [number, number, number],
    times: time < 0 ? 1 : velocity.shape[time]!,
    factor: attributes.eddylift_factor as number,
    boundary: attributes.boundary as string,
    units: { velocity: velocity.attributes.units, length: metadata.x?.attributes.units },
    error: "error" in metadata,
    warnings: warnings(headers),
  };
}

/** The plane that is shown first: the middle of the block in the middle, as differences are one-sided at faces of blocks. */
function middle({ cells, block }: Head, axis: Axis): number {
  const face = block[axis] * Math.floor(cells[axis] / 2 / block[axis]);
  return Math.floor((face + Math.min(cells[axis], face + block[axis])) / 2);
}

export function Viewer({ volume, model }: { volume: string; model: string }) {
  const view = `/v1/views/${encodeURIComponent(volume)}/${encodeURIComponent(model)}`;
  const head = useSignal<Head | null>(null);
  const failure = useSignal("");
  useEffect(() => {
    open(view).then(
      (found) => (head.value = found),
      (error) => (failure.value = words(error)),
    );
  }, [view]);
  if (failure.value) return <Alert of={failure.value} />;
  return head.value ? <Pane view={`${view};fingerprint=${head.value.fingerprint}`} model={model.split(";")[0]!} head={head.value} /> : <p class="why opening">Opening…</p>;
}

function Pane({ view, model, head }: { view: string; model: string; head: Head }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const axis = useSignal<Axis>(0);
  const index = useSignal(middle(head, 0));
  const field = useSignal<Name>("speed");
  const time = useSignal(0);
  const status = useSignal({ pending: null as number | null, fetched: 0, failure: "", range: null as [number, number] | null });
  const probe = useSignal<{ x: number; y: number; value: number } | null>(null);
  const [down, right] = others(axis.value);
  const [rows, columns] = [head.cells[down], head.cells[right]];
  // Cells need not be squares.
  const tall = (head.length[down] / rows) * (columns / head.length[right]);
  // The middle of what is seen, in fine cells, and screen pixels per cell: 0 if all is to be seen, NaN before there is a screen.
  const camera = useRef({ x: 0, y: 0, scale: NaN });
  const dirty = useRef(0);
  const shown = useRef<SliceSpec | null>(null);

  // Tiles and the observer outlive a rendering, and are to draw by the axis of the last one.
  const latest = useRef(() => {});
  const redraw = () => {
    dirty.current ||= requestAnimationFrame(() => {
      dirty.current = 0;
      latest.current();
    });
  };
  const tiles = useMemo(() => new Tiles(redraw), []);
  useEffect(() => () => tiles.close(), []);

  const seen = () => {
    const { x, y, scale } = camera.current;
    const { width, height } = canvas.current!;
    const [across, up] = [width / scale, height / scale / tall];
    return { left: x - across / 2, bottom: y - up / 2, width: across, height: up, scale };
  };
  const draw = () => {
    const element = canvas.current;
    if (!element || Number.isNaN(camera.current.scale)) return;
    if (!camera.current.scale) whole();
    const context = element.getContext("2d")!;
    const window = seen();
    const found = tiles.look(window);
    context.imageSmoothingEnabled = false;
    context.clearRect(0, 0, element.width, element.height);
    for (const { level, row, column, plane, picture } of found) {
      const size = 2 ** level * window.scale;
      const left = (column * EDGE * 2 ** level - window.left) * window.scale;
      const bottom = element.height - (row * EDGE * 2 ** level - window.bottom) * window.scale * tall;
      const [x, y] = [Math.round(left), Math.round(bottom - plane.rows * size * tall)];
      context.drawImage(picture, x, y, Math.round(left + plane.columns * size) - x, Math.round(bottom) - y);
    }
    element.dataset.tiles = String(tiles.size);
    const { pending, fetched, failure, range } = tiles;
    const now = status.value;
    if (now.pending !== pending || now.fetched !== fetched || now.failure !== failure || now.range !== range) status.value = { pending, fetched, failure, range };
  };
  latest.current = draw;
  const fitting = (width: number, height: number) => Math.min(width / columns, height / rows / tall);
  const whole = () => {
    const { width, height } = canvas.current!;
    camera.current = { x: columns / 2, y: rows / 2, scale: fitting(width, height) };
  };

  useEffect(() => {
    const element = canvas.current!;
    const observer = new ResizeObserver(() => {
      [element.width, element.height] = [element.clientWidth, element.clientHeight].map((n) => Math.round(n * devicePixelRatio)) as [number, number];
      camera.current.scale ||= 0;
      latest.current();
    });
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  useEffect(() => {
    const slice: SliceSpec = { view, axis: axis.value, index: index.value, field: field.value, time: time.value, rows, columns, factor: head.factor };
    // All of another plane is to be seen.
    if (shown.current?.axis !== slice.axis) camera.current.scale &&= 0;
    tiles.show(slice);
    shown.current = slice;
    probe.value = null;
    redraw();
  }, [axis.value, index.value, field.value, time.value]);

  const move = (dx: number, dy: number) => {
    camera.current.x = Math.max(0, Math.min(columns, camera.current.x + dx));
    camera.current.y = Math.max(0, Math.min(rows, camera.current.y + dy));
    redraw();
  };
  const place = ({ clientX, clientY }: ScreenPoint) => {
    const box = canvas.current!.getBoundingClientRect();
    const window = seen();
    return {
      x: window.left + ((clientX - box.left) / box.width) * window.width,
      y: window.bottom + (1 - (clientY - box.top) / box.height) * window.height,
    };
  };
  /** Zoom, so that what is at a place stays there. */
  const zoom = (by: number, at?: ScreenPoint) => {
    const { width, height } = canvas.current!;
    const { x, y, scale: before } = camera.current;
    const fixed = at ? place(at) : { x, y };
    const smallest = fitting(width, height) / 2;
    const scale = Math.max(Math.min(smallest, 1), Math.min(32, before * by));
    const share = before / scale;
    camera.current = { scale, x: fixed.x + (x - fixed.x) * share, y: fixed.y + (y - fixed.y) * share };
    redraw();
  };
  const value = ({ x, y }: { x: number; y: number }) => {
    const found = tiles.look(seen()).reverse();
    for (const { level, row, column, plane } of found) {
      const [i, j] = [Math.floor(y / 2 ** level) - row * EDGE, Math.floor(x / 2 ** level) - column * EDGE];
      if (i >= 0 && j >= 0 && i < plane.rows && j < plane.columns) return plane.data[i * plane.columns + j]!;
    }
    return null;
  };
  const gestures = useGestures({
    drag: (dx, dy) => {
      const ratio = devicePixelRatio / camera.current.scale;
      move(-dx * ratio, (dy * ratio) / tall);
    },
    pinch: zoom,
    hover: (event) => {
      const at = event && place(event);
      const found = at && value(at);
      probe.value = at && found !== null ? { ...at, value: found } : null;
    },
  });
  const onKeyDown = (event: KeyboardEvent) => {
    const pace = 80 / camera.current.scale;
    const steps: Record<string, () => void> = {
      ArrowLeft: () => move(-pace, 0),
      ArrowRight: () => move(pace, 0),
      ArrowUp: () => move(0, pace / tall),
      ArrowDown: () => move(0, -pace / tall),
      "+": () => zoom(1.4),
      "=": () => zoom(1.4),
      "-": () => zoom(1 / 1.4),
      ",": () => (index.value = Math.max(0, index.value - 1)),
      ".": () => (index.value = Math.min(head.cells[axis.value] - 1, index.value + 1)),
      "0": () => (whole(), redraw()),
    };
    if (!steps[event.key]) return;
    event.preventDefault();
    steps[event.key]!();
  };
  const around = () => {
    const slice = shown.current!;
    const { x, y, scale } = camera.current;
    const at: [number, number, number] = [0, 0, 0];
    [at[axis.value], at[down], at[right]] = [index.value, y, x];
    return { view, time: time.value, cells: head.cells, length: head.length, middle: at, level: Math.min(Tiles.source(slice), Tiles.level(slice, scale)) };
  };
  const { label } = NAMES[field.value];
  const names = (Object.keys(NAMES) as Name[]).filter((each) => each !== "error" || head.error);
  const { pending, failure, range } = status.value;
  const at = probe.value;
  const derived = field.value === "vorticity" || field.value === "q";
  return (
    <div class="viewer">
      <Warnings of={head.warnings} />
      <div class="tools">
        <Choice label="Field" value={field.value} options={names.map((each) => [each, NAMES[each].label, NAMES[each].about])} onChange={(next) => (field.value = next)} />
        <Choice
          label="Axis"
          value={String(axis.value)}
          options={AXES.map((each, i) => [String(i), each, `planes normal to ${each}`])}
          onChange={(next) => {
            axis.value = Number(next) as Axis;
            index.value = middle(head, axis.value);
          }}
        />
        <label class="slider">
          <span>
            {AXES[axis.value]}: cell {index.value} of {head.cells[axis.value]}
          </span>
          <input type="range" aria-label={`Plane along ${AXES[axis.value]}`} min={0} max={head.cells[axis.value] - 1} value={index.value} onInput={(event) => (index.value = event.currentTarget.valueAsNumber)} />
        </label>
        {head.times > 1 && (
          <label class="level">
            Time level, 0 to {head.times - 1} <input type="number" min={0} max={head.times - 1} value={time.value} onChange={(event) => (time.value = Math.max(0, Math.min(head.times - 1, event.currentTarget.valueAsNumber || 0)))} />
          </label>
        )}
      </div>
      <canvas
        ref={canvas}
        tabIndex={0}
        role="application"
        aria-label={`Slice of ${label}, ${columns} by ${rows} fine cells. Arrows move, plus and minus zoom, comma and full stop step.`}
        onKeyDown={onKeyDown}
        onWheel={(event) => {
          event.preventDefault();
          zoom(2 ** (-event.deltaY / 300), event);
        }}
        {...gestures}
      />
      <div class="under">
        <span class="zoom">
          <button aria-label="Zoom in" onClick={() => zoom(1.6)}>
            +
          </button>
          <button aria-label="Zoom out" onClick={() => zoom(1 / 1.6)}>
            −
          </button>
          <button
            onClick={() => {
              whole();
              redraw();
            }}
          >
            Whole
          </button>
          <button onClick={() => tiles.fit()}>Fit colours</button>
        </span>
        <output role="status">
          {at && `${label} = ${format(at.value)} at cell ${AXES[down]} ${Math.floor(at.y)}, ${AXES[right]} ${Math.floor(at.x)} · `}
          {pending ? `${count(pending, "tile")} to come` : pending === 0 && !failure && "all tiles are here"}
        </output>
      </div>
      <Notes>
        <Alert of={failure} />
      </Notes>
      {range && <ColourBar range={range} unit={unit(field.value, head.units)} label={label} />}
      <p class="hint">
        {head.cells.join(" × ")} cells, boundary {head.boundary.split(",").join(", ")}. The coarse source comes first; fine blocks follow where you look, from the
        middle outwards. Rows run along {AXES[down]} upwards, columns along {AXES[right]}.
        {derived && ` Differences are one-sided, and less exact, at the faces of blocks of ${head.block.join(" × ")} cells.`} Scroll or pinch to zoom, drag to move.
        Keys, on the picture: arrows, <kbd>+</kbd> <kbd>−</kbd> <kbd>0</kbd>, <kbd>,</kbd> <kbd>.</kbd> step.
      </p>
      <Around name={model} units={head.units} place={around} />
    </div>
  );
}
