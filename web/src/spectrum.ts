// Kinetic energy by wavenumber, as models/metrics/spectra.py defines it.
import type { Field } from "./field";

export interface Spectrum {
  k: number[];
  energy: number[];
}

/** What a worker is sent, and what it is asked for: along which axes the field is periodic decides the kind. */
export interface SpectrumRequest {
  data: Float32Array;
  cells: [number, number, number];
  length: number[];
  periodic: boolean[];
}

/** The kind of spectrum of a field: in shells if it is periodic and has cubic cells, else along a periodic axis. */
export function kind({ cells, length, periodic }: Pick<Field, "cells" | "length" | "periodic">): "shells" | 0 | 1 | 2 | null {
  const spacing = cells.map((n, axis) => length[axis]! / n);
  const cubic = Math.max(...spacing) < 1.001 * Math.min(...spacing);
  if (cubic && periodic.every(Boolean)) return "shells";
  return ([2, 1, 0] as const).find((axis) => periodic[axis]) ?? null;
}

/** Prime factors, small ones first. */
function factors(n: number): number[] {
  for (let p = 2; p * p <= n; p++) if (n % p === 0) return [p, ...factors(n / p)];
  return n > 1 ? [n] : [];
}

type Four = [Float64Array, Float64Array, Float64Array, Float64Array];

/** Transform a volume along one axis, in place: Stockham's method for any length, all lines of a layer together. */
export function along(re: Float64Array, im: Float64Array, cells: readonly number[], axis: number): void {
  const inner = [cells[1]! * cells[2]!, cells[2]!, 1][axis]!;
  const n = cells[axis]!;
  const [cos, sin] = [Math.cos, Math.sin].map((f) => Float64Array.from({ length: n }, (_, i) => f((-2 * Math.PI * i) / n)));
  const [spareRe, spareIm] = [new Float64Array(n * inner), new Float64Array(n * inner)];
  for (let start = 0; start < re.length; start += n * inner) {
    const whole = [re.subarray(start, start + n * inner), im.subarray(start, start + n * inner)] as const;
    let [fromRe, fromIm, toRe, toIm]: Four = [...whole, spareRe, spareIm];
    let done = 1;
    for (const p of factors(n)) {
      const [m, run] = [n / done / p, inner * done];
      for (let i = 0; i < m; i++)
        for (let t = 0; t < p; t++) {
          const to = run * (p * i + t);
          toRe.fill(0, to, to + run);
          toIm.fill(0, to, to + run);
          for (let r = 0; r < p; r++) {
            const turn = ((r * t * (n / p)) + i * t * done) % n;
            const [c, s] = [cos![turn]!, sin![turn]!];
            const from = run * (i + m * r);
            for (let q = 0; q < run; q++) {
              const [a, b] = [fromRe[from + q]!, fromIm[from + q]!];
              toRe[to + q]! += a * c - b * s;
              toIm[to + q]! += a * s + b * c;
            }
          }
        }
      [fromRe, fromIm, toRe, toIm] = [toRe, toIm, fromRe, fromIm];
      done *= p;
    }
    if (fromRe === spareRe) {
      whole[0].set(spareRe);
      whole[1].set(spareIm);
    }
  }
}

export function spectrum(request: SpectrumRequest): Spectrum | null {
  const found = kind(request);
  if (found === null) return null;
  const { data, cells } = request;
  const size = cells[0] * cells[1] * cells[2];
  const [longest, axes] = found === "shells" ? [Math.max(...cells), [2, 1, 0]] : [cells[found], [found]];
  const energy = new Float64Array((longest >> 1) + 2);
  const scale = found === "shells" ? size : cells[found];
  const wave = (i: number, axis: number) => ((2 * i <= cells[axis]! ? i : i - cells[axis]!) * longest) / cells[axis]!;
  for (let component = 0; component < 3; component++) {
    const re = Float64Array.from(data.subarray(component * size, (component + 1) * size));
    const im = new Float64Array(size);
    for (const axis of axes) along(re, im, cells, axis);
    for (let z = 0, at = 0; z < cells[0]; z++)
      for (let y = 0; y < cells[1]; y++)
        for (let x = 0; x < cells[2]; x++, at++) {
          const place = [z, y, x];
          const k = Math.hypot(...axes.map((axis) => wave(place[axis]!, axis)));
          const shell = Math.min(energy.length - 1, Math.floor(k + 0.5));
          energy[shell]! += (re[at]! ** 2 + im[at]! ** 2) / 2 / scale ** 2 / (found === "shells" ? 1 : size / scale);
        }
  }
  // What a simulation left empty holds round-off alone.
  const least = 1e-12 * energy.subarray(1).reduce((sum, each) => sum + each, 0);
  const k = Array.from({ length: longest >> 1 }, (_, i) => i + 1).filter((shell) => energy[shell]! > least);
  return { k, energy: k.map((shell) => energy[shell]!) };
}
