import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import { expectSame, spread } from '../../../test/both-backends.ts';
import { checkLinear } from '../../../test/linear-float64.ts';
import { asGpu, backendWithOps } from '../../../test/ops-testing.ts';
import { profile } from '../../watching/profile.ts';
import { linear, linearReference } from '../index.ts';

const backend = backendWithOps();

const onBoth = async (work: () => Promise<void>) => {
  await work();
  await asGpu(backend(), work);
};

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
/** O of the layers that the kernels for GPUs, which compile for seconds, make too: one column, past the edge of a tile, columns in fours. */
const columnsOnGpus = new Set([1, 65, 4]);
const activations = (['gelu', 'relu'] as const).flatMap((activation) =>
  layers.slice(activation === 'gelu' ? 0 : -2).map(([rows, I, O]) => ({ activation, shape: [rows, I], O })),
);
test.each(activations)('linear with its activation and the gradients: %j', (layer) => checkLinear(layer));
test.each(activations.filter(({ O }) => columnsOnGpus.has(O)))(
  'linear with its activation and the gradients on GPUs: %j',
  (layer) => asGpu(backend(), () => checkLinear(layer)),
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
  if (columnsOnGpus.has(O)) await asGpu(backend(), () => checkLinear({ shape: [rows, I], O, halves }));
});

test('half precision: linear with its activation and the gradients', () =>
  checkLinear({ shape: [37, 97], O: 101, activation: 'gelu', halves: ['weight'] }));

// columns that are, or are not, written four at a time; several blocks of K
test.each([
  [9, 20, 8, undefined],
  [5, 300, 14, 'gelu'],
  [33, 64, 68, 'relu'],
] as const)('a linear layer with a residual: %i x %i x %i, %s', (rows, I, O, activation) =>
  onBoth(() =>
    expectSame(() => {
      const inputs = [[rows, I], [O, I], [O], [rows, O]].map((shape, seed) => spread(shape, { seed: seed + 1 }));
      const op = (x: tf.Tensor, weight: tf.Tensor, bias: tf.Tensor, residual: tf.Tensor) =>
        linear(x, { weight, bias, residual, activation });
      const [x, weight, bias, residual] = inputs as [tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor];
      return [op(x, weight, bias, residual), ...tf.grads(op)(inputs, spread([rows, O], { seed: 9 }))];
    }, 1e-4),
  ),
);

test('errors name the shapes and the cure', () => {
  const tensor = (...shape: number[]) => tf.zeros(shape);
  expect(() => linear(tensor(2, 3), { weight: tensor(4, 5) })).toThrow(
    'linear: expected x [..., 5] float32, got [2,3]',
  );
  expect(() => linear(tensor(2, 5), { weight: tensor(4, 5), activation: 'tanh' as 'relu' })).toThrow(
    "linear: expected activation 'gelu' or 'relu', got 'tanh'",
  );
  expect(() => linear(tensor(2, 5), { weight: tensor(4, 5), bias: tensor(5) })).toThrow('linear: expected bias');
  const [x, weight] = [tensor(2, 3), tensor(4, 3)];
  expect(() => linear(x, { weight, residual: tensor(2, 3) })).toThrow('linear: expected residual');
});
