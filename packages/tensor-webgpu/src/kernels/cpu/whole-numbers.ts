/**
 * A few whole numbers, such as the sizes that a graph model computes from a shape, are computed where they are known: on the CPU. A later
 * `dataSync` finds them there, and no dispatch is spent on them.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../../backend.ts';

const most = 64; // as many as a tensor keeps on the CPU beside its buffer

/** The inputs' values if the result is a few whole numbers and all of them are known on the CPU. */
export function fewKnown(
  backend: WebgpuBackend,
  inputs: readonly tf.TensorInfo[],
  { size, dtype }: { size: number; dtype: tf.DataType },
): tf.backend_util.TypedArray[] | undefined {
  if (dtype !== 'int32' || size > most) return undefined;
  const known: tf.backend_util.TypedArray[] = [];
  for (const input of inputs) {
    const values = backend.cpuValues(input);
    if (!values || values.length > most) return undefined;
    known.push(values);
  }
  return known;
}

/** How kernels that come with a shader do the same with two whole numbers. */
export const wholeArithmetic: Readonly<Record<string, (a: number, b: number) => number>> = {
  [tf.Add]: (a, b) => a + b,
  [tf.Sub]: (a, b) => a - b,
  [tf.Multiply]: Math.imul,
  [tf.Maximum]: Math.max,
  [tf.Minimum]: Math.min,
  [tf.FloorDiv]: (a, b) => Math.floor(a / b),
  [tf.Mod]: (a, b) => ((a % b) + b) % b, // exact: these are doubles
};
