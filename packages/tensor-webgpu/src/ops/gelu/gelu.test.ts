import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import { erf } from '../../../test/erf.ts';
import { density, integral } from '../../../test/linear-float64.ts';
import { backendWithOps, expectOp, halfTolerance, inHalf, values } from '../../../test/ops-testing.ts';
import { gelu, geluReference, half } from '../index.ts';

backendWithOps();

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
