import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import { backendWithOps, expectNear, expectOp, type Values, values } from '../../test/ops-testing.ts';
import { adamStep, adamStepReference, gelu, geluReference, linear, linearReference } from './index.ts';

backendWithOps();

/** erf in float64, by its series: 60 terms suffice below 6. */
function erf(x: number): number {
  if (Math.abs(x) > 6) return Math.sign(x);
  let term = x;
  let sum = x;
  for (let n = 1; n < 120; n++) {
    term *= (-x * x) / n;
    sum += term / (2 * n + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * sum;
}

// erf is approximated to 1.5e-7; the largest value is about 5
test.each([
  ['gelu', gelu, [7, 11]],
  ['gelu, the reference', geluReference, [1]],
] as const)('%s and its gradient', async (_, op, shape) => {
  const x = values(shape, 1, 2);
  const dy = values(shape, 2);
  const integral = (v: number) => 0.5 * (1 + erf(v * Math.SQRT1_2));
  const density = (v: number) => Math.exp(-0.5 * v * v) / Math.sqrt(2 * Math.PI);
  const expected = {
    output: x.data.map((v) => v * integral(v)),
    x: x.data.map((v, i) => dy.data[i]! * (integral(v) + v * density(v))),
  };
  await expectOp(({ x }) => op(x!), { inputs: { x }, dy, expected, tolerance: 1e-6 });
});

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
  ['linear', linear, [3, 5, 63], 14],
  ['linear, one row', linear, [64], 168],
  ['linear, the reference', linearReference, [2, 14], 7],
] as const)('%s and its gradients', async (_, op, shape, O) => {
  const I = shape[shape.length - 1]!;
  const inputs: Values = { x: values(shape, 1), weight: values([O, I], 2), bias: values([O], 3) };
  const rows = inputs.x!.data.length / I;
  const dy = values([...shape.slice(0, -1), O], 4);
  const expected = {
    output: new Float64Array(rows * O),
    x: new Float64Array(rows * I),
    weight: new Float64Array(O * I),
    bias: new Float64Array(O),
  };
  for (let r = 0; r < rows; r++) {
    for (let o = 0; o < O; o++) {
      expected.output[r * O + o]! += inputs.bias!.data[o]!;
      expected.bias[o]! += dy.data[r * O + o]!;
      for (let i = 0; i < I; i++) {
        expected.output[r * O + o]! += inputs.x!.data[r * I + i]! * inputs.weight!.data[o * I + i]!;
        expected.x[r * I + i]! += dy.data[r * O + o]! * inputs.weight!.data[o * I + i]!;
        expected.weight[o * I + i]! += dy.data[r * O + o]! * inputs.x!.data[r * I + i]!;
      }
    }
  }
  // sums of up to 168 products, each rounded at 6e-8
  await expectOp(({ x, weight, bias }) => op(x!, { weight: weight!, bias: bias! }), {
    inputs,
    dy,
    expected,
    tolerance: 1e-5,
  });
});

test.each([
  ['adamStep', adamStep],
  ['adamStep, the reference', adamStepReference],
] as const)('%s over five steps', async (_, op) => {
  const options = { learningRate: 0.01, weightDecay: 0.1, beta1: 0.9, beta2: 0.99, epsilon: 1e-8 };
  const [weight, m, v] = [values([13, 7], 1).data, new Float64Array(91), new Float64Array(91)];
  let state = {
    weight: tf.tensor(Float32Array.from(weight), [13, 7]),
    m: tf.zeros([13, 7]),
    v: tf.zeros([13, 7]),
  } as ReturnType<typeof op>;
  const before = tf.memory().numTensors;
  for (let step = 1; step <= 5; step++) {
    const g = values([13, 7], 10 + step).data;
    g.forEach((value, i) => {
      m[i] = 0.9 * m[i]! + 0.1 * value;
      v[i] = 0.99 * v[i]! + 0.01 * value * value;
      const change = m[i]! / (1 - 0.9 ** step) / (Math.sqrt(v[i]! / (1 - 0.99 ** step)) + 1e-8);
      weight[i] = weight[i]! * (1 - 0.01 * 0.1) - 0.01 * change;
    });
    const gradient = tf.tensor(Float32Array.from(g), [13, 7]);
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

test('errors name the shapes and the cure', () => {
  const tensor = (...shape: number[]) => tf.zeros(shape);
  expect(() => linear(tensor(2, 3), { weight: tensor(4, 5) })).toThrow(
    'linear: expected x [..., 5] float32, got [2,3]',
  );
  expect(() => linear(tensor(2, 5), { weight: tensor(4, 5), bias: tensor(5) })).toThrow('linear: expected bias');
  const t = tensor(2);
  expect(() => adamStep({ weight: t, gradient: tensor(3), m: t, v: t }, { step: 1, learningRate: 1 })).toThrow(
    'expected gradient',
  );
  expect(() => adamStep({ weight: t, gradient: t, m: t, v: t }, { step: 0, learningRate: 1 })).toThrow('expected step');
});
