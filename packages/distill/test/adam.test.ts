import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import { expect, test, vi } from 'vitest';
import { type AdamOptions, adam, relativeRates } from '../src/index.ts';
import { numbers, relativeError, withWebgpu } from './support.ts';

const backend = withWebgpu();

/** torch.optim.AdamW in float64, for one matrix [2, 3]. */
function reference(start: number[], gradients: readonly number[][], { weightDecay = 0 }: AdamOptions, rate: number) {
  const [w, m, v] = [[...start], start.map(() => 0), start.map(() => 0)];
  gradients.forEach((gradient, t) => {
    gradient.forEach((g, i) => {
      m[i] = 0.9 * m[i]! + 0.1 * g;
      v[i] = 0.999 * v[i]! + 0.001 * g * g;
      const [first, second] = [m[i]! / (1 - 0.9 ** (t + 1)), v[i]! / (1 - 0.999 ** (t + 1))];
      w[i] = w[i]! * (1 - rate * weightDecay) - (rate * first) / (Math.sqrt(second) + 1e-8);
    });
  });
  return w;
}

test.each([
  ['webgpu', 'adam', {}],
  ['webgpu', 'adam', { weightDecay: 0.1 }],
  ['cpu', undefined, {}],
  ['cpu', undefined, { weightDecay: 0.1 }],
])('on %s, by kernel %s, %o: 60 steps are those of a float64 reference', async (name, kernel, options: AdamOptions) => {
  const webgpu = tf.getBackend();
  if (name === 'cpu') await tf.setBackend(name);
  const dispatched = vi.spyOn(backend(), 'run');
  const start = numbers(6, 5);
  const gradients = Array.from({ length: 60 }, (_, t) => numbers(6, 100 + t).map((g) => g * 10 ** -(t % 5)));
  const { init, update } = adam(options);
  let weights: Record<string, tf.Tensor> = { matrix: tf.tensor2d(start, [2, 3]), vector: tf.tensor1d(start) };
  let state = init(weights);
  const live = tf.memory().numTensors;
  for (const gradient of gradients) {
    const g = { matrix: tf.tensor2d(gradient, [2, 3]), vector: tf.tensor1d(gradient) };
    const next = update({ weights, gradients: g, state }, 0.01);
    for (const table of [weights, state.m, state.v, g])
      expect(Object.values(table).every(({ isDisposed }) => isDisposed)).toBe(true); // nothing is held twice
    weights = { ...next.weights };
    state = next.state;
  }
  expect(tf.memory().numTensors).toBe(live);
  expect(state.step).toBe(60);
  expect(relativeError(await weights.matrix!.data(), reference(start, gradients, options, 0.01))).toBeLessThan(2e-6);
  // vectors (biases, norms) do not decay
  expect(relativeError(await weights.vector!.data(), reference(start, gradients, {}, 0.01))).toBeLessThan(2e-6);
  const labels = new Set(dispatched.mock.calls.map(([{ shader }]) => shader.label));
  expect([...labels].filter((label) => label === 'adam')).toEqual(kernel ? [kernel] : []);
  dispatched.mockRestore();
  tf.dispose([weights, state.m, state.v]);
  await tf.setBackend(webgpu);
});

test('betas, epsilon and weight decay that are no such numbers are refused', () => {
  expect(() => adam({ beta1: Number.NaN })).toThrow('adam: expected beta1 in [0, 1), got NaN');
  expect(() => adam({ beta2: 1 })).toThrow('adam: expected beta2 in [0, 1), got 1');
  expect(() => adam({ epsilon: -1 })).toThrow('adam: expected epsilon of at least 0, got -1');
  expect(() => adam({ weightDecay: Number.POSITIVE_INFINITY })).toThrow(
    'expected weightDecay of at least 0, got Infinity',
  );
});

test("relative rates: each weight's steps are a share of its size, whatever the others'", async () => {
  const sized = (size: number) => tf.tensor1d([3, -4, 0, 5].map((value) => value * size));
  const names = ['large', 'small', 'zero'];
  const weights = Object.fromEntries(names.map((name, i) => [name, sized([10, 0.01, 0][i]!)]));
  const rates = await relativeRates(weights);
  const rms = Math.sqrt(50 / 4);
  expect(rates.get('large')! / (10 * rms)).toBeCloseTo(1, 5);
  expect(rates.get('small')! / (0.01 * rms)).toBeCloseTo(1, 5);
  expect(rates.get('zero')).toBe(1e-3);
  const { init, update } = adam({ rates });
  const gradients = Object.fromEntries(names.map((name) => [name, tf.tensor1d([1, 1, 1, 1])]));
  const { weights: next, state } = update({ weights, gradients, state: init(weights) }, 0.01); // Adam's first step: its rate, times the sign
  const [large, zero] = [await next.large!.data(), await next.zero!.data()];
  expect(large[2]! / (-0.01 * 10 * rms)).toBeCloseTo(1, 4);
  expect(zero[0]! / -1e-5).toBeCloseTo(1, 4);
  tf.dispose([next, state.m, state.v]);
  expect(() => adam({ rates: new Map([['w', Number.NaN]]) })).toThrow(
    "adam: expected the rate of 'w' to be at least 0, got NaN",
  );
});
