import * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../../backend.ts';
import { memoised } from '../../program/memoised.ts';
import { type Activation, finish } from '../elementwise/activation.ts';
import { type Kernel, kernel, type Tensors } from '../kernel.ts';
import { resultMap } from '../maps/result-map.ts';
import { placesOf, windowIntegers, windowMap, windowsOf, windowUniforms } from '../maps/window-map.ts';
import { addParts } from '../rows/reduce.ts';

type Shape4D = [number, number, number, number];
type Attrs = Pick<tf.DepthwiseConv2dNativeAttrs, 'strides' | 'pad' | 'dilations' | 'dimRoundingMode'>;

/** Windows, input channels I and channels out of each of them, `many`. */
function depthwiseOf(inShape: readonly number[], filterShape: readonly number[], attrs: Attrs) {
  const { strides, dilations, pad, dimRoundingMode } = attrs;
  const spread = dilations ?? [1, 1];
  if (!tf.backend_util.eitherStridesOrDilationsAreOne(strides, spread))
    throw new Error(
      `depthwiseConv2d: expected strides or dilations to be 1, got strides ${strides} and dilations ${spread}`,
    );
  const info = tf.backend_util.computeConv2DInfo(
    inShape as Shape4D,
    filterShape as Shape4D,
    strides,
    spread,
    pad,
    dimRoundingMode,
    true,
  );
  return { windows: windowsOf(info), shape: info.outShape, I: info.inChannels, many: filterShape[3]! };
}

type Depthwise = ReturnType<typeof depthwiseOf>;

/** Whether four neighbouring channels have filters of their own and can be taken at once. */
const isWide = ({ I, many }: Depthwise): boolean => many === 1 && I % 4 === 0;

const forward = memoised(({ wide }: { wide: boolean }) =>
  windowMap({
    label: 'DepthwiseConv2dNative',
    per: 'output',
    wide: { inputs: [wide, wide], output: wide },
    uniforms: { many: 'i32' },
    before: 'let source = c / p.many; let sources = p.channels / p.many; var total = Out();',
    step: 'total += Out(in0[inAt * sources + source]) * Out(in1[tap * p.channels + c]);',
    after: 'out[i] = total;',
  }),
);

/** y[place, c many + q] = sum of x[input, c] filter[tap, c, q]. */
function depthwise(
  backend: WebgpuBackend,
  { x, filter }: Tensors<'x' | 'filter'>,
  convolution: Depthwise,
): tf.TensorInfo {
  const { windows, shape, I, many } = convolution;
  return forward({ wide: isWide(convolution) })(backend, {
    windows,
    inputs: [x, filter],
    channels: I * many,
    shape,
    dtype: 'float32',
    uniforms: { many },
  });
}

const inputGradient = memoised(({ wide }: { wide: boolean }) =>
  windowMap({
    label: 'DepthwiseConv2dNative to input',
    per: 'input',
    wide: { inputs: [wide, wide], output: wide },
    uniforms: { many: 'i32' },
    before: 'var total = Out();',
    step: `for (var q = 0; q < p.many; q++) {
      total += in0[(outAt * p.channels + c) * p.many + q] * in1[(tap * p.channels + c) * p.many + q];
    }`,
    after: 'out[i] = total;',
  }),
);

function toInput(
  backend: WebgpuBackend,
  { dy, filter }: Tensors<'dy' | 'filter'>,
  convolution: Depthwise,
): tf.TensorInfo {
  const { windows, I, many } = convolution;
  return inputGradient({ wide: isWide(convolution) })(backend, {
    windows,
    inputs: [dy, filter],
    channels: I,
    shape: [windows.B, windows.inputs[1], windows.inputs[2], I],
    dtype: 'float32',
    uniforms: { many },
  });
}

const filterGradient = resultMap<string>({
  label: 'DepthwiseConv2dNative to filter',
  uniforms: { ...windowUniforms, I: 'i32', many: 'i32', values: 'i32', rows: 'i32', rowsPerPart: 'i32' },
  body: `let value = i % p.values; let q = value % p.many; let c = (value / p.many) % p.I; let tap = value / (p.many * p.I);
  let tapX = tap % p.filterX; let tapY = tap / p.filterX; let first = (i / p.values) * p.rowsPerPart;
  var total = Out();
  for (var row = first; row < min(first + p.rowsPerPart, p.rows); row++) {
    let b = row / p.outputsY;
    let inY = (row - b * p.outputsY) * p.strideY - p.beforeY + tapY * p.dilationY;
    if (inY < 0 || inY >= p.inputsY) { continue; }
    for (var outX = 0; outX < p.outputsX; outX++) {
      let inX = outX * p.strideX - p.beforeX + tapX * p.dilationX;
      if (inX < 0 || inX >= p.inputsX) { continue; }
      total += in0[((b * p.inputsY + inY) * p.inputsX + inX) * p.I + c] * in1[((row * p.outputsX + outX) * p.I + c) * p.many + q];
    }
  }
  out[i] = total;`,
});

/** The gradient for the filter [taps, I, many]: one part for each row of outputs, then their sum. */
function toFilter(
  backend: WebgpuBackend,
  { x, dy }: Tensors<'x' | 'dy'>,
  { windows, I, many }: Depthwise,
): tf.TensorInfo {
  const values = placesOf(windows.filter) * I * many;
  const rows = windows.B * windows.outputs[1];
  const rowsPerPart = Math.max(1, Math.ceil((rows * values) / mostPartials));
  const parts = Math.ceil(rows / rowsPerPart);
  const partial = filterGradient(backend, {
    inputs: [x, dy],
    shape: [parts, values],
    dtype: 'float32',
    uniforms: { ...windowIntegers(windows), I, many, values, rows, rowsPerPart },
  });
  const total = addParts(backend, partial);
  backend.disposeData(partial.dataId);
  return total;
}

const mostPartials = 1 << 20;

type Filtered = Tensors<'x' | 'filter', 'bias' | 'preluActivationWeights'>;

export const depthwiseKernels: readonly Kernel[] = [
  kernel<Filtered, Attrs>(tf.DepthwiseConv2dNative, (backend, { x, filter }, attrs) =>
    depthwise(backend, { x, filter }, depthwiseOf(x.shape, filter.shape, attrs)),
  ),
  kernel<Filtered, Attrs & tf.FusedDepthwiseConv2DAttrs>(tf.FusedDepthwiseConv2D, (backend, inputs, attrs) => {
    const { x, filter, bias, preluActivationWeights: slopes } = inputs;
    const y = depthwise(backend, { x, filter }, depthwiseOf(x.shape, filter.shape, attrs));
    return finish(backend, y, {
      bias,
      activation: attrs.activation as Activation,
      slopes,
      alpha: attrs.leakyreluAlpha,
    });
  }),
  kernel<Tensors<'dy' | 'filter'>, Attrs & { inputShape: Shape4D }>(
    tf.DepthwiseConv2dNativeBackpropInput,
    (backend, { dy, filter }, attrs) =>
      toInput(backend, { dy, filter }, depthwiseOf(attrs.inputShape, filter.shape, attrs)),
  ),
  kernel<Tensors<'x' | 'dy'>, Attrs & { filterShape: Shape4D }>(
    tf.DepthwiseConv2dNativeBackpropFilter,
    (backend, { x, dy }, attrs) => ({
      ...toFilter(backend, { x, dy }, depthwiseOf(x.shape, attrs.filterShape, attrs)),
      shape: attrs.filterShape,
    }),
  ),
];
