// The .npy files of the service: float32 in C order, little-endian.

export interface Numpy {
  shape: number[];
  data: Float32Array;
}

/** Read a .npy file; throws an Error that says what is wrong with it. */
export function readNpy(buffer: ArrayBuffer): Numpy {
  const bytes = new Uint8Array(buffer);
  if (bytes[0] !== 0x93 || new TextDecoder().decode(bytes.subarray(1, 6)) !== "NUMPY") throw new Error("not a .npy file");
  const view = new DataView(buffer);
  const long = bytes[6]! > 1;
  const start = long ? 12 : 10;
  const end = start + (long ? view.getUint32(8, true) : view.getUint16(8, true));
  const head = new TextDecoder().decode(bytes.subarray(start, end));
  const shape = (head.match(/'shape': \(([^)]*)\)/)?.[1] ?? "").split(",").filter((part) => part.trim()).map(Number);
  if (!/'descr': '<f4'/.test(head) || /'fortran_order': True/.test(head)) throw new Error(`cannot show ${head}`);
  return { shape, data: new Float32Array(buffer.slice(end)) };
}

/** Write float32 as .npy. */
export function writeNpy(shape: number[], data: Float32Array): Blob {
  let head = `{'descr': '<f4', 'fortran_order': False, 'shape': (${shape.join(", ")},), }`;
  head = head.padEnd(64 * Math.ceil((head.length + 11) / 64) - 11) + "\n";
  const magic = new Uint8Array([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, head.length & 255, head.length >> 8]);
  return new Blob([magic, head, data as BlobPart], { type: "application/x-npy" });
}

/** Float16 numbers, each times a scale. */
export function halves(buffer: ArrayBuffer, scale: number): Float32Array {
  return Float32Array.from(new Uint16Array(buffer), (bits) => HALF[bits]! * scale);
}

const HALF = Float32Array.from({ length: 1 << 16 }, (_, bits) => {
  const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
  const size = exponent ? (exponent === 31 ? (fraction ? NaN : Infinity) : 2 ** (exponent - 15) * (1 + fraction / 1024)) : fraction / 2 ** 24;
  return bits >> 15 ? -size : size;
});
