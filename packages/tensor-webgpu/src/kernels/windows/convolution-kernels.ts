import * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../../backend.ts';
import { type Activation, finish } from '../elementwise/activation.ts';
import { cast, casting } from '../elementwise/elementwise.ts';
import { type Kernel, kernel, type Tensors } from '../kernel.ts';
import { windowsOf } from '../maps/window-map.ts';
import { slice, transpose } from '../movement/movement.ts';
import { type Convolution, convolve, convolveToFilter, convolveToInput } from './convolution.ts';

type Shape4D = [number, number, number, number];
type Shape5D = [number, number, number, number, number];

const convolutionOf = (info: tf.backend_util.Conv2DInfo | tf.backend_util.Conv3DInfo): Convolution => ({
  windows: windowsOf(info),
  I: info.inChannels,
  O: info.outChannels,
});

type Attrs2D = Pick<tf.Conv2DAttrs, 'strides' | 'pad' | 'dataFormat' | 'dimRoundingMode'> & {
  readonly dilations?: [number, number] | number;
};

function info2D(
  inShape: readonly number[],
  filterShape: readonly number[],
  attrs: Attrs2D,
): tf.backend_util.Conv2DInfo {
  const { strides, dilations = 1, pad, dimRoundingMode, dataFormat } = attrs;
  return tf.backend_util.computeConv2DInfo(
    inShape as Shape4D,
    filterShape as Shape4D,
    strides,
    dilations,
    pad,
    dimRoundingMode,
    false,
    tf.backend_util.convertConv2DDataFormat(dataFormat),
  );
}

const info3D = (
  inShape: readonly number[],
  filterShape: readonly number[],
  { strides, pad, dilations = 1 }: Pick<tf.Conv3DAttrs, 'strides' | 'pad'> & Partial<tf.Conv3DAttrs>,
): tf.backend_util.Conv3DInfo =>
  tf.backend_util.computeConv3DInfo(
    inShape as Shape5D,
    filterShape as Shape5D,
    strides,
    dilations as [number, number, number],
    pad,
  );

/** Runs `use` on `x` as float32 and with its channels last. */
function channelsLast<T>(
  backend: WebgpuBackend,
  x: tf.TensorInfo,
  format: 'NHWC' | 'NCHW',
  use: (x: tf.TensorInfo) => T,
): T {
  return casting(backend, x, 'float32', (floats) => {
    if (format !== 'NCHW') return use(floats);
    const moved = transpose(backend, floats, [0, 2, 3, 1]);
    const made = use(moved);
    backend.disposeData(moved.dataId);
    return made;
  });
}

/** A result with channels last in the format and dtype asked for; `y` is freed. */
function formatted(
  backend: WebgpuBackend,
  y: tf.TensorInfo,
  { format, dtype }: { format: 'NHWC' | 'NCHW'; dtype: tf.DataType },
): tf.TensorInfo {
  const moved = format === 'NCHW' ? transpose(backend, y, [0, 3, 1, 2]) : y;
  if (moved !== y) backend.disposeData(y.dataId);
  if (dtype === 'float32') return moved;
  const made = cast(backend, moved, dtype);
  backend.disposeData(moved.dataId);
  return made;
}

/** Conv2D in its format; a bias [O] is added by the matmul when the channels are last. */
function conv2D(
  backend: WebgpuBackend,
  { x, filter, bias }: { x: tf.TensorInfo; filter: tf.TensorInfo; bias?: tf.TensorInfo | undefined },
  attrs: Attrs2D,
): tf.TensorInfo {
  const { dataFormat } = attrs;
  const info = info2D(x.shape, filter.shape, attrs);
  const { batchSize, outHeight, outWidth, outChannels } = info;
  const y = channelsLast(backend, x, dataFormat, (images) =>
    casting(backend, filter, 'float32', (weights) =>
      convolve(backend, { x: images, filter: weights, bias }, convolutionOf(info)),
    ),
  );
  const images = { ...y, shape: [batchSize, outHeight, outWidth, outChannels] };
  return formatted(backend, images, { format: dataFormat, dtype: x.dtype });
}

/** A bias or slopes [C] beside images whose channels come first. */
const beside = (vector: tf.TensorInfo | undefined, format: 'NHWC' | 'NCHW'): tf.TensorInfo | undefined =>
  vector && format === 'NCHW' && vector.shape.length === 1 ? { ...vector, shape: [vector.shape[0]!, 1, 1] } : vector;

type Filtered = Tensors<'x' | 'filter', 'bias' | 'preluActivationWeights'>;

export const convolutionKernels: readonly Kernel[] = [
  kernel<Filtered, tf.Conv2DAttrs>(tf.Conv2D, (backend, { x, filter }, attrs) => conv2D(backend, { x, filter }, attrs)),
  kernel<Filtered, tf.FusedConv2DAttrs>(tf.FusedConv2D, (backend, inputs, attrs) => {
    const { x, filter, bias, preluActivationWeights } = inputs;
    const { dataFormat, activation, leakyreluAlpha } = attrs;
    const vector = bias?.shape.length === 1 && bias.shape[0] === filter.shape[3] && dataFormat === 'NHWC';
    const y = conv2D(backend, { x, filter, bias: vector ? bias : undefined }, attrs);
    return finish(backend, y, {
      bias: vector ? undefined : beside(bias, dataFormat),
      activation: activation as Activation,
      slopes: beside(preluActivationWeights, dataFormat),
      alpha: leakyreluAlpha,
    });
  }),
  kernel<Tensors<'dy' | 'filter'>, tf.Conv2DBackpropInputAttrs>(
    tf.Conv2DBackpropInput,
    (backend, { dy, filter }, attrs) => {
      const { inputShape, dataFormat } = attrs;
      const info = info2D(inputShape, filter.shape, attrs);
      const { batchSize, inHeight, inWidth, inChannels } = info;
      // what lies beyond the convolution's own output is not used
      const used = slice(backend, dy, [0, 0, 0, 0], info.outShape);
      const dx = channelsLast(backend, used, dataFormat, (gradient) =>
        casting(backend, filter, 'float32', (weights) =>
          convolveToInput(backend, { dy: gradient, filter: weights }, convolutionOf(info)),
        ),
      );
      backend.disposeData(used.dataId);
      const images = { ...dx, shape: [batchSize, inHeight, inWidth, inChannels] };
      return formatted(backend, images, { format: dataFormat, dtype: 'float32' });
    },
  ),
  kernel<Tensors<'x' | 'dy'>, tf.Conv2DBackpropFilterAttrs>(tf.Conv2DBackpropFilter, (backend, { x, dy }, attrs) => {
    const { filterShape, dataFormat } = attrs;
    const convolution = convolutionOf(info2D(x.shape, filterShape, attrs));
    const dw = channelsLast(backend, x, dataFormat, (images) =>
      channelsLast(backend, dy, dataFormat, (gradient) =>
        convolveToFilter(backend, { x: images, dy: gradient }, convolution),
      ),
    );
    return { ...dw, shape: filterShape };
  }),
  kernel<Tensors<'x' | 'filter'>, tf.Conv3DAttrs>(tf.Conv3D, (backend, { x, filter }, attrs) => {
    const info = info3D(x.shape, filter.shape, attrs);
    return { ...convolve(backend, { x, filter }, convolutionOf(info)), shape: info.outShape };
  }),
  kernel<Tensors<'dy' | 'filter'>, tf.Conv3DBackpropInputV2Attrs>(
    tf.Conv3DBackpropInputV2,
    (backend, { dy, filter }, attrs) => {
      const info = info3D(attrs.inputShape, filter.shape, attrs);
      return { ...convolveToInput(backend, { dy, filter }, convolutionOf(info)), shape: info.inShape };
    },
  ),
  kernel<Tensors<'x' | 'dy'>, tf.Conv3DBackpropFilterV2Attrs>(
    tf.Conv3DBackpropFilterV2,
    (backend, { x, dy }, attrs) => {
      const info = info3D(x.shape, attrs.filterShape, attrs);
      return { ...convolveToFilter(backend, { x, dy }, convolutionOf(info)), shape: attrs.filterShape };
    },
  ),
];
