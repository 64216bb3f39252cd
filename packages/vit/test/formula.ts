import type { Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { samShapes } from '../src/checkpoint/sam-shapes.ts';
import type { RgbImage } from '../src/index.ts';
import { widthsOf } from '../src/sam/init.ts';
import type { SamPreset } from '../src/sam/presets.ts';

type Shape = readonly number[];

/** Every weight of a SAM of these sizes: Meta's name -> shape. */
export function shapesOf({ config, sizes }: SamPreset): Record<string, Shape> {
  return samShapes(widthsOf(config, sizes));
}

const seed = 1;

/** Weights by the formula of the fixture sam-b-formula (its seed is 1), so that models of full size need no files. */
export function formulaWeights(shapes: Readonly<Record<string, Shape>>): Weights {
  return Object.fromEntries(
    Object.entries(shapes).map(([name, shape]) => [name, tf.tensor(formulaValues(name, shape), [...shape])]),
  );
}

/** One weight: element i is a hash of i and the name as a number in [-1, 1), scaled by what the name and the shape tell. */
export function formulaValues(name: string, shape: Shape): Float32Array {
  const values = new Float32Array(shape.reduce((product, size) => product * size, 1));
  const { mean, scale } = distribution(name, shape, values.length);
  const start = fnv1a(name) + Math.imul(seed, 0x85ebca6b);
  for (let i = 0; i < values.length; i++) {
    let hash = (Math.imul(i, 0x9e3779b9) + start) >>> 0;
    hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
    hash = (hash ^ (hash >>> 16)) >>> 0;
    values[i] = mean + scale * ((hash / 2 ** 32) * 2 - 1);
  }
  return values;
}

function distribution(name: string, shape: Shape, count: number): { mean: number; scale: number } {
  if (name.includes('gaussian')) return { mean: 0, scale: 1.7 };
  if (name.includes('rel_pos') || name.includes('pos_embed')) return { mean: 0, scale: 0.05 };
  if (shape.length >= 2) {
    const inputs = /output_upscaling.*weight/.test(name) ? shape[0]! : count / shape[0]!;
    return { mean: 0, scale: Math.sqrt(3 / inputs) };
  }
  return name.endsWith('weight') ? { mean: 1, scale: 0.1 } : { mean: 0, scale: 0.05 };
}

/** The fixture's image: channel c of pixel (x, y) is (x (c + 2) xor 3 y) / 4, its lowest 8 bits. */
export function formulaImage({ width, height }: { width: number; height: number }): RgbImage {
  const data = new Uint8Array(width * height * 3);
  for (let y = 0, at = 0; y < height; y++)
    for (let x = 0; x < width; x++) for (let c = 0; c < 3; c++) data[at++] = ((x * (c + 2)) ^ (y * 3)) >> 2;
  return { width, height, data };
}

/** The 32-bit FNV-1a hash. */
function fnv1a(text: string): number {
  return new TextEncoder().encode(text).reduce((hash, byte) => Math.imul(hash ^ byte, 0x01000193) >>> 0, 0x811c9dc5);
}
