import * as tf from '@tensorflow/tfjs-core';
import { memoised } from '../../program/memoised.ts';
import { type Kernel, kernel, type Tensors } from '../kernel.ts';
import { resultMap } from '../maps/result-map.ts';
import { broadcastStrides, rowMajor, stridedMap } from '../maps/strided-map.ts';

/** (x - mean) / sqrt(variance + epsilon) * scale + offset, all broadcast to x. */
const normalizing = memoised(({ scaled, shifted }: { scaled: boolean; shifted: boolean }) =>
  stridedMap({
    label: `FusedBatchNorm${scaled ? ' scaled' : ''}${shifted ? ' shifted' : ''}`,
    constants: 1,
    value: ([v, center, spread, ...rest]) => {
      const norm = `(${v} - ${center}) * inverseSqrt(${spread} + p.c0)`;
      return `${norm}${scaled ? ` * ${rest[0]}` : ''}${shifted ? ` + ${rest.at(-1)}` : ''}`;
    },
  }),
);

const batchNorm = kernel<Tensors<'x' | 'mean' | 'variance', 'scale' | 'offset'>, tf.FusedBatchNormAttrs>(
  tf.FusedBatchNorm,
  (backend, { x, mean, variance, scale, offset }, { varianceEpsilon = 0.001 }) => {
    const others = [mean, variance, scale, offset].filter((tensor) => tensor !== undefined);
    return normalizing({ scaled: scale !== undefined, shifted: offset !== undefined })(backend, {
      inputs: [
        { tensor: x, strides: rowMajor(x.shape) },
        ...others.map((tensor) => ({ tensor, strides: broadcastStrides(tensor.shape, x.shape) })),
      ],
      shape: x.shape,
      dtype: 'float32',
      constants: [varianceEpsilon],
    });
  },
);

const uniformTypes = { channels: 'i32', radius: 'i32', bias: 'f32', alpha: 'f32', beta: 'f32' } as const;

const uniformsOf = (x: tf.TensorInfo, { depthRadius: radius, bias, alpha, beta }: tf.LRNAttrs) => ({
  ...{ channels: x.shape.at(-1)!, radius, bias, alpha, beta },
});

/** bias + alpha times the sum of squares of the input around channel `c` of the pixel that starts at `base`. */
const norm = `fn norm(base: i32, c: i32) -> f32 {
  var total = 0.0;
  for (var k = max(0, c - p.radius); k <= min(p.channels - 1, c + p.radius); k++) { total += in0[base + k] * in0[base + k]; }
  return p.bias + p.alpha * total;
}`;

/** y = x norm^-beta over neighbouring channels. */
const forward = resultMap({
  label: 'LRN',
  uniforms: uniformTypes,
  functions: norm,
  body: 'let c = i % p.channels; out[i] = in0[i] * pow(norm(i - c, c), -p.beta);',
});

/** dx[k] = dy[k] norm[k]^-beta - 2 alpha beta x[k] sum over the neighbours c of dy[c] y[c] / norm[c], from x, y and dy. */
const backward = resultMap({
  label: 'LRNGrad',
  uniforms: uniformTypes,
  functions: norm,
  body: `let k = i % p.channels; let base = i - k;
  var around = 0.0;
  for (var c = max(0, k - p.radius); c <= min(p.channels - 1, k + p.radius); c++) {
    around += in2[base + c] * in1[base + c] / norm(base, c);
  }
  out[i] = in2[i] * pow(norm(base, k), -p.beta) - 2.0 * p.alpha * p.beta * in0[i] * around;`,
});

export const normalizationKernels: readonly Kernel[] = [
  batchNorm,
  kernel<Tensors<'x'>, tf.LRNAttrs>(tf.LRN, (backend, { x }, attrs) =>
    forward(backend, { inputs: [x], shape: x.shape, dtype: 'float32', uniforms: uniformsOf(x, attrs) }),
  ),
  kernel<Tensors<'x' | 'y' | 'dy'>, tf.LRNAttrs>(tf.LRNGrad, (backend, { x, y, dy }, attrs) =>
    backward(backend, { inputs: [x, y, dy], shape: x.shape, dtype: 'float32', uniforms: uniformsOf(x, attrs) }),
  ),
];
