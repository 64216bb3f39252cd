import * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../../backend.ts';
import { memoised } from '../../program/memoised.ts';
import { type Kernel, kernel, type Tensors } from '../kernel.ts';
import { resultMap } from '../maps/result-map.ts';
import { placesOf, type Windows, windowMap, windowsOf } from '../maps/window-map.ts';
import { spreadToChosen } from './pool.ts';

interface Dilation {
  readonly windows: Windows;
  readonly shape: readonly number[];
  readonly C: number;
}

function dilationOf(x: tf.TensorInfo, filter: tf.TensorInfo, attrs: tf.Dilation2DAttrs): Dilation {
  const info = tf.backend_util.computeDilation2DInfo(
    x.shape as [number, number, number, number],
    filter.shape as [number, number, number],
    attrs.strides,
    attrs.pad,
    'NHWC',
    attrs.dilations,
  );
  return { windows: windowsOf(info), shape: info.outShape, C: info.inChannels };
}

const dilating = memoised(({ want }: { want: 'value' | 'tap' }) =>
  windowMap({
    label: `Dilation2D ${want}`,
    per: 'output',
    before: 'var best = In0(); var chosen = -1;',
    step: `let v = in0[inAt * p.channels + c] + in1[tap * p.channels + c];
    if (chosen < 0 || v > best) { best = v; chosen = tap; }`,
    after: `out[i] = ${want === 'tap' ? 'chosen' : 'best'};`,
  }),
);

/** The largest x + filter of each window, or the tap where it first is. */
const dilate = (
  backend: WebgpuBackend,
  { x, filter }: Tensors<'x' | 'filter'>,
  { windows, shape, C }: Dilation,
  want: 'value' | 'tap',
): tf.TensorInfo =>
  dilating({ want })(backend, {
    windows,
    inputs: [x, filter],
    channels: C,
    shape,
    dtype: want === 'tap' ? 'int32' : x.dtype,
  });

const filterGradient = resultMap({
  label: 'Dilation2DBackpropFilter',
  uniforms: { C: 'i32', size: 'i32' },
  body: `let tap = i / p.C;
  var total = 0.0;
  for (var at = i % p.C; at < p.size; at += p.C) { total += select(0.0, in0[at], in1[at] == tap); }
  out[i] = total;`,
});

/** dfilter[tap, c] = sum of dy where that tap was the largest. */
const toFilter = (
  backend: WebgpuBackend,
  { dy, chosen }: Tensors<'dy' | 'chosen'>,
  { windows, shape, C }: Dilation,
): tf.TensorInfo =>
  filterGradient(backend, {
    inputs: [dy, chosen],
    shape: [placesOf(windows.filter), C],
    dtype: 'float32',
    uniforms: { C, size: tf.util.sizeFromShape([...shape]) },
  });

/** A gradient, from the taps that were the largest. */
const gradient = (
  kernelName: string,
  use: (backend: WebgpuBackend, inputs: Tensors<'x' | 'filter' | 'dy' | 'chosen'>, dilation: Dilation) => tf.TensorInfo,
): Kernel =>
  kernel<Tensors<'x' | 'filter' | 'dy'>, tf.Dilation2DAttrs>(kernelName, (backend, inputs, attrs) => {
    const dilation = dilationOf(inputs.x, inputs.filter, attrs);
    const chosen = dilate(backend, inputs, dilation, 'tap');
    const made = use(backend, { ...inputs, chosen }, dilation);
    backend.disposeData(chosen.dataId);
    return made;
  });

export const dilationKernels: readonly Kernel[] = [
  kernel<Tensors<'x' | 'filter'>, tf.Dilation2DAttrs>(tf.Dilation2D, (backend, inputs, attrs) =>
    dilate(backend, inputs, dilationOf(inputs.x, inputs.filter, attrs), 'value'),
  ),
  gradient(tf.Dilation2DBackpropInput, (backend, { x, dy, chosen }, dilation) =>
    spreadToChosen(backend, { dy, chosen }, { ...dilation, shape: x.shape }),
  ),
  gradient(tf.Dilation2DBackpropFilter, (backend, { filter, dy, chosen }, dilation) => ({
    ...toFilter(backend, { dy, chosen }, dilation),
    shape: filter.shape,
  })),
];
