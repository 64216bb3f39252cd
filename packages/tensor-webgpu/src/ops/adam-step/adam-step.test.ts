import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import { asGpu, backendWithOps, expectNear, values } from '../../../test/ops-testing.ts';
import { runFused } from '../fused.ts';
import { adamStep, adamStepReference } from '../index.ts';

const backend = backendWithOps();

const consuming: typeof adamStep = (tensors, options) => adamStep(tensors, { ...options, consume: true });

test.each([
  ...[1, 91, 255, 256, 257, 1021].map((size) => ['adamStep', size, adamStep] as const), // a workgroup takes 256
  ...[1, 257].map((size) => ['adamStep in place', size, consuming] as const),
  ['adamStep, the reference', 91, adamStepReference] as const,
])('%s of %i over five steps', async (_, size, op) => {
  const options = { learningRate: 0.01, weightDecay: 0.1, beta1: 0.9, beta2: 0.99, epsilon: 1e-8 };
  const [weight, m, v] = [values([size], 1).data, new Float64Array(size), new Float64Array(size)];
  let state = {
    weight: tf.tensor(Float32Array.from(weight), [size]),
    m: tf.zeros([size]),
    v: tf.zeros([size]),
  } as ReturnType<typeof op>;
  const before = tf.memory().numTensors;
  for (let step = 1; step <= 5; step++) {
    const g = values([size], 10 + step).data;
    g.forEach((value, i) => {
      m[i] = 0.9 * m[i]! + 0.1 * value;
      v[i] = 0.99 * v[i]! + 0.01 * value * value;
      const change = m[i]! / (1 - 0.9 ** step) / (Math.sqrt(v[i]! / (1 - 0.99 ** step)) + 1e-8);
      weight[i] = weight[i]! * (1 - 0.01 * 0.1) - 0.01 * change;
    });
    const gradient = tf.tensor(Float32Array.from(g), [size]);
    const next = op({ ...state, gradient }, { ...options, step });
    tf.dispose([gradient, ...Object.values(state)]);
    state = next;
  }
  expect(tf.memory().numTensors).toBe(before);
  // a few roundings of 6e-8 a step
  for (const [name, expected] of Object.entries({ weight, m, v })) {
    expectNear(name, await state[name as 'weight'].data(), expected, 2e-6);
  }
  tf.dispose(Object.values(state));
});

test('adamStep in place leaves what another tensor shares, and values that were read', async () => {
  const step = (weight: tf.Tensor) => {
    const [gradient, m, v] = [tf.ones([8]), tf.zeros([8]), tf.zeros([8])];
    const made = consuming({ weight, gradient, m, v }, { step: 1, learningRate: 0.5 });
    tf.dispose([gradient, m, v, weight, made.m, made.v]);
    return made.weight;
  };
  const first = tf.add(tf.ones([8]), 1);
  const live = tf.memory().numBytes;
  const second = step(first); // 2 - 0.5, where first was
  expect(tf.memory().numBytes).toBe(live);
  expect(Array.from(await second.data())).toEqual(Array(8).fill(1.5));
  const kept = tf.clone(second);
  const third = step(second);
  expect(Array.from(await third.data())).toEqual(Array(8).fill(1));
  expect(Array.from(await kept.data())).toEqual(Array(8).fill(1.5));
  tf.dispose([kept, third]);
});

const sizes = [1, 63, 64, 65, 70_001, 257, 2, 4097, 31]; // buffers are padded to 64 elements

test.each([
  ['8 bindings a dispatch', 8],
  ["as many as the adapter's", Number.POSITIVE_INFINITY],
])('one step of many tensors, with %s', async (_, most) => {
  const numbers = { beta1: 0.9, beta2: 0.99, rate: 0.01, epsilon: 1e-8, keep: 0.999, consume: true };
  const kinds = ['weight', 'gradient', 'm', 'v'] as const;
  const data = kinds.map((_, kind) => sizes.map((size, k) => values([size], 10 * kind + k).data));
  const [weights, gradients, ms, vs] = data as [Float64Array[], Float64Array[], Float64Array[], Float64Array[]];
  for (const v of vs) for (const [i, value] of v.entries()) v[i] = Math.abs(value);
  await asGpu(
    backend(),
    async () => {
      const tensors = [weights, gradients, ms, vs]
        .flat()
        .map((values) => tf.add(tf.tensor1d(Float32Array.from(values)), 0));
      const made = runFused('AdamStep', Object.fromEntries(tensors.entries()), numbers);
      const live = tf.memory().numTensors - tensors.length - made.length;
      for (const [k, size] of sizes.entries()) {
        const [w, g, m, v] = [weights[k]!, gradients[k]!, ms[k]!, vs[k]!];
        const nextM = m.map((value, i) => 0.9 * value + 0.1 * g[i]!);
        const nextV = v.map((value, i) => 0.99 * value + 0.01 * g[i]! ** 2);
        const next = w.map((value, i) => value * 0.999 - (0.01 * nextM[i]!) / (Math.sqrt(nextV[i]!) + 1e-8));
        for (const [kind, expected] of [next, nextM, nextV].entries())
          expectNear(`${kind} of ${size}`, await made[kind * sizes.length + k]!.data(), expected, 2e-6);
      }
      tf.dispose([tensors, made]);
      expect(tf.memory().numTensors).toBe(live);
    },
    { storageBuffers: Math.min(most, backend().facts.storageBuffers) },
  );
});

test('errors name the shapes and the cure', () => {
  const [t, other] = [tf.zeros([2]), tf.zeros([3])];
  expect(() => adamStep({ weight: t, gradient: other, m: t, v: t }, { step: 1, learningRate: 1 })).toThrow(
    'expected gradient',
  );
  expect(() => adamStep({ weight: t, gradient: t, m: t, v: t }, { step: 0, learningRate: 1 })).toThrow('expected step');
});
