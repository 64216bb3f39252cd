import * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../backend.ts';
import { type Activation, finish } from './activation.ts';
import type { Kernel } from './index.ts';
import { addParts } from './reduce.ts';
import { resultMap } from './result-map.ts';
import { placesOf, windowIntegers, windowMap, windowsOf } from './window-map.ts';

type Shape4D = [number, number, number, number];
type Attrs = Pick<tf.DepthwiseConv2dNativeAttrs, 'strides' | 'pad' | 'dilations' | 'dimRoundingMode'>;
type Named = Record<'x' | 'dy' | 'filter' | 'bias' | 'preluActivationWeights', tf.TensorInfo>;

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

/** y[place, c many + q] = sum of x[input, c] filter[tap, c, q]. */
function depthwise(
  backend: WebgpuBackend,
  { x, filter }: { x: tf.TensorInfo; filter: tf.TensorInfo },
  { windows, shape, I, many }: Depthwise,
): tf.TensorInfo {
  const wide = many === 1 && I % 4 === 0;
  return windowMap(backend, {
    label: 'DepthwiseConv2dNative',
    windows,
    inputs: [x, filter],
    per: 'output',
    channels: I * many,
    shape,
    dtype: 'float32',
    wide: { inputs: [wide, wide], output: wide },
    integers: { many },
    before: 'let source = c / p.many; let sources = p.channels / p.many; var total = Out();',
    step: 'total += Out(in0[inAt * sources + source]) * Out(in1[tap * p.channels + c]);',
    after: 'out[i] = total;',
  });
}

function toInput(
  backend: WebgpuBackend,
  { dy, filter }: { dy: tf.TensorInfo; filter: tf.TensorInfo },
  { windows, I, many }: Depthwise,
): tf.TensorInfo {
  const wide = many === 1 && I % 4 === 0;
  return windowMap(backend, {
    label: 'DepthwiseConv2dNative to input',
    windows,
    inputs: [dy, filter],
    per: 'input',
    channels: I,
    shape: [windows.B, windows.inputs[1], windows.inputs[2], I],
    dtype: 'float32',
    wide: { inputs: [wide, wide], output: wide },
    integers: { many },
    before: 'var total = Out();',
    step: `for (var q = 0; q < p.many; q++) {
      total += in0[(outAt * p.channels + c) * p.many + q] * in1[(tap * p.channels + c) * p.many + q];
    }`,
    after: 'out[i] = total;',
  });
}

/** The gradient for the filter [taps, I, many]: one part for each row of outputs, then their sum. */
function toFilter(
  backend: WebgpuBackend,
  { x, dy }: { x: tf.TensorInfo; dy: tf.TensorInfo },
  { windows, I, many }: Depthwise,
): tf.TensorInfo {
  const values = placesOf(windows.filter) * I * many;
  const rows = windows.B * windows.outputs[1];
  const rowsPerPart = Math.max(1, Math.ceil((rows * values) / mostPartials));
  const parts = Math.ceil(rows / rowsPerPart);
  const partial = resultMap(backend, {
    label: 'DepthwiseConv2dNative to filter',
    inputs: [x, dy],
    output: { shape: [parts, values], dtype: 'float32' },
    integers: { ...windowIntegers(windows), I, many, values, rows, rowsPerPart },
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
  const total = addParts(backend, partial);
  backend.disposeData(partial.dataId);
  return total;
}

const mostPartials = 1 << 20;

const kernel = <Extra>(
  kernelName: string,
  run: (backend: WebgpuBackend, inputs: Named, attrs: Attrs & Extra) => tf.TensorInfo,
): Kernel => ({
  kernelName,
  kernelFunc: ({ inputs, attrs, backend }) =>
    run(backend as WebgpuBackend, inputs as Named, attrs as unknown as Attrs & Extra),
});

export const depthwiseKernels: readonly Kernel[] = [
  kernel(tf.DepthwiseConv2dNative, (backend, { x, filter }, attrs) =>
    depthwise(backend, { x, filter }, depthwiseOf(x.shape, filter.shape, attrs)),
  ),
  kernel<tf.FusedDepthwiseConv2DAttrs>(tf.FusedDepthwiseConv2D, (backend, inputs, attrs) => {
    const { x, filter, bias, preluActivationWeights: slopes } = inputs;
    const y = depthwise(backend, { x, filter }, depthwiseOf(x.shape, filter.shape, attrs));
    return finish(backend, y, {
      bias,
      activation: attrs.activation as Activation,
      slopes,
      alpha: attrs.leakyreluAlpha,
    });
  }),
  kernel<{ inputShape: Shape4D }>(tf.DepthwiseConv2dNativeBackpropInput, (backend, { dy, filter }, attrs) =>
    toInput(backend, { dy, filter }, depthwiseOf(attrs.inputShape, filter.shape, attrs)),
  ),
  kernel<{ filterShape: Shape4D }>(tf.DepthwiseConv2dNativeBackpropFilter, (backend, { x, dy }, attrs) => ({
    ...toFilter(backend, { x, dy }, depthwiseOf(x.shape, attrs.filterShape, attrs)),
    shape: attrs.filterShape,
  })),
];
