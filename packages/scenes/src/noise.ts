import type { Draw } from './random.ts';

/** A value at every place, in [0, 1]. */
export type Field = (x: number, y: number) => number;

/** Makes fields of cloudy noise whose largest features measure `scale` pixels. */
export type NoiseSource = (draw: Draw, scale: number) => Field;

const side = 128; // texels of the tile; it repeats
const texels = 8; // texels of the largest features

/**
 * Noise of four octaves, drawn once into a tile; every field of the source reads the tile elsewhere, turned and scaled. One smooth
 * look-up a pixel costs a quarter of summing octaves.
 */
export function noiseSource(draw: Draw): NoiseSource {
  const tile = drawTile(draw);
  return (fieldDraw, scale) => {
    const angle = fieldDraw.number(0, 2 * Math.PI);
    const [c, s] = [(Math.cos(angle) * texels) / scale, (Math.sin(angle) * texels) / scale];
    const [offsetX, offsetY] = [fieldDraw.number(0, side), fieldDraw.number(0, side)];
    return (x, y) => sample(tile, side, c * x + s * y + offsetX, c * y - s * x + offsetY);
  };
}

function drawTile(draw: Draw): Float32Array {
  const tile = new Float32Array(side * side);
  for (let cell = texels, share = 1; cell >= 1; cell /= 2, share *= 0.55) {
    const cells = side / cell;
    const lattice = Float32Array.from({ length: cells * cells }, () => draw.number(-1, 1));
    for (let y = 0, at = 0; y < side; y++) {
      for (let x = 0; x < side; x++, at++) tile[at]! += share * sample(lattice, cells, x / cell, y / cell);
    }
  }
  let [low, high] = [Infinity, -Infinity];
  for (const value of tile) [low, high] = [Math.min(low, value), Math.max(high, value)];
  return tile.map((value) => (value - low) / (high - low));
}

/** Smoothly between the four values around a place; the values repeat (`cells` is a power of two). */
function sample(values: Float32Array, cells: number, u: number, v: number): number {
  const i = Math.floor(u);
  const j = Math.floor(v);
  const fu = u - i;
  const fv = v - j;
  const a = fu * fu * (3 - 2 * fu);
  const b = fv * fv * (3 - 2 * fv);
  const wrap = cells - 1;
  const row = (j & wrap) * cells;
  const below = ((j + 1) & wrap) * cells;
  const column = i & wrap;
  const right = (i + 1) & wrap;
  const top = values[row + column]! * (1 - a) + values[row + right]! * a;
  const bottom = values[below + column]! * (1 - a) + values[below + right]! * a;
  return top * (1 - b) + bottom * b;
}

/** A repeatable number in [0, 1) for a cell of a lattice. */
export function cellHash(i: number, j: number, salt: number): number {
  let h = Math.imul(i, 0x27d4eb2d) ^ Math.imul(j, 0x165667b1) ^ salt;
  h = Math.imul(h ^ (h >>> 15), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return ((h ^ (h >>> 16)) >>> 0) / 0x100000000;
}
