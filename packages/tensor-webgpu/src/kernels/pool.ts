import * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../backend.ts';
import type { Kernel } from './index.ts';
import { placesOf, type Windows, windowMap, windowsOf } from './window-map.ts';

interface Pooling {
  readonly windows: Windows;
  readonly shape: readonly number[];
  readonly C: number;
}

type PoolAttrs = tf.MaxPool3DAttrs & tf.MaxPoolAttrs & tf.MaxPoolWithArgmaxAttrs;

/** The windows over x [B, H, W, C] or [B, D, H, W, C]. */
function poolingOf(x: tf.TensorInfo, attrs: Partial<PoolAttrs>): Pooling {
  const { filterSize, strides, pad, dimRoundingMode, dataFormat } = attrs as PoolAttrs;
  const info =
    x.shape.length === 5
      ? tf.backend_util.computePool3DInfo(
          x.shape as [number, number, number, number, number],
          filterSize,
          strides,
          1,
          pad as 'same',
          dimRoundingMode,
          dataFormat,
        )
      : tf.backend_util.computePool2DInfo(
          x.shape as [number, number, number, number],
          filterSize as [number, number],
          strides as [number, number],
          1,
          pad,
          dimRoundingMode,
        );
  return { windows: windowsOf(info), shape: info.outShape, C: info.inChannels };
}

/** The largest value of each window; NaN is passed over, as TensorFlow.js does. */
function maxPool(backend: WebgpuBackend, x: tf.TensorInfo, { windows, shape, C }: Pooling): tf.TensorInfo {
  if (placesOf(windows.filter) === 1 && tf.util.arraysEqual(x.shape, [...shape])) return backend.makeView(x, shape);
  const wide = C % 4 === 0;
  return windowMap(backend, {
    label: 'MaxPool',
    windows,
    inputs: [x],
    per: 'output',
    channels: C,
    shape,
    dtype: x.dtype,
    wide: { inputs: [wide], output: wide },
    ...(x.dtype === 'float32'
      ? { floats: { lowest: Number.NEGATIVE_INFINITY } }
      : { integers: { lowest: -(2 ** 31) } }),
    before: 'var best = Out(p.lowest);',
    step: 'let v = in0[inAt * p.channels + c]; best = select(best, v, v > best);',
    after: 'out[i] = best;',
  });
}

/** The mean of each window's values inside the image. */
function avgPool(backend: WebgpuBackend, x: tf.TensorInfo, { windows, shape, C }: Pooling): tf.TensorInfo {
  if (placesOf(windows.filter) === 1 && tf.util.arraysEqual(x.shape, [...shape])) return backend.makeView(x, shape);
  const wide = C % 4 === 0;
  return windowMap(backend, {
    label: 'AvgPool',
    windows,
    inputs: [x],
    per: 'output',
    channels: C,
    shape,
    dtype: 'float32',
    wide: { inputs: [wide], output: wide },
    before: 'var total = Out(); var count = 0;',
    step: 'total += Out(in0[inAt * p.channels + c]); count++;',
    after: 'out[i] = total / f32(max(count, 1));',
  });
}

/** Where the first largest value of each window lies: its tap of the filter, or its number in the image or in the whole batch. */
function argmaxPool(
  backend: WebgpuBackend,
  x: tf.TensorInfo,
  { windows, shape, C }: Pooling,
  number: 'tap' | 'image' | 'batch',
): tf.TensorInfo {
  const inImage = `inAt ${number === 'batch' ? '' : '- b * p.inputsZ * p.inputsY * p.inputsX'}`;
  return windowMap(backend, {
    label: `MaxPool place by ${number}`,
    windows,
    inputs: [x],
    per: 'output',
    channels: C,
    shape,
    dtype: 'int32',
    before: 'var best = In0(); var place = -1;',
    // NaN is told by its bits: compilers take comparisons with it for what they like
    step: `let v = in0[inAt * p.channels + c];
    let known = ${x.dtype === 'float32' ? '(bitcast<u32>(v) & 0x7fffffffu) <= 0x7f800000u' : 'true'};
    if (known && (place < 0 || v > best)) { best = v; place = ${number === 'tap' ? 'tap' : `(${inImage}) * p.channels + c`}; }`,
    after: 'out[i] = place;',
  });
}

/** dx[input] = sum of dy over the windows whose tap `chosen` is that input. `chosen` holds a tap for each output value. */
export function spreadToChosen(
  backend: WebgpuBackend,
  { dy, chosen }: { dy: tf.TensorInfo; chosen: tf.TensorInfo },
  { windows, shape, C }: Pooling,
): tf.TensorInfo {
  const wide = C % 4 === 0;
  return windowMap(backend, {
    label: 'Gradient of the largest',
    windows,
    inputs: [dy, chosen],
    per: 'input',
    channels: C,
    shape,
    dtype: 'float32',
    wide: { inputs: [wide, wide], output: wide },
    before: 'var total = Out();',
    step: `let at = outAt * p.channels + c; total += select(Out(), in0[at], in1[at] == In1(tap));`,
    after: 'out[i] = total;',
  });
}

function maxPoolGrad(
  backend: WebgpuBackend,
  { dy, input }: { dy: tf.TensorInfo; input: tf.TensorInfo },
  pooling: Pooling,
): tf.TensorInfo {
  const chosen = argmaxPool(backend, input, pooling, 'tap');
  const dx = spreadToChosen(backend, { dy, chosen }, { ...pooling, shape: input.shape });
  backend.disposeData(chosen.dataId);
  return dx;
}

/**
 * dx[input] = sum over the windows around it of dy / (the window's values inside the image): the derivative of `avgPool`. TensorFlow.js's
 * other backends divide by all values of the window here, also by those outside.
 */
function avgPoolGrad(
  backend: WebgpuBackend,
  { dy, input }: { dy: tf.TensorInfo; input: tf.TensorInfo },
  { windows, C }: Pooling,
): tf.TensorInfo {
  const wide = C % 4 === 0;
  const inside = (axis: string) =>
    `(min(out${axis} * p.stride${axis} - p.before${axis} + p.filter${axis}, p.inputs${axis}) - max(out${axis} * p.stride${axis} - p.before${axis}, 0))`;
  return windowMap(backend, {
    label: 'AvgPoolGrad',
    windows,
    inputs: [dy],
    per: 'input',
    channels: C,
    shape: input.shape,
    dtype: 'float32',
    wide: { inputs: [wide], output: wide },
    before: 'var total = Out();',
    step: `total += in0[outAt * p.channels + c] / f32(${['Z', 'Y', 'X'].map(inside).join(' * ')});`,
    after: 'out[i] = total;',
  });
}

type Inputs = Record<'x' | 'dy' | 'input', tf.TensorInfo>;

const kernel = (
  kernelName: string,
  run: (backend: WebgpuBackend, inputs: Inputs, pooling: Pooling) => tf.TensorInfo,
): Kernel => ({
  kernelName,
  kernelFunc: ({ inputs, attrs, backend }) => {
    const named = inputs as Inputs;
    const pooling = poolingOf(named.x ?? named.input, attrs as unknown as PoolAttrs);
    return run(backend as WebgpuBackend, named, pooling);
  },
});

export const poolKernels: readonly Kernel[] = [
  ...[tf.MaxPool, tf.MaxPool3D].map((name) => kernel(name, (backend, { x }, pooling) => maxPool(backend, x, pooling))),
  ...[tf.AvgPool, tf.AvgPool3D].map((name) => kernel(name, (backend, { x }, pooling) => avgPool(backend, x, pooling))),
  ...[tf.MaxPoolGrad, tf.MaxPool3DGrad].map((name) => kernel(name, maxPoolGrad)),
  ...[tf.AvgPoolGrad, tf.AvgPool3DGrad].map((name) => kernel(name, avgPoolGrad)),
  {
    kernelName: tf.MaxPoolWithArgmax,
    kernelFunc: ({ inputs, attrs, backend }) => {
      const x = inputs.x as tf.TensorInfo;
      const { includeBatchInIndex } = attrs as unknown as tf.MaxPoolWithArgmaxAttrs;
      const pooling = poolingOf(x, attrs as unknown as PoolAttrs);
      const place = argmaxPool(backend as WebgpuBackend, x, pooling, includeBatchInIndex ? 'batch' : 'image');
      return [maxPool(backend as WebgpuBackend, x, pooling), place];
    },
  },
];
