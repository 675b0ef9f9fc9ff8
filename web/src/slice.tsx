// One plane as a picture: all that are side by side share a camera, a range of colours and a probe.
import { useSignalEffect, type Signal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { paint } from "./colours";
import { AXES, others, type Axis, type Plane } from "./field";
import { useGestures, type ScreenPoint } from "./gestures";
import { format } from "./parts";

/** What part of the plane is seen: its middle, in shares of the plane from the bottom left, and the magnification. */
export interface Camera {
  x: number;
  y: number;
  zoom: number;
}

export const WHOLE: Camera = { x: 0.5, y: 0.5, zoom: 1 };

export interface Look {
  camera: Signal<Camera>;
  /** Where the pointer is, in shares of the plane from the bottom left. */
  probe: Signal<{ x: number; y: number } | null>;
}

const clamp = (value: number, low: number, high: number) => Math.max(low, Math.min(high, value));

export function moved(camera: Camera): Camera {
  const zoom = clamp(camera.zoom, 1, 64);
  const half = 0.5 / zoom;
  return { zoom, x: clamp(camera.x, half, 1 - half), y: clamp(camera.y, half, 1 - half) };
}

/** The value of a plane at a place in it. */
export function at(plane: Plane, { x, y }: { x: number; y: number }): number {
  const [row, column] = [Math.floor(y * plane.rows), Math.floor(x * plane.columns)];
  return plane.data[clamp(row, 0, plane.rows - 1) * plane.columns + clamp(column, 0, plane.columns - 1)]!;
}

const MOVES: Record<string, (camera: Camera) => Camera> = {
  ArrowLeft: (camera) => ({ ...camera, x: camera.x - 0.1 / camera.zoom }),
  ArrowRight: (camera) => ({ ...camera, x: camera.x + 0.1 / camera.zoom }),
  ArrowUp: (camera) => ({ ...camera, y: camera.y + 0.1 / camera.zoom }),
  ArrowDown: (camera) => ({ ...camera, y: camera.y - 0.1 / camera.zoom }),
  "+": (camera) => ({ ...camera, zoom: camera.zoom * 1.4 }),
  "-": (camera) => ({ ...camera, zoom: camera.zoom / 1.4 }),
  "0": () => WHOLE,
};

interface Props {
  name: string;
  plane: Plane;
  range: [number, number];
  /** Height over width of the plane. */
  aspect: number;
  look: Look;
  colour?: string;
}

export function Slice({ name, plane, range, aspect, look, colour }: Props) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const picture = useRef<HTMLCanvasElement | null>(null);

  const draw = () => {
    const element = canvas.current;
    if (!element || !picture.current) return;
    const width = Math.round(element.clientWidth * devicePixelRatio) || 1;
    const height = Math.round(width * aspect);
    if (element.width !== width || element.height !== height) [element.width, element.height] = [width, height];
    const { x, y, zoom } = look.camera.value;
    const context = element.getContext("2d")!;
    context.imageSmoothingEnabled = false;
    const { rows, columns } = plane;
    const [left, top] = [(x - 0.5 / zoom) * columns, (1 - y - 0.5 / zoom) * rows];
    context.clearRect(0, 0, width, height);
    context.drawImage(picture.current, left, top, columns / zoom, rows / zoom, 0, 0, width, height);
  };

  useEffect(() => {
    const offscreen = (picture.current ??= document.createElement("canvas"));
    [offscreen.width, offscreen.height] = [plane.columns, plane.rows];
    offscreen.getContext("2d")!.putImageData(paint(plane, range), 0, 0);
    draw();
    const observer = new ResizeObserver(draw);
    observer.observe(canvas.current!);
    return () => observer.disconnect();
  }, [plane, range[0], range[1], aspect]);
  useSignalEffect(() => {
    look.camera.value;
    draw();
  });

  const place = ({ clientX, clientY }: ScreenPoint) => {
    const box = canvas.current!.getBoundingClientRect();
    const { x, y, zoom } = look.camera.value;
    return {
      x: x + ((clientX - box.left) / box.width - 0.5) / zoom,
      y: y - ((clientY - box.top) / box.height - 0.5) / zoom,
    };
  };
  /** Zoom, so that what is at a place stays there. */
  const magnify = (by: number, at: ScreenPoint) => {
    const fixed = place(at);
    const { x, y, zoom } = look.camera.value;
    const next = clamp(zoom * by, 1, 64);
    const share = zoom / next;
    look.camera.value = moved({ zoom: next, x: fixed.x + (x - fixed.x) * share, y: fixed.y + (y - fixed.y) * share });
  };
  const onWheel = (event: WheelEvent) => {
    // Of the whole plane nothing more can be seen: the wheel scrolls the page.
    if (look.camera.value.zoom === 1 && event.deltaY > 0) return;
    event.preventDefault();
    magnify(2 ** (-event.deltaY / 300), event);
  };
  const gestures = useGestures({
    drag: (dx, dy) => {
      const { width, height } = canvas.current!.getBoundingClientRect();
      const { x, y, zoom } = look.camera.value;
      look.camera.value = moved({ zoom, x: x - dx / width / zoom, y: y + dy / height / zoom });
    },
    pinch: magnify,
    hover: (event) => {
      look.probe.value = event && place(event);
    },
  });
  const probe = look.probe.value;
  const { x, y, zoom } = look.camera.value;
  const mark = probe && { left: `${100 * ((probe.x - x) * zoom + 0.5)}%`, top: `${100 * ((y - probe.y) * zoom + 0.5)}%` };
  return (
    <figure class="slice">
      <figcaption>
        <span class="dot" style={{ background: colour ?? "var(--rule)" }} />
        <b>{name}</b>
        <span class="value">{probe ? format(at(plane, probe)) : `${plane.columns} × ${plane.rows}`}</span>
      </figcaption>
      <div class="frame">
        <canvas
          ref={canvas}
          role="application"
          aria-label={`Slice of the ${name} field, ${plane.columns} by ${plane.rows} cells. Arrows move, plus and minus zoom.`}
          style={{ aspectRatio: `1 / ${aspect}`, touchAction: zoom > 1 ? "none" : "pan-y" }}
          onWheel={onWheel}
          {...gestures}
          tabIndex={0}
          onKeyDown={(event) => {
            const move = MOVES[event.key];
            if (!move) return;
            event.preventDefault();
            const { x, y } = (look.camera.value = moved(move(look.camera.value)));
            look.probe.value = { x, y };
          }}
          onBlur={() => (look.probe.value = null)}
          onDblClick={() => (look.camera.value = WHOLE)}
        />
        {mark && <i class="probe" style={mark} />}
      </div>
    </figure>
  );
}

/** Which cell of a volume the probe is in. */
export function Where({ look, along, cells }: { look: Look; along: Axis; cells: [number, number, number] }) {
  const probe = look.probe.value;
  const [down, right] = others(along);
  const cell = (axis: Axis, share: number) => `${AXES[axis]} ${clamp(Math.floor(share * cells[axis]), 0, cells[axis] - 1)}`;
  return <output class="hint">{probe ? `Probe: fine cell ${cell(down, probe.y)}, ${cell(right, probe.x)}` : "Point at a picture to read the values of a cell."}</output>;
}

/** The colours of a range, with its ends and the unit; those from a share of the map on if not all are used. */
export function ColourBar({ range, unit, label, from = 0 }: { range: [number, number]; unit: string; label: string; from?: number }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useEffect(() => {
    const [low, high] = range;
    const data = Float32Array.from({ length: 256 }, (_, i) => low + (i / 255) * (high - low));
    canvas.current!.getContext("2d")!.putImageData(paint({ rows: 1, columns: 256, data }, [low - (from * (high - low)) / (1 - from), high]), 0, 0);
  }, [range[0], range[1], from]);
  return (
    <div class="bar" role="img" aria-label={`Colours of ${label} from ${format(range[0])} to ${format(range[1])} in units of ${unit}`}>
      <canvas ref={canvas} width={256} height={1} />
      <div>
        <span>{format(range[0])}</span>
        <span class="unit">
          {label} · {unit}
        </span>
        <span>{format(range[1])}</span>
      </div>
    </div>
  );
}
