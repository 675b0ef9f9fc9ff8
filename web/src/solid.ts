// What is drawn in three dimensions.
import { range, type Name } from "./field";

export interface Solid {
  cells: [number, number, number];
  length: number[];
  /** A field at all cells, (z, y, x) with x running fastest. */
  values(name: Name): Float32Array | Promise<Float32Array>;
}

/** What the largest byte stands for, in tops. */
export const MOST = 1.5;

/** Values as bytes, and the top: the end of the range of the reference. */
export interface Packed {
  data: Uint8Array;
  top: number;
}

const packed = new WeakMap<Solid, Map<Name, Promise<Packed>>>();

/** A field of a solid as bytes, derived or fetched once. Solids of one reference have one top, so that their levels and colours compare. */
export function pack(solid: Solid, name: Name, reference: Solid): Promise<Packed> {
  const mine = packed.get(solid) ?? new Map<Name, Promise<Packed>>();
  packed.set(solid, mine);
  const found = mine.get(name) ?? make(solid, name, reference);
  mine.set(name, found);
  found.catch(() => mine.delete(name));
  return found;
}

async function make(solid: Solid, name: Name, reference: Solid): Promise<Packed> {
  const shared = solid === reference ? null : (await pack(reference, name, reference)).top;
  const values = await solid.values(name);
  const top = shared ?? range(values)[1];
  const scale = 255 / (MOST * top);
  return { data: Uint8Array.from(values, (value) => Math.max(0, Math.min(255, value * scale))), top };
}
