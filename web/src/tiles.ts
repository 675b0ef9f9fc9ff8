// Tiles of one slice through a view: fetched from the middle outwards, kept up to a bound, given up off screen.
import { bytes, words } from "./api";
import { paint } from "./colours";
import { AXES, range, type Axis, type Name, type Plane } from "./field";
import { halves } from "./npy";

export const EDGE = 256;
/** Levels that are coarser than the source's; the service has as many. */
const BEYOND = 2;
/** Tiles in memory beside those on screen: half a megabyte each. */
const BESIDE = 64;
const AT_A_TIME = 6;

export interface SliceSpec {
  /** Path of the view: /v1/views/<volume>/<model>. */
  view: string;
  axis: Axis;
  index: number;
  field: Name;
  time: number;
  /** Fine cells along rows and columns. */
  rows: number;
  columns: number;
  factor: number;
}

/** What of a slice is seen, in fine cells from its bottom left, and screen pixels per cell, along columns. */
export interface Window {
  left: number;
  bottom: number;
  width: number;
  height: number;
  scale: number;
}

export interface Tile {
  level: number;
  row: number;
  column: number;
  plane: Plane;
  picture: HTMLCanvasElement;
  /** The range that the picture has the colours of. */
  painted: [number, number] | null;
}

interface TilePlace {
  level: number;
  row: number;
  column: number;
  key: string;
}

export class Tiles {
  range: [number, number] | null = null;
  /** How many were fetched. */
  fetched = 0;
  private slice: SliceSpec | null = null;
  private readonly kept = new Map<string, Tile>();
  private readonly running = new Map<string, AbortController>();
  private queue: TilePlace[] = [];
  private wanted = new Set<string>();
  /** Those that the service refused, and why, until another slice is shown. */
  private readonly refused = new Map<string, string>();
  private tooFar = false;

  constructor(private readonly changed: () => void) {}

  get size(): number {
    return this.kept.size;
  }

  get pending(): number {
    return this.queue.length + this.running.size;
  }

  /** Why some of what is to be seen is not. */
  get failure(): string {
    if (this.tooFar) return "Zoom in: expected errors are known of fine cells alone.";
    return [...this.wanted].map((key) => this.refused.get(key)).find(Boolean) ?? "";
  }

  /** The level of the source's own grid. */
  static source(slice: SliceSpec): number {
    return Math.log2(slice.factor);
  }

  /** The level that is drawn with so many screen pixels per fine cell. */
  static level(slice: SliceSpec, scale: number): number {
    return Math.max(0, Math.min(Tiles.source(slice) + BEYOND, Math.floor(-Math.log2(scale) + 0.25)));
  }

  show(slice: SliceSpec): void {
    const before = this.slice;
    this.slice = slice;
    if (!before || before.field !== slice.field || before.view !== slice.view) this.range = null;
    this.refused.clear();
  }

  /** The tiles of a level that a window touches, those in the middle first. */
  private places(level: number, { left, bottom, width, height }: Window): TilePlace[] {
    const slice = this.slice!;
    const size = EDGE * 2 ** level;
    const prefix = `${slice.view}/slices/${AXES[slice.axis]}/${slice.index}/${level}`;
    const found: (TilePlace & { far: number })[] = [];
    const last = (n: number) => Math.ceil(n / size) - 1;
    for (let row = Math.max(0, Math.floor(bottom / size)); row <= Math.min(last(slice.rows), Math.floor((bottom + height) / size)); row++)
      for (let column = Math.max(0, Math.floor(left / size)); column <= Math.min(last(slice.columns), Math.floor((left + width) / size)); column++) {
        const far = Math.hypot((column + 0.5) * size - left - width / 2, (row + 0.5) * size - bottom - height / 2);
        found.push({ level, row, column, far, key: `${prefix}/${row}/${column}?field=${slice.field}&time=${slice.time}` });
      }
    return found.sort((a, b) => a.far - b.far);
  }

  /** Ask for what a window shows, and for nothing else; gives the tiles that are there, coarse ones first. */
  look(window: Window): Tile[] {
    const slice = this.slice;
    if (!slice) return [];
    const source = Tiles.source(slice);
    const level = Tiles.level(slice, window.scale);
    // The source costs nothing to compute, so that it comes first; nobody knows an expected error of it.
    const levels = level < source ? [source, level] : [level];
    const known = levels.filter((each) => slice.field !== "error" || each < source);
    this.tooFar = !known.length;
    const wanted = known.flatMap((each) => this.places(each, window));
    this.wanted = new Set(wanted.map(({ key }) => key));
    for (const [key, controller] of this.running)
      if (!this.wanted.has(key)) {
        controller.abort();
        this.running.delete(key);
      }
    this.queue = wanted.filter(({ key }) => !this.kept.has(key) && !this.running.has(key) && !this.refused.has(key));
    this.fill();
    const seen: Tile[] = [];
    for (let each = source + BEYOND; each >= level; each--)
      for (const { key } of this.places(each, window)) {
        const tile = this.kept.get(key);
        if (!tile) continue;
        this.kept.delete(key);
        this.kept.set(key, tile);
        seen.push(tile);
      }
    // Not before: what comes in may be of a field that was left meanwhile.
    if (!this.range && seen.length) this.fit();
    for (const tile of seen) if (tile.painted !== this.range) this.paint(tile);
    return seen;
  }

  private fill(): void {
    while (this.running.size < AT_A_TIME && this.queue.length) void this.fetch(this.queue.shift()!);
  }

  private async fetch({ key, level, row, column }: TilePlace): Promise<void> {
    const controller = new AbortController();
    this.running.set(key, controller);
    try {
      const { headers, content } = await bytes(key, { signal: controller.signal });
      if (controller.signal.aborted) return;
      const [rows, columns] = headers.get("X-Eddylift-Shape")!.split(",").map(Number) as [number, number];
      const data = halves(content, Number(headers.get("X-Eddylift-Scale")));
      this.fetched++;
      this.keep(key, { level, row, column, plane: { rows, columns, data }, picture: document.createElement("canvas"), painted: null });
    } catch (error) {
      if (controller.signal.aborted) return;
      this.refused.set(key, words(error));
    }
    this.running.delete(key);
    this.fill();
    this.changed();
  }

  private keep(key: string, tile: Tile): void {
    this.kept.set(key, tile);
    for (const old of this.kept.keys()) {
      if (this.kept.size <= this.wanted.size + BESIDE) break;
      if (!this.wanted.has(old)) this.kept.delete(old);
    }
  }

  /** Take the range of colours from all tiles of the slice that are there. */
  fit(): void {
    const { field } = this.slice!;
    const mine = [...this.kept].filter(([key]) => key.includes(`?field=${field}&`)).map(([, tile]) => tile);
    if (!mine.length) return;
    const values = new Float32Array(mine.reduce((sum, { plane }) => sum + plane.data.length, 0));
    let at = 0;
    for (const { plane } of mine) {
      values.set(plane.data, at);
      at += plane.data.length;
    }
    this.range = range(values);
    this.changed();
  }

  private paint(tile: Tile): void {
    const { plane, picture } = tile;
    [picture.width, picture.height] = [plane.columns, plane.rows];
    picture.getContext("2d")!.putImageData(paint(plane, this.range!), 0, 0);
    tile.painted = this.range;
  }

  close(): void {
    for (const controller of this.running.values()) controller.abort();
    this.running.clear();
    this.queue = [];
    this.kept.clear();
  }
}
