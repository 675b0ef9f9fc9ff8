// What is drawn in three dimensions.
import { range, type Name } from "./field";

export interface Solid {
  cells: [number, number, number];
  length: number[];
  /** A field at all cells, (z, y, x) with x running fastest. */
  values(name: Name): Float32Array | Promise<Float32Array>;
}

/** Values as bytes: 255 is half as much again as the top, the end of their range. */
export interface Packed {
  data: Uint8Array;
  top: number;
}

const packed = new WeakMap<Solid, Map<Name, Promise<Packed>>>();

/** A field of a solid as bytes; derived or fetched once. */
export function pack(solid: Solid, name: Name): Promise<Packed> {
  const mine = packed.get(solid) ?? new Map<Name, Promise<Packed>>();
  packed.set(solid, mine);
  const found = mine.get(name) ?? Promise.resolve(solid.values(name)).then((values) => {
    const top = range(values)[1];
    const scale = 255 / (1.5 * top);
    return { data: Uint8Array.from(values, (value) => Math.max(0, Math.min(255, value * scale))), top };
  });
  mine.set(name, found);
  found.catch(() => mine.delete(name));
  return found;
}
