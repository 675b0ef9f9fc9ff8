// A velocity in memory, and the planes of what can be shown of it.

export type Name = "u" | "v" | "w" | "speed" | "vorticity" | "q" | "error";
export type Axis = 0 | 1 | 2;

export const AXES = ["z", "y", "x"] as const;
export const NAMES: Record<Name, { label: string; unit: string; about: string }> = {
  u: { label: "u", unit: "velocity", about: "velocity along x" },
  v: { label: "v", unit: "velocity", about: "velocity along y" },
  w: { label: "w", unit: "velocity", about: "velocity along z" },
  speed: { label: "speed", unit: "velocity", about: "|u|" },
  vorticity: { label: "vorticity", unit: "velocity / length", about: "|curl u|" },
  q: { label: "Q", unit: "(velocity / length)²", about: "positive where rotation prevails over strain" },
  error: { label: "expected error", unit: "velocity", about: "absolute error that the model expects" },
};

/** Of velocity and length, as far as a file says. */
export interface Units {
  velocity?: string;
  length?: string;
}

export function unit(name: Name, { velocity, length }: Units): string {
  return NAMES[name].unit.replace("velocity", velocity || "velocity").replace("length", length || "length");
}

export interface Plane {
  rows: number;
  columns: number;
  data: Float32Array;
}

/** The axes that rows and columns of a plane run along. */
export function others(axis: Axis): [Axis, Axis] {
  return axis === 0 ? [1, 2] : axis === 1 ? [0, 2] : [0, 1];
}

/** Velocity (3 or 4, z, y, x): u, v, w and, if there is a fourth component, its expected error. */
export class Field {
  readonly strides: [number, number, number];
  readonly size: number;

  constructor(
    readonly data: Float32Array,
    readonly cells: [number, number, number],
    readonly length: number[],
    readonly periodic: boolean[],
  ) {
    this.strides = [cells[1] * cells[2], cells[2], 1];
    this.size = cells[0] * cells[1] * cells[2];
  }

  get components(): number {
    return this.data.length / this.size;
  }

  private spacing(axis: Axis): number {
    return this.length[axis]! / this.cells[axis];
  }

  /** d(component)/d(axis) at a cell by central differences; one-sided at ends that are not periodic. */
  private slope(component: number, axis: Axis, position: number[], at: number): number {
    const [n, stride] = [this.cells[axis], this.strides[axis]];
    const i = position[axis]!;
    let [ahead, behind, steps] = [stride, -stride, 2];
    if (i === n - 1) this.periodic[axis] ? (ahead = -(n - 1) * stride) : ((ahead = 0), steps--);
    if (i === 0) this.periodic[axis] ? (behind = (n - 1) * stride) : ((behind = 0), steps--);
    const base = component * this.size + at;
    return (this.data[base + ahead]! - this.data[base + behind]!) / (steps * this.spacing(axis));
  }

  private value(name: Name, position: number[], at: number): number {
    const { data, size } = this;
    if (name === "u") return data[at]!;
    if (name === "v") return data[size + at]!;
    if (name === "w") return data[2 * size + at]!;
    if (name === "error") return data[3 * size + at]!;
    if (name === "speed") return Math.hypot(data[at]!, data[size + at]!, data[2 * size + at]!);
    const d = (component: number, axis: Axis) => this.slope(component, axis, position, at);
    const [uy, uz, vx, vz, wx, wy] = [d(0, 1), d(0, 0), d(1, 2), d(1, 0), d(2, 2), d(2, 1)];
    if (name === "vorticity") return Math.hypot(wy - vz, uz - wx, vx - uy);
    const [ux, vy, wz] = [d(0, 2), d(1, 1), d(2, 0)];
    return -(ux * ux + vy * vy + wz * wz) / 2 - uy * vx - uz * wx - vz * wy;
  }

  plane(name: Name, axis: Axis, index: number): Plane {
    const [down, right] = others(axis);
    const [rows, columns] = [this.cells[down], this.cells[right]];
    const data = new Float32Array(rows * columns);
    const position = [0, 0, 0];
    position[axis] = index;
    for (let row = 0, pixel = 0; row < rows; row++) {
      position[down] = row;
      let at = index * this.strides[axis] + row * this.strides[down];
      for (let column = 0; column < columns; column++, at += this.strides[right], pixel++) {
        position[right] = column;
        data[pixel] = this.value(name, position, at);
      }
    }
    return { rows, columns, data };
  }

  /** A field at all cells. */
  values(name: Name): Float32Array {
    const plane = this.cells[1] * this.cells[2];
    const found = new Float32Array(this.size);
    for (let z = 0; z < this.cells[0]; z++) found.set(this.plane(name, 0, z).data, z * plane);
    return found;
  }
}

/** |one - other| over the components, as a plane shows it. */
export function difference(one: Field, other: Field, axis: Axis, index: number): Plane {
  const planes = (["u", "v", "w"] as const).map((name) => [one.plane(name, axis, index), other.plane(name, axis, index)]);
  const { rows, columns } = planes[0]![0]!;
  const data = new Float32Array(rows * columns);
  for (const [a, b] of planes) for (let i = 0; i < data.length; i++) data[i]! += Math.abs(a!.data[i]! - b!.data[i]!) / 3;
  return { rows, columns, data };
}

/** Values that tell a range well enough; sorting millions would hold up the page. */
const ENOUGH = 1 << 18;

/** The range of colours for values: all but the half percent at each end; centred on zero if they have both signs. */
export function range(values: Float32Array): [number, number] {
  // Odd, so that it runs through all columns.
  const step = Math.ceil(values.length / ENOUGH) | 1;
  const some = step > 1 ? Float32Array.from({ length: Math.floor(values.length / step) }, (_, i) => values[i * step]!) : values;
  const sorted = some.filter(Number.isFinite).sort();
  if (!sorted.length) return [0, 1];
  let low = sorted[Math.floor(0.005 * sorted.length)]!;
  let high = sorted[Math.ceil(0.995 * sorted.length) - 1]!;
  if (low < 0 && high > 0) {
    high = Math.max(Math.abs(low), Math.abs(high));
    low = -high;
  }
  return high > low ? [low, high] : [low - 1, low + 1];
}
