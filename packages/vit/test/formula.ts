import type { Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { samShapes } from '../src/checkpoint/sam-shapes.ts';
import { widthsOf } from '../src/sam/init.ts';
import type { SamPreset } from '../src/sam/presets.ts';

type Shape = readonly number[];

/** Every weight of a SAM of these sizes: Meta's name -> shape. */
export function shapesOf({ config, sizes }: SamPreset): Record<string, Shape> {
  return samShapes(widthsOf(config, sizes));
}

/** Weights by the formula of the fixture sam-b-formula (seed 0), so that models of full size need no files. */
export function formulaWeights(shapes: Readonly<Record<string, Shape>>): Weights {
  return Object.fromEntries(
    Object.entries(shapes).map(([name, shape]) => [name, tf.tensor(formulaValues(name, shape), [...shape])]),
  );
}

/** One weight: element i is a hash of i and the name as a number in [-1, 1), scaled by what the name and the shape tell. */
export function formulaValues(name: string, shape: Shape): Float32Array {
  const values = new Float32Array(shape.reduce((product, size) => product * size, 1));
  const { mean, scale } = distribution(name, shape, values.length);
  const start = fnv1a(name);
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

/** The 32-bit FNV-1a hash. */
function fnv1a(text: string): number {
  return new TextEncoder().encode(text).reduce((hash, byte) => Math.imul(hash ^ byte, 0x01000193) >>> 0, 0x811c9dc5);
}
