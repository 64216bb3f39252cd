/** Every gradient that a kernel of ours has, computed here, against central differences of tfjs-backend-cpu's forward pass. */
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import { expect, test } from 'vitest';
import { kernels } from '../src/kernels/index.ts';
import { openedBackend } from './both-backends.ts';

openedBackend();

interface Input {
  readonly shape: number[];
  readonly values: Float32Array;
}

let drawn = 0;
/** Values from `low` to `high` in no order, none near another one: kinks and ties stay away from the small steps. */
function input(shape: number[], low = -2, high = 2): Input {
  const size = tf.util.sizeFromShape(shape);
  drawn++;
  const order = Array.from(
    { length: size },
    (_, i) => [(Math.sin(i * 12.9898 + drawn * 78.233) * 43758.5453) % 1, i] as const,
  );
  order.sort(([a], [b]) => a - b);
  const values = new Float32Array(size);
  order.forEach(([, at], place) => {
    values[at] = low + ((place + 0.1 + 0.8 * ((drawn * 0.618) % 1)) / size) * (high - low);
  });
  return { shape, values };
}

type Op = (...inputs: tf.Tensor[]) => tf.Tensor | tf.Tensor[];
/** A name, the op and what it is called with. */
type Case = readonly [name: string, op: Op, ...inputs: Input[]];

const one = (op: (x: tf.Tensor) => tf.Tensor, low = -2, high = 2): Case => [op.name, op, input([7], low, high)];
const two = (op: (a: tf.Tensor, b: tf.Tensor) => tf.Tensor, low = -2, high = 2): Case[] => [
  [op.name, op, input([2, 3], low, high), input([2, 3], low, high)],
  [`${op.name}, spread`, op, input([2, 1, 3], low, high), input([4, 1], low, high)],
];
const map = (x: tf.Tensor | undefined) => x as tf.Tensor4D;
const volume = (x: tf.Tensor | undefined) => x as tf.Tensor5D;
const picks = () => tf.tensor1d([2, 0, 2], 'int32');

/** A kernel that TensorFlow.js's functions compose of others, and tfjs-backend-cpu has not. */
const own = (name: string, inputs: tf.NamedTensorMap, attributes: tf.NamedAttrMap): tf.Tensor | undefined =>
  tf.getBackend() === 'cpu' ? undefined : (tf.engine().runKernel(name, inputs, attributes) as tf.Tensor);

const cases: readonly Case[] = [
  ...[tf.abs, tf.asinh, tf.atan, tf.cos, tf.cosh, tf.elu, tf.erf, tf.exp, tf.expm1, tf.neg, tf.relu, tf.selu].map(
    (op) => one(op),
  ),
  ...[tf.sigmoid, tf.sin, tf.sinh, tf.softplus, tf.square, tf.tanh, tf.zerosLike, tf.onesLike, tf.clone].map((op) =>
    one(op),
  ),
  ...[tf.floor, tf.ceil, tf.sign, tf.step].map((op) => one(op)),
  one(tf.round, -1.9, 1.9),
  ...[tf.isNaN, tf.isInf, tf.isFinite].map((op) => one((x) => tf.cast(op(x), 'float32'))),
  ...[tf.acos, tf.asin, tf.atanh].map((op) => one(op, -0.8, 0.8)),
  ...[tf.log, tf.log1p, tf.sqrt, tf.rsqrt, tf.reciprocal].map((op) => one(op, 0.5, 3)),
  one(tf.acosh, 1.5, 4),
  one(tf.tan, -1, 1),
  one(tf.relu6, -3, 9),
  ['leakyRelu', (x) => tf.leakyRelu(x!, 0.3), input([7])],
  ['step with a slope', (x) => tf.step(x!, 0.3), input([7])],
  ['clipByValue', (x) => tf.clipByValue(x!, -0.9, 1.1), input([9])],
  ['cast', (x) => tf.cast(x!, 'float32'), input([5])],
  ...[tf.add, tf.sub, tf.mul, tf.squaredDifference, tf.maximum, tf.minimum, tf.atan2].flatMap((op) => two(op)),
  ...[tf.div, tf.mod, tf.pow].flatMap((op) => two(op, 0.6, 3.1)),
  ['greaterEqual', (a, b) => tf.cast(tf.greaterEqual(a!, b!), 'float32'), input([5]), input([5])],
  ['prelu', (x, slopes) => tf.prelu(x!, slopes!), input([2, 5]), input([5])],
  ['addN', (a, b, c) => tf.addN([a!, b!, c!]), input([4]), input([4]), input([4])],
  ['where', (a, b) => tf.where(tf.tensor1d([1, 0, 0, 1], 'bool'), a!, b!), input([4]), input([4])],
  ['pow of a whole exponent', (x) => tf.pow(x!, 3), input([5])],
  // sums, orders
  ...[tf.sum, tf.mean, tf.max, tf.min, tf.prod].flatMap((op): Case[] => [
    [`${op.name} of all`, (x) => op(x!), input([2, 3])],
    [`${op.name} of an axis`, (x) => op(x!, 1, true), input([2, 3, 2])],
    [`${op.name} of two axes`, (x) => op(x!, [0, 2]), input([2, 3, 2])],
  ]),
  ...[tf.argMax, tf.argMin].map((op): Case => [op.name, (x) => tf.cast(op(x!, 0), 'float32'), input([3, 2])]),
  ...[false, true].flatMap((exclusive) =>
    [false, true].map(
      (reverse): Case => [
        `cumsum ${exclusive} ${reverse}`,
        (x) => tf.cumsum(x!, 1, exclusive, reverse),
        input([2, 4, 2]),
      ],
    ),
  ),
  ['softmax', (x) => tf.softmax(x!), input([2, 5])],
  ['logSoftmax', (x) => tf.logSoftmax(x!), input([2, 5])],
  ['LogSoftmax', (x) => own(tf.LogSoftmax, { logits: x! }, { axis: -1 }) ?? tf.logSoftmax(x!), input([2, 5])],
  [
    'BroadcastTo',
    (x) => own(tf.BroadcastTo, { x: x! }, { shape: [2, 3, 4] }) ?? tf.broadcastTo(x!, [2, 3, 4]),
    input([3, 1]),
  ],
  ['logSumExp', (x) => tf.logSumExp(x!, 1), input([2, 5])],
  // movement
  ['reshape', (x) => tf.reshape(x!, [3, 2]), input([2, 3])],
  ['expandDims', (x) => tf.expandDims(x!, 1), input([2, 3])],
  ['transpose', (x) => tf.transpose(x!, [2, 0, 1]), input([2, 3, 2])],
  ['slice', (x) => tf.slice(x!, [1, 0], [1, 2]), input([2, 3])],
  ['reverse', (x) => tf.reverse(x!, [0, 2]), input([2, 2, 3])],
  ...[[2], [2, 3], [1, 2, 3], [2, 1, 1, 2]].map(
    (reps): Case => [`tile ${reps}`, (x) => tf.tile(x!, reps), input(reps.map((_, i) => (i % 2) + 2))],
  ),
  ['broadcastTo', (x) => tf.broadcastTo(x!, [2, 3, 4]), input([3, 1])],
  [
    'pad',
    (x) =>
      tf.pad(
        x!,
        [
          [1, 0],
          [0, 2],
        ],
        0.5,
      ),
    input([2, 3]),
  ],
  [
    'mirrorPad reflect',
    (x) =>
      tf.mirrorPad(
        x!,
        [
          [1, 0],
          [1, 2],
        ],
        'reflect',
      ),
    input([2, 3]),
  ],
  [
    'mirrorPad symmetric',
    (x) =>
      tf.mirrorPad(
        x!,
        [
          [1, 2],
          [0, 3],
        ],
        'symmetric',
      ),
    input([2, 3]),
  ],
  ['concat', (a, b) => tf.concat([a!, b!], 1), input([2, 3]), input([2, 2])],
  ['stack', (a, b) => tf.stack([a!, b!], 1), input([2, 3]), input([2, 3])],
  ['unstack', (x) => tf.unstack(x!, 1), input([2, 3])],
  ['split', (x) => tf.split(x!, [1, 3], 1), input([2, 4])],
  ...[0, 1, 2].map((axis): Case => [`gather along ${axis}`, (x) => tf.gather(x!, picks(), axis), input([3, 3, 4])]),
  [
    'gather in batches',
    (x) =>
      tf.gather(
        x!,
        tf.tensor2d(
          [
            [2, 0],
            [1, 1],
          ],
          [2, 2],
          'int32',
        ),
        1,
        1,
      ),
    input([2, 3, 2]),
  ],
  ['unsortedSegmentSum', (x) => tf.unsortedSegmentSum(x!, tf.tensor1d([1, 0, 1, 3], 'int32'), 5), input([4, 2])],
  [
    'spaceToBatchND',
    (x) =>
      tf.spaceToBatchND(
        x!,
        [2, 2],
        [
          [1, 1],
          [0, 2],
        ],
      ),
    input([1, 2, 2, 2]),
  ],
  [
    'batchToSpaceND',
    (x) =>
      tf.batchToSpaceND(
        x!,
        [2, 2],
        [
          [0, 1],
          [1, 0],
        ],
      ),
    input([4, 2, 2, 1]),
  ],
  // products, images
  ...[
    [false, false],
    [true, false],
    [false, true],
    [true, true],
  ].map(
    ([a, b]): Case => [
      `matMul ${a} ${b}`,
      (x, y) => tf.matMul(x!, y!, a, b),
      input(a ? [2, 4, 3] : [2, 3, 4]),
      input(b ? [2, 5, 4] : [2, 4, 5]),
    ],
  ),
  ['matMul with one of two batches', (x, y) => tf.matMul(x!, y!), input([2, 3, 4]), input([1, 4, 2])],
  ['conv2d', (x, w) => tf.conv2d(map(x), map(w), [2, 1], 'same'), input([1, 5, 4, 2]), input([3, 2, 2, 2])],
  [
    'conv2d of margins',
    (x, w) =>
      tf.conv2d(map(x), map(w), 1, [
        [0, 0],
        [1, 0],
        [0, 2],
        [0, 0],
      ]),
    input([1, 3, 4, 1]),
    input([2, 2, 1, 2]),
  ],
  [
    'conv2dTranspose',
    (x, w) => tf.conv2dTranspose(map(x), map(w), [1, 5, 5, 2], 2, 'valid'),
    input([1, 2, 2, 2]),
    input([3, 3, 2, 2]),
  ],
  [
    'depthwiseConv2d',
    (x, w) => tf.depthwiseConv2d(map(x), map(w), 1, 'same'),
    input([1, 4, 3, 2]),
    input([3, 2, 2, 2]),
  ],
  [
    'conv3d',
    (x, w) => tf.conv3d(volume(x), volume(w), [1, 2, 1], 'same'),
    input([1, 2, 4, 3, 1]),
    input([2, 2, 2, 1, 2]),
  ],
  ...[tf.maxPool, tf.avgPool].map(
    (pool): Case => [pool.name, (x) => pool(map(x), [3, 2], [2, 1], 'same'), input([1, 5, 4, 2], -9, 9)],
  ),
  ...[tf.maxPool3d, tf.avgPool3d].map(
    (pool): Case => [pool.name, (x) => pool(volume(x), 2, [1, 2, 1], 'same'), input([1, 3, 4, 3, 1], -9, 9)],
  ),
  [
    'dilation2d',
    (x, w) => tf.dilation2d(map(x), w as tf.Tensor3D, 1, 'same'),
    input([1, 4, 4, 1], -20, 20),
    input([2, 2, 1]),
  ],
  ...[tf.image.resizeBilinear, tf.image.resizeNearestNeighbor].flatMap((resize) =>
    [
      [false, false],
      [true, false],
      [false, true],
    ].map(
      ([align, centres]): Case => [
        `${resize.name} ${align} ${centres}`,
        (x) => resize(map(x), [5, 3], align, centres),
        input([1, 3, 4, 2]),
      ],
    ),
  ),
  ['localResponseNormalization', (x) => tf.localResponseNormalization(map(x), 1, 1, 0.4, 0.7), input([1, 2, 2, 4])],
  [
    'batchNorm',
    (x, mean, variance, offset, scale) =>
      tf.batchNorm(x!, mean as tf.Tensor1D, variance as tf.Tensor1D, offset as tf.Tensor1D, scale as tf.Tensor1D),
    ...[input([2, 2, 2, 3]), input([3]), input([3], 0.5, 2), input([3]), input([3])],
  ],
];

/** Kernels whose gradient functions were called. */
const called = new Set<string>();
const withGradient = kernels.map(({ kernelName }) => kernelName).filter((name) => tf.getGradient(name) != null);

const watched = new Set<tf.GradFunc>();

/** Notes from now on which gradients are called. */
function watchGradients(): void {
  for (const name of withGradient) {
    const own = tf.getGradient(name)!;
    if (watched.has(own.gradFunc)) continue;
    const gradFunc: tf.GradFunc = (...given) => {
      called.add(name);
      return own.gradFunc(...given);
    };
    watched.add(gradFunc);
    tf.registerGradient({ ...own, gradFunc });
  }
}

const factor = (i: number, seed: number) => Math.cos(1 + 1.7 * i + 0.9 * seed);
const dot = (values: ArrayLike<number>, weights: (i: number) => number) => {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]! * weights(i);
  return sum;
};

const rows = cases.map(([name, op, ...inputs]) => ({ name, op, inputs }));
test.each(rows)('$name', async ({ op, inputs }) => {
  const list = (made: tf.Tensor | tf.Tensor[]) => [made].flat().map((x) => tf.cast(x, 'float32'));
  /** The sum of all outputs times factors that tell them apart. */
  const loss = (...xs: tf.Tensor[]) =>
    tf.addN(
      list(op(...xs)).map((y, k) => {
        const weights = Float32Array.from({ length: y.size }, (_, i) => factor(i, k));
        return tf.sum(tf.mul(y, tf.tensor(weights, y.shape)));
      }),
    ) as tf.Scalar;
  await tf.setBackend('slimsam-webgpu');
  watchGradients(); // ours are put in their place with the backend
  const made = tf.tidy(() => tf.grads(loss)(inputs.map(({ shape, values }) => tf.tensor(values, shape))));
  const gradients = await Promise.all(made.map((gradient) => gradient.data()));
  tf.dispose(made);
  await tf.setBackend('cpu');
  const step = 2 ** -8;
  for (const [k, { values, shape }] of inputs.entries())
    for (const seed of [1, 2, 3]) {
      // along a direction, in steps of a 256th
      const at = (by: number) =>
        tf.tidy(() => {
          const moved = inputs.map(({ shape, values }, j) =>
            tf.tensor(j === k ? values.map((v, i) => v + by * factor(i, seed)) : values, shape),
          );
          return list(op(...moved)).reduce((sum, y, n) => sum + dot(y.dataSync(), (i) => factor(i, n)), 0);
        });
      const wanted = (at(step) - at(-step)) / (2 * step);
      const got = dot(gradients[k]!, (i) => factor(i, seed));
      const scale = 1 + values.length ** 0.5 * Math.max(...gradients[k]!.map(Math.abs));
      expect(gradients[k]!.length, `input ${k} of [${shape}]`).toBe(values.length);
      // float32 values in steps of 2^-8: a rounding is 2^-24 x 2^7 of a value, the next term of the series 2^-16 of it
      expect(
        Math.abs(got - wanted) / scale,
        `input ${k}, direction ${seed}: expected ${wanted}, got ${got}`,
      ).toBeLessThan(1e-3);
    }
});

test('no gradient is left out', () => {
  // TensorFlow.js's specs want a division's of FloorDiv; of whole and of complex numbers there is none to compare (README)
  expect(withGradient.filter((name) => !called.has(name))).toEqual(['FloorDiv', 'OneHot', 'ComplexAbs']);
});
