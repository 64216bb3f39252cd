import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import { asGpu, backendWithOps, expectOp, halfTolerance, inHalf, values } from '../../../test/ops-testing.ts';
import { half, layerNorm, layerNormReference } from '../index.ts';

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

async function check(shape: readonly number[], { op = layerNorm, inHalves = false } = {}): Promise<void> {
  const C = shape[shape.length - 1]!;
  let x = values(shape, 1, 3);
  x.data.forEach((v, i) => {
    x.data[i] = Math.fround(v + 5); // a mean well away from 0
  });
  if (inHalves) x = inHalf(x);
  const inputs = { x, scale: values([C], 2), offset: values([C], 3) };
  const dy = values(shape, 4);
  const run = ({ x, scale, offset }: Record<string, tf.Tensor>) =>
    tf.tidy(() => op(inHalves ? half(x!) : x!, { scale: scale!, offset: offset! }));
  const expected = oracle(x.data, inputs.scale.data, inputs.offset.data, dy.data);
  await expectOp(run, { inputs, dy, expected, tolerance, outputTolerance: inHalves ? halfTolerance : tolerance });
}

const shapes = [
  [3, 14],
  [1, 1, 168],
  [2, 100, 168],
  [31, 63],
  [32, 64],
  [33, 64],
  [63, 127], // a partial sum covers 64 rows
  [64, 128],
  [65, 129],
  [1021, 13],
  [3, 1],
];

test.each(shapes)('layerNorm and its gradients: [%i, %i, …]', (...shape) =>
  check(shape.filter((n) => n !== undefined)),
);

test.each([
  [3, 14],
  [70, 168],
  [65, 129],
  [64, 256],
  [2, 1021],
])('a team of invocations a row: [%i, %i]', (...shape) => asGpu(backend(), () => check(shape)));

test.each(shapes)('half precision: layerNorm and its gradients: [%i, %i, …]', async (...sizes) => {
  const shape = sizes.filter((n) => n !== undefined);
  await check(shape, { inHalves: true });
  await asGpu(backend(), () => check(shape, { inHalves: true }));
});

// C = 256 in SAM's neck, 64 in its mask decoder; 1 x 1 is the last axis too
const maps = [
  [1, 256, 9, 7],
  [2, 64, 5, 13],
  [3, 7, 4, 8],
  [65, 5, 1, 1],
  [2, 1, 31, 33],
] as const;
async function checkMaps(
  [B, C, H, W]: readonly [number, number, number, number],
  { op = layerNorm, inHalves = false } = {},
): Promise<void> {
  const x4d = values([B, C, H, W], 1, 3);
  const inputs = { x: inHalves ? inHalf(x4d) : x4d, scale: values([C], 2), offset: values([C], 3) };
  const dy = values([B, C, H, W], 4);
  const rows = (data: Float64Array, to: 'channels last' | 'channels first') => {
    const moved = new Float64Array(data.length);
    for (let i = 0; i < data.length; i++) {
      const [map, place] = [Math.floor(i / (C * H * W)), i % (H * W)];
      const last = (map * H * W + place) * C + (Math.floor(i / (H * W)) % C);
      if (to === 'channels last') moved[last] = data[i]!;
      else moved[i] = data[last]!;
    }
    return moved;
  };
  const last = (data: Float64Array) => rows(data, 'channels last');
  const { output, x, ...rest } = oracle(last(inputs.x.data), inputs.scale.data, inputs.offset.data, last(dy.data));
  const expected = { output: rows(output, 'channels first'), x: rows(x, 'channels first'), ...rest };
  const run = ({ x, scale, offset }: Record<string, tf.Tensor>) =>
    tf.tidy(() => op(inHalves ? half(x!) : x!, { scale: scale!, offset: offset!, axis: 1 }));
  await expectOp(run, { inputs, dy, expected, tolerance, outputTolerance: inHalves ? halfTolerance : tolerance });
}
test.each(maps)('over the channels of maps, as LayerNorm2d: [%i, %i, %i, %i]', async (...shape) => {
  await checkMaps(shape);
  await checkMaps(shape, { op: layerNormReference });
  await asGpu(backend(), () => checkMaps(shape));
});
test.each(maps)('half precision: over the channels of maps: [%i, %i, %i, %i]', (...shape) =>
  checkMaps(shape, { inHalves: true }),
);

test('the reference agrees with the oracle', () => check([5, 14], { op: layerNormReference }));

test('errors name the shapes', () => {
  const tensor = (size: number) => tf.zeros([size]);
  expect(() => layerNorm(tensor(8), { scale: tensor(7), offset: tensor(8) })).toThrow('layerNorm: expected scale');
  expect(() => layerNorm(tensor(8), { scale: tensor(8), offset: tensor(8), axis: 1 })).toThrow(
    'layerNorm: expected x [B, C, ...] float32, got [8]',
  );
});
