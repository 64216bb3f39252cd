import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import { beforeAll, expect, it } from 'vitest';
import { adam, averageWeights, clipped, meanWeights, type Optimizer } from '../src/index.ts';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

/** Plain gradient descent: what it is given shows in what it makes. */
const descent: Optimizer = {
  init: () => ({ step: 0, m: {}, v: {} }),
  update: ({ weights, gradients, state }, rate) => ({
    weights: Object.fromEntries(
      Object.entries(weights).map(([name, weight]) => [name, tf.sub(weight, tf.mul(gradients[name]!, rate))]),
    ),
    state: { ...state, step: state.step + 1 },
  }),
};
const zeros = () => ({ a: tf.zeros([2]), b: tf.zeros([1, 1]) });
const update = (optimizer: Optimizer, gradients: Record<string, tf.Tensor>) => {
  const weights = zeros();
  return optimizer.update({ weights, gradients, state: optimizer.init(weights) }, 1).weights;
};

it('clips the norm of all gradients together, and leaves shorter ones alone', () => {
  const gradients = () => ({ a: tf.tensor1d([3, 0]), b: tf.tensor2d([[4]]) }); // a norm of 5
  const cut = update(clipped(descent, { norm: 1 }), gradients());
  expect(cut.a!.arraySync()).toEqual([expect.closeTo(-0.6, 6), expect.closeTo(0, 6)]);
  expect(cut.b!.arraySync()).toEqual([[expect.closeTo(-0.8, 6)]]);
  const whole = update(clipped(descent, { norm: 6 }), gradients());
  expect(whole.b!.arraySync()).toEqual([[-4]]);
  const none = update(clipped(descent, { norm: 1 }), zeros());
  expect(none.a!.arraySync()).toEqual([0, 0]); // not NaN
});

it('does not change the steps of Adam with gradients that are short', () => {
  const gradients = () => ({ a: tf.tensor1d([0.1, -0.2]), b: tf.tensor2d([[0.3]]) });
  const before = update(adam(), gradients());
  const after = update(clipped(adam(), { norm: 1 }), gradients());
  expect(after.a!.arraySync()).toEqual(before.a!.arraySync());
  expect(() => clipped(adam(), { norm: 0 })).toThrow('clipped: expected norm above 0, got 0');
});

it('averages weights exponentially and frees the mean before', () => {
  const weights = { a: tf.tensor1d([1, 2]) };
  let mean = averageWeights(undefined, weights, { decay: 0.9 });
  expect(mean.a!.arraySync()).toEqual([1, 2]);
  const count = tf.memory().numTensors;
  mean = averageWeights(mean, { a: tf.tensor1d([11, 2]) }, { decay: 0.9 });
  expect(mean.a!.arraySync()).toEqual([expect.closeTo(2, 6), 2]);
  expect(tf.memory().numTensors).toBe(count + 1); // the new weights
  expect(() => averageWeights(mean, weights, { decay: 1 })).toThrow('averageWeights: expected decay in [0, 1), got 1');
});

it('the mean of runs is by name; other names, other shapes and no runs are refused', async () => {
  const run = (...values: number[]) => ({ a: tf.tensor1d(values), b: tf.scalar(values[0]!) });
  const runs = [run(1, 2), run(2, 4), run(6, 0)];
  const mean = meanWeights(runs);
  expect([[...(await mean.a!.data())], [...(await mean.b!.data())]]).toEqual([[3, 2], [3]]);
  expect([...(await runs[0]!.a.data())]).toEqual([1, 2]); // they stay
  expect(() => meanWeights([run(1, 2), run(1, 2, 3)])).toThrow(
    "meanWeights: expected the same names and shapes in each run, got 'a' [2] in the first and [3] in number 2",
  );
  expect(() => meanWeights([{ a: tf.scalar(1) }, run(1)])).toThrow("got 'a' [] in the first and [1] in number 2");
  expect(() => meanWeights([])).toThrow('meanWeights: expected weights of one run or more, got none');
});
