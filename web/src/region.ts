// A box of a view: up to 256^3 cells of one of its levels, fetched cube by cube.
import { signal } from "@preact/signals";
import { bytes } from "./api";
import { each } from "./each";
import type { Name } from "./field";
import { halves } from "./npy";
import type { Solid } from "./solid";

/** Cells along each side of what the service gives at once. */
const CUBE = 64;
const AT_A_TIME = 6;

type Three = [number, number, number];

export interface RegionSpec {
  /** Path of the view: /v1/views/<volume>/<model>. */
  view: string;
  time: number;
  /** Of the view, in its finest cells, and its lengths. */
  cells: Three;
  length: Three;
  level: number;
  /** What the box is to be around, in the finest cells. */
  middle: Three;
  /** Most cells along each side. */
  edge: number;
}

export class Region implements Solid {
  readonly cells: Three;
  readonly length: Three;
  /** Cubes that are awaited. */
  readonly pending = signal(0);
  /** Whether one of the cubes was refused. */
  readonly failed = signal(false);
  /** Of the first cube along each axis, in cubes. */
  private readonly first: Three;
  private readonly controller = new AbortController();

  constructor(private readonly place: RegionSpec) {
    const size = 2 ** place.level;
    const all = place.cells.map((n) => Math.ceil(n / size)) as Three;
    const [edge, middle] = [place.edge, place.middle.map((at) => at / size)];
    this.first = all.map((n, i) => {
      const last = Math.max(0, Math.ceil((n - edge) / CUBE));
      return Math.max(0, Math.min(last, Math.round((middle[i]! - edge / 2) / CUBE)));
    }) as Three;
    this.cells = all.map((n, i) => Math.min(edge, n - CUBE * this.first[i]!)) as Three;
    this.length = this.cells.map((n, i) => (place.length[i]! * n * size) / place.cells[i]!) as Three;
  }

  /** A field at all cells, those along x next to each other. */
  async values(name: Name): Promise<Float32Array> {
    this.failed.value = false;
    const [nz, ny, nx] = this.cells;
    const found = new Float32Array(nz * ny * nx);
    const cubes: Three[] = [];
    for (let z = 0; z < nz; z += CUBE) for (let y = 0; y < ny; y += CUBE) for (let x = 0; x < nx; x += CUBE) cubes.push([z, y, x]);
    let left = cubes.length;
    this.pending.value += left;
    const { view, level, time } = this.place;
    const fetch = async (corner: Three, failed: AbortSignal) => {
      const number = corner.map((at, i) => at / CUBE + this.first[i]!).join("/");
      const signal = AbortSignal.any([failed, this.controller.signal]);
      const { headers, content } = await bytes(`${view}/boxes/${level}/${number}?field=${name}&time=${time}`, { signal });
      const [depth, rows, columns] = headers.get("X-Eddylift-Shape")!.split(",").map(Number) as Three;
      const data = halves(content, Number(headers.get("X-Eddylift-Scale")));
      for (let z = 0; z < depth; z++)
        for (let y = 0; y < rows; y++) {
          const from = (z * rows + y) * columns;
          found.set(data.subarray(from, from + columns), ((corner[0] + z) * ny + corner[1] + y) * nx + corner[2]);
        }
      this.pending.value--;
      left--;
    };
    try {
      await each(cubes, AT_A_TIME, fetch);
    } catch (error) {
      this.failed.value = true;
      throw error;
    } finally {
      this.pending.value -= left;
    }
    return found;
  }

  close(): void {
    this.controller.abort();
  }
}
