import * as tf from '@tensorflow/tfjs-core';
import { splitHeads } from '../src/ops/attention/heads.ts';
import { runFused } from '../src/ops/fused.ts';
import {
  adamStep,
  attention,
  gelu,
  half,
  layerNorm,
  linear,
  mergeWindows,
  partitionWindows,
  relativePositions,
} from '../src/ops/index.ts';

/** Any values: on the null adapter nothing computes. */
const floats = (...shape: number[]): tf.Tensor => tf.fill(shape, 0.5);
const map = (...shape: number[]): tf.Tensor4D => floats(...shape) as tf.Tensor4D;
const ints = (values: number[], shape?: number[]): tf.Tensor => tf.tensor(values, shape ?? [values.length], 'int32');
const bools = (...shape: number[]): tf.Tensor => tf.cast(floats(...shape), 'bool');

/** Runs an op and its gradient by every input. */
function trained(op: (...inputs: tf.Tensor[]) => tf.Tensor, ...inputs: tf.Tensor[]): void {
  const { value, grads } = tf.valueAndGrads(op)(inputs, tf.onesLike(op(...inputs)));
  tf.dispose([value, ...grads]);
}

const unary = [
  ...[
    tf.expm1,
    tf.log,
    tf.log1p,
    tf.sqrt,
    tf.rsqrt,
    tf.reciprocal,
    tf.sigmoid,
    tf.tanh,
    tf.erf,
    tf.sin,
    tf.cos,
    tf.tan,
  ],
  ...[tf.sinh, tf.cosh, tf.asin, tf.acos, tf.atan, tf.asinh, tf.acosh, tf.atanh, tf.floor, tf.ceil, tf.round],
  ...[tf.softplus, tf.elu, tf.selu, tf.exp, tf.neg, tf.abs, tf.sign, tf.square, tf.relu, tf.relu6],
  ...[(x: tf.Tensor) => tf.leakyRelu(x), (x: tf.Tensor) => tf.step(x, 0.1), (x: tf.Tensor) => tf.clipByValue(x, 0, 1)],
];
const tests = [tf.isNaN, tf.isInf, tf.isFinite];
const binary = [
  ...[tf.add, tf.sub, tf.mul, tf.div, tf.maximum, tf.minimum, tf.squaredDifference, tf.mod, tf.pow, tf.atan2, tf.prelu],
];
const comparisons = [tf.floorDiv, tf.equal, tf.notEqual, tf.greater, tf.greaterEqual, tf.less, tf.lessEqual];

function elementwise(): void {
  for (const shape of [
    [3, 5],
    [4, 8],
  ]) {
    for (const op of unary) trained(op, floats(...shape));
    for (const op of tests) op(floats(...shape));
    for (const op of binary) {
      trained(op, floats(...shape), floats(...shape));
      op(floats(...shape), floats(1, shape[1]!));
    }
    for (const op of comparisons) op(floats(...shape), floats(...shape));
    for (const op of [tf.logicalAnd, tf.logicalOr]) op(bools(...shape), bools(...shape));
    tf.logicalNot(bools(...shape));
    tf.where(bools(...shape), floats(...shape), floats(...shape));
    for (const type of ['int32', 'bool'] as const) tf.cast(tf.cast(floats(...shape), type), 'float32');
    trained((x, y) => tf.addN([x, y, x]), floats(...shape), floats(...shape));
  }
  tf.bitwiseAnd(ints([1, 2, 3]), ints([3, 2, 1]));
}

function rows(): void {
  for (const C of [1, 5, 8, 129, 256]) {
    for (const op of [tf.softmax, tf.logSoftmax]) trained((x) => op(x), floats(3, C));
    for (const axis of [0, 1]) {
      for (const op of [tf.sum, tf.max, tf.min, tf.mean]) trained((x) => op(x, axis), floats(3, C));
      tf.prod(floats(3, C), axis);
      for (const op of [tf.argMax, tf.argMin]) op(floats(3, C), axis);
      for (const op of [tf.all, tf.any]) op(bools(3, C), axis);
    }
    for (const op of [tf.cumsum, tf.cumprod]) for (const reverse of [false, true]) op(floats(3, C), 1, true, reverse);
    tf.engine().runKernel(tf.LogSoftmax, { logits: floats(3, C) }); // tf.logSoftmax composes it
    tf.topk(floats(3, C), Math.min(C, 3));
    tf.searchSorted(floats(3, C), floats(3, 2));
    for (const axis of [-1, 1] as const)
      trained(
        (x, scale, offset) => layerNorm(x, { scale, offset, axis }),
        ...[axis === 1 ? map(2, C, 3, 4) : floats(3, C), floats(C), floats(C)],
      );
  }
  // long rows, in parts
  for (const op of [tf.cumsum, tf.cumprod]) op(floats(1, 70_000), 1);
  for (const op of [tf.argMax, tf.argMin]) op(floats(1, 70_000), 1);
  tf.topk(floats(2, 1100), 130);
  tf.multinomial(floats(2, 5) as tf.Tensor2D, 3, 1);
  tf.cumsum(ints([1, 2, 3]));
  tf.sum(floats(3, 200_000));
}

function movement(): void {
  const x = floats(2, 3, 4, 8);
  trained((x) => tf.transpose(x, [0, 2, 3, 1]), x);
  trained((x) => tf.slice(x, [0, 1, 0, 2], [2, 2, 3, 5]), x);
  trained((x) => tf.reverse(x, [1, 3]), x);
  trained((x) => tf.tile(x, [1, 2, 1, 3]), x);
  trained((x) => tf.broadcastTo(x, [2, 3, 4, 8]), floats(2, 1, 4, 1));
  tf.engine().runKernel(tf.BroadcastTo, { x: floats(2, 1, 4, 1) }, { shape: [2, 3, 4, 8] }); // tf.broadcastTo tiles
  trained(
    (x) =>
      tf.pad(
        x,
        [
          [0, 0],
          [1, 2],
          [0, 1],
          [3, 0],
        ],
        0.5,
      ),
    x,
  );
  trained((x, y) => tf.concat([x, y], 3), x, floats(2, 3, 4, 5));
  trained((x) => tf.stack(tf.split(x, 2, 3)), x);
  trained((x) => tf.unstack(x)[1]!, x);
  tf.mirrorPad(
    x,
    [
      [0, 0],
      [1, 1],
      [1, 1],
      [2, 2],
    ],
    'reflect',
  );
  tf.stridedSlice(x, [0, 0, 3, 0], [2, 3, 0, 8], [1, 2, -1, 3]);
  tf.depthToSpace(map(1, 2, 2, 8), 2, 'NHWC');
  trained(
    (x) =>
      tf.spaceToBatchND(
        x,
        [2, 2],
        [
          [0, 0],
          [0, 0],
        ],
      ),
    map(2, 4, 4, 3),
  );
  trained(
    (x) =>
      tf.batchToSpaceND(
        x,
        [2, 2],
        [
          [0, 0],
          [0, 0],
        ],
      ),
    map(4, 2, 2, 3),
  );
  tf.zerosLike(x);
  tf.onesLike(x);
  tf.diag(floats(5));
  tf.range(0, 9);
  tf.linspace(0, 1, 5);
  trained((x) => tf.expandDims(tf.reshape(tf.clone(x), [24, 8])), x);
  for (const axis of [0, 1, 3]) trained((x) => tf.gather(x, ints([0, 1, 0]), axis), x);
  tf.gather(x, ints([0, 1, 1, 0], [2, 2]), 2, 1);
  trained((x) => tf.unsortedSegmentSum(x, tf.tensor1d([0, 1, 0], 'int32'), 2), floats(3, 4));
  for (const C of [3, 4]) tf.unsortedSegmentSum(floats(4096, C), ints(Array(4096).fill(1)) as tf.Tensor1D, 300); // sorted
  tf.gatherND(floats(2, 3, 4), ints([0, 1, 1, 2], [2, 2]));
  tf.oneHot(ints([1, 0, 2]) as tf.Tensor1D, 4);
  tf.scatterND(ints([1, 0], [2, 1]), floats(2, 4), [3, 4]);
  tf.tensorScatterUpdate(floats(3, 4), ints([1, 0], [2, 1]), floats(2, 4));
  tf.sparseToDense(ints([1, 4]), floats(2), [6], tf.scalar(0));
  tf.bincount(ints([1, 2, 1]) as tf.Tensor1D, tf.tensor1d([]), 4);
  tf.denseBincount(ints([1, 2, 1, 0], [2, 2]) as tf.Tensor2D, floats(2, 2) as tf.Tensor2D, 4);
}

function products(): void {
  for (const [M, K, N] of [
    [3, 5, 7],
    [8, 16, 12],
    [70, 64, 130],
    [300, 64, 260],
  ] as const)
    for (const [tA, tB] of [
      [false, false],
      [true, false],
      [false, true],
      [true, true],
    ] as const)
      for (const batch of [[], [2]]) {
        const a = floats(...batch, ...(tA ? [K, M] : [M, K]));
        const b = floats(...batch, ...(tB ? [N, K] : [K, N]));
        trained((a, b) => tf.matMul(a, b, tA, tB), a, b);
      }
  tf.matMul(floats(5, 4096), floats(4096, 3)); // in parts
  tf.einsum('bij,bjk->bik', floats(2, 3, 4), floats(2, 4, 5));
  const bias = floats(12);
  for (const activation of ['linear', 'relu', 'relu6', 'elu', 'sigmoid', 'leakyrelu'] as const)
    tf.fused.matMul({ a: floats(9, 16), b: floats(16, 12), bias, activation, leakyreluAlpha: 0.1 });
  tf.fused.matMul({ a: floats(9, 16), b: floats(16, 12), activation: 'prelu', preluActivationWeights: floats(12) });
  for (const [I, O] of [
    [16, 12],
    [15, 7],
  ] as const)
    for (const activation of [undefined, 'gelu', 'relu'] as const) {
      const options = { weight: floats(O, I), bias: floats(O), activation };
      linear(floats(9, I), options);
      linear(floats(9, I), { ...options, residual: floats(9, O) });
      trained(
        (x, weight, bias) => linear(x, { weight, bias, activation }),
        ...[floats(9, I), options.weight, options.bias],
      );
    }
}

function images(): void {
  for (const C of [3, 4]) {
    for (const op of [tf.image.resizeBilinear, tf.image.resizeNearestNeighbor])
      for (const [align, centres] of [
        [false, false],
        [true, false],
        [false, true],
      ] as const)
        trained((x) => op(x as tf.Tensor4D, [5, 6], align, centres), map(1, 4, 8, C));
    const boxes = tf.tensor2d([[0, 0, 1, 1]]);
    for (const method of ['bilinear', 'nearest'] as const)
      tf.image.cropAndResize(map(1, 4, 8, C), boxes, ints([0]) as tf.Tensor1D, [3, 3], method);
    for (const method of ['bilinear', 'nearest'] as const)
      tf.image.transform(map(1, 4, 8, C), floats(1, 8) as tf.Tensor2D, method);
    tf.image.rotateWithOffset(map(1, 4, 8, C), 0.5, 0.2);
    tf.image.flipLeftRight(map(1, 4, 8, C));
    trained((x) => tf.localResponseNormalization(x as tf.Tensor4D), map(1, 4, 4, C));
    trained(
      (x, mean, variance, offset, scale) =>
        tf.batchNorm(x, mean as tf.Tensor1D, variance as tf.Tensor1D, offset as tf.Tensor1D, scale as tf.Tensor1D),
      ...[map(1, 4, 4, C), floats(C), floats(C), floats(C), floats(C)],
    );
  }
}

function windows(): void {
  for (const C of [3, 8]) {
    const x = map(2, 7, 8, C);
    for (const [side, stride] of [
      [1, 1],
      [3, 1],
      [3, 2],
    ] as const) {
      trained((x, w) => tf.conv2d(x as tf.Tensor4D, w as tf.Tensor4D, stride, 'same'), x, floats(side, side, C, 8));
      trained(
        (x, w) => tf.depthwiseConv2d(x as tf.Tensor4D, w as tf.Tensor4D, stride, 'same'),
        x,
        floats(side, side, C, 2),
      );
      for (const pool of [tf.maxPool, tf.avgPool]) trained((x) => pool(x as tf.Tensor4D, side, stride, 'same'), x);
    }
    const filter = floats(3, 3, C, 4) as tf.Tensor4D;
    const fused = { x, strides: 1, pad: 'same' as const, bias: floats(4), activation: 'relu6' as const };
    tf.fused.conv2d({ ...fused, filter });
    tf.fused.depthwiseConv2d({ ...fused, filter: floats(3, 3, C, 1) as tf.Tensor4D, bias: floats(C) });
    trained(
      (x, w) => tf.conv2dTranspose(x as tf.Tensor4D, w as tf.Tensor4D, [2, 14, 16, 4], 2, 'same'),
      x,
      floats(2, 2, 4, C),
    );
    tf.maxPoolWithArgmax(x, 2, 2, 'same', true);
    trained((x, w) => tf.dilation2d(x as tf.Tensor4D, w as tf.Tensor3D, 1, 'same'), x, floats(3, 3, C));
    const volume = floats(1, 4, 4, 4, C) as tf.Tensor5D;
    trained((x, w) => tf.conv3d(x as tf.Tensor5D, w as tf.Tensor5D, 1, 'same'), volume, floats(2, 2, 2, C, 4));
    for (const pool of [tf.maxPool3d, tf.avgPool3d]) trained((x) => pool(x as tf.Tensor5D, 2, 2, 'same'), volume);
  }
}

function complex(): void {
  const z = tf.complex(floats(2, 8), floats(2, 8));
  for (const op of [tf.real, tf.imag, tf.abs, tf.spectral.fft, tf.spectral.ifft]) op(z as tf.Tensor);
  tf.mul(z, z);
  tf.add(z, z);
}

function transformers(): void {
  for (const [N, D] of [
    [9, 14],
    [49, 64],
    [196, 8],
  ] as const) {
    const qkv = () => floats(2, N, D) as tf.Tensor3D;
    const side = Math.sqrt(N);
    const bias = () => floats(2, N, side) as tf.Tensor3D;
    trained((query, key, value) => attention({ query, key, value, scale: 0.5 }), ...[qkv(), qkv(), qkv()]);
    trained(
      (query, key, value, height, width) =>
        attention({
          ...{ query, key, value, scale: 0.5 },
          bias: { height, width },
        }),
      ...[qkv(), qkv(), qkv(), bias(), bias()],
    );
    trained((x) => splitHeads(x, 2)[1], floats(2, N, 6 * D));
    for (const axis of ['height', 'width'] as const)
      trained((query, table) => relativePositions(query, table, { side, axis }), qkv(), floats(2 * side - 1, D));
  }
  for (const C of [3, 8]) {
    trained((x) => partitionWindows(x, 4), map(1, 7, 9, C));
    trained((windows, residual) => mergeWindows(windows, residual), map(6, 4, 4, C), map(1, 7, 9, C));
    trained(gelu, floats(3, C));
    const moments = { m: floats(C), v: floats(C) };
    adamStep({ weight: floats(C), gradient: floats(C), ...moments }, { step: 1, learningRate: 0.1 });
    const own = Array.from({ length: 12 }, () => tf.neg(floats(C))); // of three tensors, each with a buffer of its own
    const numbers = { beta1: 0.9, beta2: 0.99, rate: 0.1, epsilon: 1e-8, keep: 1, consume: true };
    runFused('AdamStep', Object.fromEntries(own.entries()), numbers);
    const [x, y] = [floats(3, C), floats(3, C)];
    runFused('SquaredDistance', { x, y });
    runFused('SquaredDistanceGrad', { x, y, dy: tf.scalar(1) });
  }
}

/** Inference in half precision, on adapters that have it. */
function halves(): void {
  for (const [I, O] of [
    [16, 12],
    [15, 7],
  ] as const) {
    const weight = half(floats(O, I));
    const x = half(floats(9, I));
    gelu(x);
    for (const activation of [undefined, 'gelu', 'relu'] as const)
      for (const input of [x, floats(9, I)]) {
        linear(input, { weight, bias: floats(O), activation });
        linear(input, { weight, bias: floats(O), activation, residual: floats(9, O) });
      }
    tf.matMul(x as tf.Tensor2D, weight as tf.Tensor2D, false, true);
    tf.add(x, floats(9, I)); // expanded for kernels of float32
  }
  for (const [N, D] of [
    [9, 14],
    [49, 64],
  ] as const) {
    const side = Math.sqrt(N);
    const [query, key, value] = splitHeads(half(floats(2, N, 6 * D)), 2);
    attention({ query, key, value, scale: 0.5 });
    const [height, width] = (['height', 'width'] as const).map((axis) =>
      relativePositions(query, floats(2 * side - 1, D), { side, axis }),
    ) as [tf.Tensor, tf.Tensor];
    attention({ query, key, value, scale: 0.5, bias: { height, width } });
  }
  partitionWindows(half(map(1, 7, 9, 8)), 4);
}

/** Calls every kernel that runs on the GPU, in the sizes on which its text depends. `half`: also in half precision. */
export function callEveryKernel({ half }: { readonly half: boolean }): void {
  const families = [elementwise, rows, movement, products, images, windows, complex, transformers];
  for (const family of half ? [...families, halves] : families) tf.tidy(family);
}
