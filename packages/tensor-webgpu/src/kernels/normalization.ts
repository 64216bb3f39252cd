import * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../backend.ts';
import type { Kernel } from './index.ts';
import { resultMap } from './result-map.ts';
import { broadcastStrides, rowMajor, stridedMap } from './strided-map.ts';

type Named = Record<'x' | 'y' | 'dy' | 'mean' | 'variance' | 'offset' | 'scale', tf.TensorInfo>;

/** (x - mean) / sqrt(variance + epsilon) * scale + offset, all broadcast to x. */
function batchNorm(backend: WebgpuBackend, inputs: Partial<Named>, varianceEpsilon: number): tf.TensorInfo {
  const { x, mean, variance, offset, scale } = inputs as Named & { offset?: tf.TensorInfo; scale?: tf.TensorInfo };
  const more = [scale, offset].filter((tensor) => tensor !== undefined);
  return stridedMap(backend, {
    label: `FusedBatchNorm${scale ? ' scaled' : ''}${offset ? ' shifted' : ''}`,
    inputs: [
      { tensor: x, strides: rowMajor(x.shape) },
      ...[mean, variance, ...more].map((tensor) => ({ tensor, strides: broadcastStrides(tensor.shape, x.shape) })),
    ],
    shape: x.shape,
    dtype: 'float32',
    constants: [varianceEpsilon],
    value: ([v, center, spread, ...rest]) => {
      const norm = `(${v} - ${center}) * inverseSqrt(${spread} + p.c0)`;
      return `${norm}${scale ? ` * ${rest[0]}` : ''}${offset ? ` + ${rest.at(-1)}` : ''}`;
    },
  });
}

const lrnUniforms = (x: tf.TensorInfo, attrs: tf.LRNAttrs) => ({
  integers: { channels: x.shape.at(-1)!, radius: attrs.depthRadius },
  floats: { bias: attrs.bias, alpha: attrs.alpha, beta: attrs.beta },
});

/** WGSL: bias + alpha times the sum of squares of `x` around channel `c` of the pixel that starts at `base`. */
const lrnNorm = (x: string): string => `fn norm(base: i32, c: i32) -> f32 {
  var total = 0.0;
  for (var k = max(0, c - p.radius); k <= min(p.channels - 1, c + p.radius); k++) { total += ${x}[base + k] * ${x}[base + k]; }
  return p.bias + p.alpha * total;
}`;

/** y = x norm^-beta over neighbouring channels. */
function lrn(backend: WebgpuBackend, x: tf.TensorInfo, attrs: tf.LRNAttrs): tf.TensorInfo {
  return resultMap(backend, {
    label: 'LRN',
    inputs: [x],
    output: { shape: x.shape, dtype: 'float32' },
    ...lrnUniforms(x, attrs),
    functions: lrnNorm('in0'),
    body: 'let c = i % p.channels; out[i] = in0[i] * pow(norm(i - c, c), -p.beta);',
  });
}

/** dx[k] = dy[k] norm[k]^-beta - 2 alpha beta x[k] sum over the neighbours c of dy[c] y[c] / norm[c]. */
function lrnGrad(
  backend: WebgpuBackend,
  { x, y, dy }: Pick<Named, 'x' | 'y' | 'dy'>,
  attrs: tf.LRNAttrs,
): tf.TensorInfo {
  return resultMap(backend, {
    label: 'LRNGrad',
    inputs: [x, y, dy],
    output: { shape: x.shape, dtype: 'float32' },
    ...lrnUniforms(x, attrs),
    functions: lrnNorm('in0'),
    body: `let k = i % p.channels; let base = i - k;
  var around = 0.0;
  for (var c = max(0, k - p.radius); c <= min(p.channels - 1, k + p.radius); c++) {
    around += in2[base + c] * in1[base + c] / norm(base, c);
  }
  out[i] = in2[i] * pow(norm(base, k), -p.beta) - 2.0 * p.alpha * p.beta * in0[i] * around;`,
  });
}

export const normalizationKernels: readonly Kernel[] = [
  {
    kernelName: tf.FusedBatchNorm,
    kernelFunc: ({ inputs, attrs, backend }) => {
      const { varianceEpsilon } = attrs as unknown as tf.FusedBatchNormAttrs;
      return batchNorm(backend as WebgpuBackend, inputs as Partial<Named>, varianceEpsilon ?? 0.001);
    },
  },
  {
    kernelName: tf.LRN,
    kernelFunc: ({ inputs, attrs, backend }) =>
      lrn(backend as WebgpuBackend, inputs.x as tf.TensorInfo, attrs as unknown as tf.LRNAttrs),
  },
  {
    kernelName: tf.LRNGrad,
    kernelFunc: ({ inputs, attrs, backend }) =>
      lrnGrad(backend as WebgpuBackend, inputs as Named, attrs as unknown as tf.LRNAttrs),
  },
];
