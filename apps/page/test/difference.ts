import '@tensorflow/tfjs-backend-cpu';
import { loadSam } from '@slimsam/vit';
import * as tf from '@tensorflow/tfjs-core';
import { expect } from 'vitest';

/** The largest difference of a weight, as a share of the largest in its tensor. */
export async function difference(a: string, b: string): Promise<number> {
  await tf.setBackend('cpu');
  const [ours, theirs] = await Promise.all([loadSam(a), loadSam(b)]);
  expect(Object.keys(ours.weights).sort()).toEqual(Object.keys(theirs.weights).sort());
  let worst = 0;
  for (const [name, weight] of Object.entries(ours.weights)) {
    const other = theirs.weights[name]!;
    expect(weight.shape, name).toEqual(other.shape);
    const [x, y] = [await weight.data<'float32'>(), await other.data<'float32'>()];
    const largest = y.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    const furthest = x.reduce((most, value, i) => Math.max(most, Math.abs(value - y[i]!)), 0);
    expect(Number.isFinite(largest) && Number.isFinite(furthest), `${name} is finite`).toBe(true);
    if (furthest > 0) worst = Math.max(worst, furthest / largest); // a tensor of zeros is equal, or infinitely far
  }
  return worst;
}
