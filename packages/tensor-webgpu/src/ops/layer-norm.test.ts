import type * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import { asGpu, backendWithOps, expectOp, values } from '../../test/ops-testing.ts';
import { layerNorm, layerNormReference } from './index.ts';

const backend = backendWithOps();

// float32 rounds at 6e-8; means of up to 168 values, sums over up to 200 rows
const tolerance = 1e-5;

function oracle(x: Float64Array, scale: Float64Array, offset: Float64Array, dy: Float64Array) {
  const C = scale.length;
  const output = new Float64Array(x.length);
  const gradient = { x: new Float64Array(x.length), scale: new Float64Array(C), offset: new Float64Array(C) };
  for (let row = 0; row < x.length; row += C) {
    const values = x.slice(row, row + C);
    const mean = values.reduce((a, b) => a + b) / C;
    const inverse = 1 / Math.sqrt(values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / C + 1e-6);
    const normal = values.map((v) => (v - mean) * inverse);
    const g = scale.map((s, i) => s * dy[row + i]!);
    const a = g.reduce((sum, v) => sum + v) / C;
    const b = g.reduce((sum, v, i) => sum + v * normal[i]!, 0) / C;
    normal.forEach((n, i) => {
      output[row + i] = n * scale[i]! + offset[i]!;
      gradient.x[row + i] = (g[i]! - a - n * b) * inverse;
      gradient.scale[i]! += dy[row + i]! * n;
      gradient.offset[i]! += dy[row + i]!;
    });
  }
  return { output, ...gradient };
}

async function check(shape: readonly number[], op = layerNorm): Promise<void> {
  const C = shape[shape.length - 1]!;
  const x = values(shape, 1, 3);
  x.data.forEach((v, i) => {
    x.data[i] = Math.fround(v + 5); // a mean well away from 0
  });
  const inputs = { x, scale: values([C], 2), offset: values([C], 3) };
  const dy = values(shape, 4);
  const run = (named: Record<string, tf.Tensor>) => op(named.x!, { scale: named.scale!, offset: named.offset! });
  const expected = oracle(x.data, inputs.scale.data, inputs.offset.data, dy.data);
  await expectOp(run, { inputs, dy, expected, tolerance });
}

const shapes = [
  [3, 14],
  [1, 1, 168],
  [2, 100, 168],
  [31, 63],
  [32, 64],
  [33, 64],
];

test.each(shapes)('layerNorm and its gradients: [%i, %i, …]', (...shape) =>
  check(shape.filter((n) => n !== undefined)),
);

test.each([
  [3, 14],
  [70, 168],
])('a team of invocations a row: [%i, %i]', (...shape) => asGpu(backend(), () => check(shape)));

test('the reference agrees with the oracle', () => check([5, 14], layerNormReference));

test('errors name the shapes', () => {
  const tensor = (size: number) => ({ rank: 1, shape: [size], dtype: 'float32' }) as unknown as tf.Tensor;
  expect(() => layerNorm(tensor(8), { scale: tensor(7), offset: tensor(8) })).toThrow('layerNorm: expected scale');
});
