import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import { erf } from '../../test/erf.ts';
import { checkLinear, density, integral } from '../../test/linear-float64.ts';
import { asGpu, backendWithOps, expectNear, expectOp, halfTolerance, inHalf, values } from '../../test/ops-testing.ts';
import { profile } from '../watching/profile.ts';
import { adamStep, adamStepReference, gelu, geluReference, half, linear, linearReference } from './index.ts';

const backend = backendWithOps();

// erf is approximated to 1.5e-7; the largest value is about 5
test.each([
  ...[[1], [7, 11], [255], [256], [257], [1021]].map((shape) => ['gelu', shape, gelu] as const), // a workgroup takes 256
  ['gelu, the reference', [1], geluReference] as const,
])('%s and its gradient: %j', async (_, shape, op) => {
  const x = values(shape, 1, 2);
  const dy = values(shape, 2);
  const expected = {
    output: x.data.map((v) => v * integral(v)),
    x: x.data.map((v, i) => dy.data[i]! * (integral(v) + v * density(v))),
  };
  await expectOp(({ x }) => op(x!), { inputs: { x }, dy, expected, tolerance: 1e-6 });
});

test.each([[1], [7, 11], [255], [256], [257], [1021]].map((shape) => [shape]))(
  'half precision: gelu: %j',
  async (shape) => {
    const x = inHalf(values(shape, 1, 2));
    const dy = values(shape, 2);
    const expected = {
      output: x.data.map((v) => v * integral(v)),
      x: x.data.map((v, i) => dy.data[i]! * (integral(v) + v * density(v))),
    };
    const op = ({ x }: Record<string, tf.Tensor>) => tf.tidy(() => gelu(half(x!)));
    await expectOp(op, { inputs: { x }, dy, expected, tolerance: 1e-6, outputTolerance: halfTolerance });
  },
);

test('gelu far out and near 0', async () => {
  const xs = [-30, -6, -3, -1e-4, 0, 1e-4, 0.7, 0.72, 3, 6, 30];
  const y = tf.tidy(() => gelu(tf.tensor1d(xs)));
  const actual = await y.data();
  xs.forEach((x, i) => {
    expect(Math.abs(actual[i]! - 0.5 * x * (1 + erf(x * Math.SQRT1_2)))).toBeLessThan(1e-6);
  });
  y.dispose();
});

test.each([
  ['linear', { shape: [3, 5, 63], O: 14 }],
  ['linear, one row', { shape: [64], O: 168 }],
  ['linear, the reference', { shape: [2, 14], O: 7, op: linearReference }],
  ['linear with GELU, the reference', { shape: [2, 14], O: 7, op: linearReference, activation: 'gelu' }],
  ['linear with ReLU, the reference', { shape: [2, 14], O: 7, op: linearReference, activation: 'relu' }],
] as const)('%s and its gradients', (_, layer) => checkLinear(layer));

// panels are 64 columns, and 32, 64 or 128 of the sum; tiles on GPUs 64 by 64
const layers = [
  [1, 1, 1],
  [63, 127, 63],
  [64, 128, 64],
  [65, 129, 65],
  [37, 97, 101],
  [128, 64, 4],
] as const;
const activations = (['gelu', 'relu'] as const).flatMap((activation) =>
  layers.slice(activation === 'gelu' ? 0 : -2).map(([rows, I, O]) => ({ activation, shape: [rows, I], O })),
);
test.each(activations)('linear with its activation and the gradients: %j', (layer) => checkLinear(layer));
test.each(activations)('linear with its activation and the gradients on GPUs: %j', (layer) =>
  asGpu(backend(), () => checkLinear(layer)),
);

test('an activation is in the kernel of the linear layer, but where gradients are recorded', async () => {
  const [x, weight, bias] = [tf.ones([5, 8]), tf.ones([3, 8]), tf.ones([3])];
  const apply = (x: tf.Tensor) => linear(x, { weight, bias, activation: 'gelu' });
  const kernelsOf = async (work: () => tf.Tensor) => {
    const { dispatches } = await profile(backend(), () => tf.tidy(work));
    return dispatches
      .map(({ label }) => label.replace(/-(panel|tile) \d+ x \d+( by \d+, \d+ x \d+)?/, ''))
      .filter((label) => /matmul|gelu/.test(label));
  };
  expect(await kernelsOf(() => apply(x))).toEqual(['matmul B^T']);
  expect(await kernelsOf(() => tf.grad(apply)(x))).toEqual(['matmul B^T', 'gelu', 'gelu gradient', 'matmul']);
  tf.dispose([x, weight, bias]);
});

test.each(
  [true, false].flatMap((halfX) => layers.slice(halfX ? 0 : -2).map(([rows, I, O]) => ({ rows, I, O, halfX }))),
)('half precision: linear and its gradients: %j', async ({ rows, I, O, halfX }) => {
  const halves = halfX ? (['x', 'weight'] as const) : (['weight'] as const);
  await checkLinear({ shape: [rows, I], O, halves });
  await asGpu(backend(), () => checkLinear({ shape: [rows, I], O, halves }));
});

test('half precision: linear with its activation and the gradients', () =>
  checkLinear({ shape: [37, 97], O: 101, activation: 'gelu', halves: ['weight'] }));

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

test('errors name the shapes and the cure', () => {
  const tensor = (...shape: number[]) => tf.zeros(shape);
  expect(() => linear(tensor(2, 3), { weight: tensor(4, 5) })).toThrow(
    'linear: expected x [..., 5] float32, got [2,3]',
  );
  expect(() => linear(tensor(2, 5), { weight: tensor(4, 5), activation: 'tanh' as 'relu' })).toThrow(
    "linear: expected activation 'gelu' or 'relu', got 'tanh'",
  );
  expect(() => linear(tensor(2, 5), { weight: tensor(4, 5), bias: tensor(5) })).toThrow('linear: expected bias');
  const t = tensor(2);
  expect(() => adamStep({ weight: t, gradient: tensor(3), m: t, v: t }, { step: 1, learningRate: 1 })).toThrow(
    'expected gradient',
  );
  expect(() => adamStep({ weight: t, gradient: t, m: t, v: t }, { step: 0, learningRate: 1 })).toThrow('expected step');
});
