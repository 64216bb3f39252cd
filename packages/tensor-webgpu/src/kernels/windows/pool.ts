import * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../../backend.ts';
import { memoised } from '../../program/memoised.ts';
import { fourTypes, oneType } from '../../program/types.wgsl.ts';
import { isNan } from '../elementwise/elementwise.wgsl.ts';
import { type Kernel, kernel, type Tensors } from '../kernel.ts';
import { placesOf, type Windows, windowMap, windowsOf } from '../maps/window-map.ts';

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

const largest = memoised(({ wide, float }: { wide: boolean; float: boolean }) => {
  const types = wide ? fourTypes : oneType;
  return windowMap({
    label: 'MaxPool',
    per: 'output',
    wide: { inputs: [wide], output: wide },
    uniforms: { lowest: float ? 'f32' : 'i32' },
    before: 'var best = Out(p.lowest);',
    // NaN is passed over by its bits, whatever a compiler makes of the comparison
    step: `let v = in0[inAt * p.channels + c]; best = select(max(best, v), best, ${isNan('v', types, float ? types.float : types.int)});`,
    after: 'out[i] = best;',
  });
});

/** The largest value of each window; NaN is passed over, as TensorFlow.js does. */
function maxPool(backend: WebgpuBackend, x: tf.TensorInfo, { windows, shape, C }: Pooling): tf.TensorInfo {
  if (placesOf(windows.filter) === 1 && tf.util.arraysEqual(x.shape, [...shape])) return backend.makeView(x, shape);
  const float = x.dtype === 'float32';
  return largest({ wide: C % 4 === 0, float })(backend, {
    windows,
    inputs: [x],
    channels: C,
    shape,
    dtype: x.dtype,
    uniforms: { lowest: float ? Number.NEGATIVE_INFINITY : -(2 ** 31) },
  });
}

const average = memoised(({ wide }: { wide: boolean }) =>
  windowMap({
    label: 'AvgPool',
    per: 'output',
    wide: { inputs: [wide], output: wide },
    before: 'var total = Out(); var count = 0;',
    step: 'total += Out(in0[inAt * p.channels + c]); count++;',
    after: 'out[i] = total / f32(max(count, 1));',
  }),
);

/** The mean of each window's values inside the image. */
function avgPool(backend: WebgpuBackend, x: tf.TensorInfo, { windows, shape, C }: Pooling): tf.TensorInfo {
  if (placesOf(windows.filter) === 1 && tf.util.arraysEqual(x.shape, [...shape])) return backend.makeView(x, shape);
  return average({ wide: C % 4 === 0 })(backend, { windows, inputs: [x], channels: C, shape, dtype: 'float32' });
}

type PlaceNumber = 'tap' | 'image' | 'batch';

const argmax = memoised(({ number, float }: { number: PlaceNumber; float: boolean }) => {
  const inImage = `inAt ${number === 'batch' ? '' : '- b * p.inputsZ * p.inputsY * p.inputsX'}`;
  return windowMap({
    label: `MaxPool place by ${number}`,
    per: 'output',
    before: 'var best = In0(); var place = -1;',
    // NaN is told by its bits: compilers take comparisons with it for what they like
    step: `let v = in0[inAt * p.channels + c];
    let known = ${float ? '(bitcast<u32>(v) & 0x7fffffffu) <= 0x7f800000u' : 'true'};
    if (known && (place < 0 || v > best)) { best = v; place = ${number === 'tap' ? 'tap' : `(${inImage}) * p.channels + c`}; }`,
    after: 'out[i] = place;',
  });
});

/** Where the first largest value of each window lies: its tap of the filter, or its number in the image or in the whole batch. */
const argmaxPool = (
  backend: WebgpuBackend,
  x: tf.TensorInfo,
  { windows, shape, C }: Pooling,
  number: PlaceNumber,
): tf.TensorInfo =>
  argmax({ number, float: x.dtype === 'float32' })(backend, {
    windows,
    inputs: [x],
    channels: C,
    shape,
    dtype: 'int32',
  });

const spreading = memoised(({ wide }: { wide: boolean }) =>
  windowMap({
    label: 'Gradient of the largest',
    per: 'input',
    wide: { inputs: [wide, wide], output: wide },
    before: 'var total = Out();',
    step: `let at = outAt * p.channels + c; total += select(Out(), in0[at], in1[at] == In1(tap));`,
    after: 'out[i] = total;',
  }),
);

/** dx[input] = sum of dy over the windows whose tap `chosen` is that input. `chosen` holds a tap for each output value. */
export const spreadToChosen = (
  backend: WebgpuBackend,
  { dy, chosen }: Tensors<'dy' | 'chosen'>,
  { windows, shape, C }: Pooling,
): tf.TensorInfo =>
  spreading({ wide: C % 4 === 0 })(backend, {
    windows,
    inputs: [dy, chosen],
    channels: C,
    shape,
    dtype: 'float32',
  });

function maxPoolGrad(backend: WebgpuBackend, { dy, input }: Tensors<'dy' | 'input'>, pooling: Pooling): tf.TensorInfo {
  const chosen = argmaxPool(backend, input, pooling, 'tap');
  const dx = spreadToChosen(backend, { dy, chosen }, { ...pooling, shape: input.shape });
  backend.disposeData(chosen.dataId);
  return dx;
}

const averageGradient = memoised(({ wide }: { wide: boolean }) => {
  const inside = (axis: string) =>
    `(min(out${axis} * p.stride${axis} - p.before${axis} + p.filter${axis}, p.inputs${axis}) - max(out${axis} * p.stride${axis} - p.before${axis}, 0))`;
  return windowMap({
    label: 'AvgPoolGrad',
    per: 'input',
    wide: { inputs: [wide], output: wide },
    before: 'var total = Out();',
    step: `total += in0[outAt * p.channels + c] / f32(${['Z', 'Y', 'X'].map(inside).join(' * ')});`,
    after: 'out[i] = total;',
  });
});

/**
 * dx[input] = sum over the windows around it of dy / (the window's values inside the image): the derivative of `avgPool`. TensorFlow.js's
 * other backends divide by all values of the window here, also by those outside.
 */
const avgPoolGrad = (
  backend: WebgpuBackend,
  { dy, input }: Tensors<'dy' | 'input'>,
  { windows, C }: Pooling,
): tf.TensorInfo =>
  averageGradient({ wide: C % 4 === 0 })(backend, {
    windows,
    inputs: [dy],
    channels: C,
    shape: input.shape,
    dtype: 'float32',
  });

const ofX = (
  kernelName: string,
  run: (backend: WebgpuBackend, x: tf.TensorInfo, pooling: Pooling) => tf.TensorInfo,
): Kernel =>
  kernel<Tensors<'x'>, PoolAttrs>(kernelName, (backend, { x }, attrs) => run(backend, x, poolingOf(x, attrs)));

const gradient = (
  kernelName: string,
  run: (backend: WebgpuBackend, inputs: Tensors<'dy' | 'input'>, pooling: Pooling) => tf.TensorInfo,
): Kernel =>
  kernel<Tensors<'dy' | 'input'>, PoolAttrs>(kernelName, (backend, inputs, attrs) =>
    run(backend, inputs, poolingOf(inputs.input, attrs)),
  );

export const poolKernels: readonly Kernel[] = [
  ...[tf.MaxPool, tf.MaxPool3D].map((name) => ofX(name, maxPool)),
  ...[tf.AvgPool, tf.AvgPool3D].map((name) => ofX(name, avgPool)),
  ...[tf.MaxPoolGrad, tf.MaxPool3DGrad].map((name) => gradient(name, maxPoolGrad)),
  ...[tf.AvgPoolGrad, tf.AvgPool3DGrad].map((name) => gradient(name, avgPoolGrad)),
  kernel<Tensors<'x'>, PoolAttrs>(tf.MaxPoolWithArgmax, (backend, { x }, attrs) => {
    const pooling = poolingOf(x, attrs);
    const place = argmaxPool(backend, x, pooling, attrs.includeBatchInIndex ? 'batch' : 'image');
    return [maxPool(backend, x, pooling), place];
  }),
];
