import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, expect, test } from 'vitest';
import { addSums, fitLinear, type Sums } from './least-squares.ts';

beforeAll(() => tf.setBackend('cpu'));

test('a layer is found again from its outputs; weights of inputs that are always 0 stay', async () => {
  const weight = tf.randomNormal([3, 5], 0, 1, 'float32', 1);
  const bias = tf.tensor1d([1, -2, 0.5]);
  const seen = tf.tensor2d([[1, 1, 1, 1, 0]]); // the last input tells nothing
  const start = { weight: tf.randomNormal([3, 5], 0, 1, 'float32', 2), bias: tf.zeros([3]) };
  for (const used of [bias, undefined]) {
    let sums: Sums | undefined;
    for (const seed of [3, 4]) {
      const inputs = tf.mul(tf.randomNormal([2, 40, 5], 0, 3, 'float32', seed), seen);
      const outputs = tf.matMul(tf.reshape(inputs, [80, 5]) as tf.Tensor2D, weight as tf.Tensor2D, false, true);
      sums = addSums(sums, { inputs, wanted: used ? tf.add(outputs, used) : outputs, bias: used !== undefined });
    }
    const found = fitLinear(sums!, { weight: start.weight, bias: used && start.bias });
    const b = await (found.bias ?? tf.zeros([3])).data();
    const [w, truth, first] = await Promise.all(
      [found.weight, weight, start.weight].map((x) => x.array() as Promise<number[][]>),
    );
    for (const [o, row] of w!.entries()) {
      // the ridge holds 1 % of the way to the start back, of inputs that are told apart well
      for (let i = 0; i < 4; i++) expect(Math.abs(row[i]! - truth![o]![i]!)).toBeLessThan(0.06);
      expect(row[4]).toBeCloseTo(first![o]![4]!, 5);
    }
    const wanted = used ? [1, -2, 0.5] : [0, 0, 0];
    for (const [o, value] of b.entries()) expect(Math.abs(value - wanted[o]!)).toBeLessThan(0.06);
  }
});
