// All colours of data: one for each family of models, everywhere, and two maps for fields.
import type { Family } from "./types";

/** Okabe & Ito (2008), told apart by everyone; training/figures.py has the same. */
export const FAMILY: Record<Family, string> = {
  trilinear: "#7f7f7f",
  conv: "#E69F00",
  equivariant: "#0072B2",
  relaxed: "#D55E00",
};
/** Of irreps, in turn. */
export const IRREPS = ["#56B4E9", "#009E73", "#F0E442", "#CC79A7"];
export const TRUTH = "#009E73";
export const COARSE = "#CC79A7";

// Matplotlib's, at 33 places: inferno from dark to light, and RdBu from blue through white to red.
const SEQUENTIAL =
  "0000040403120b0724150b37210c4a2f0a5b3d09654a0c6b57106e64156e71196e7d1e6d8a226a972766a32c61b0315bbc3754c73e4cd24644db503be45a31eb6628f1731df68013f98e09fb9d07fcac11fbbc21f9cb35f5db4cf2ea69f3f68afcffa4";
const DIVERGING =
  "0530610e41791752901f63a82a71b23480b93f8ec0529dc86bacd184bcd99bc9e0aed3e6c2ddecd4e6f1e0ecf3ecf2f5f7f6f6f9eee7fbe5d8fddcc9fbccb4f8bb9ef5aa89ee9677e48066db6b55d05548c53e3dba2832ab162a930e267c072267001f";

/** 256 colours as ImageData holds them: 0xAABBGGRR. */
function table(stops: string): Uint32Array {
  const n = stops.length / 6 - 1;
  const channel = (stop: number, part: number) => parseInt(stops.substr(6 * stop + 2 * part, 2), 16);
  return Uint32Array.from({ length: 256 }, (_, i) => {
    const place = (i / 255) * n;
    const [stop, rest] = [Math.min(n - 1, Math.floor(place)), place - Math.min(n - 1, Math.floor(place))];
    const [r, g, b] = [0, 1, 2].map((part) => Math.round(channel(stop, part) * (1 - rest) + channel(stop + 1, part) * rest));
    return ((255 << 24) | (b! << 16) | (g! << 8) | r!) >>> 0;
  });
}

export const MAPS = { sequential: table(SEQUENTIAL), diverging: table(DIVERGING) };

/** Paint values, row 0 at the bottom; a range that is centred on zero has colours that are. Those that are no numbers stay clear. */
export function paint(
  { rows, columns, data }: { rows: number; columns: number; data: Float32Array },
  [low, high]: [number, number],
): ImageData {
  const map = low === -high ? MAPS.diverging : MAPS.sequential;
  const image = new ImageData(columns, rows);
  const pixels = new Uint32Array(image.data.buffer);
  const scale = 255 / (high - low);
  for (let row = 0; row < rows; row++) {
    const to = (rows - 1 - row) * columns;
    for (let column = 0, from = row * columns; column < columns; column++, from++) {
      const value = data[from]!;
      if (value === value) pixels[to + column] = map[Math.max(0, Math.min(255, Math.round((value - low) * scale)))]!;
    }
  }
  return image;
}
