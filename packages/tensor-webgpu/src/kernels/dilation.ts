import * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../backend.ts';
import type { Kernel } from './index.ts';
import { spreadToChosen } from './pool.ts';
import { resultMap } from './result-map.ts';
import { placesOf, type Windows, windowMap, windowsOf } from './window-map.ts';

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

/** The largest x + filter of each window, or the tap where it first is. */
function dilate(
  backend: WebgpuBackend,
  { x, filter }: { x: tf.TensorInfo; filter: tf.TensorInfo },
  { windows, shape, C }: Dilation,
  want: 'value' | 'tap',
): tf.TensorInfo {
  return windowMap(backend, {
    label: `Dilation2D ${want}`,
    windows,
    inputs: [x, filter],
    per: 'output',
    channels: C,
    shape,
    dtype: want === 'tap' ? 'int32' : x.dtype,
    before: `var best = In0(); var chosen = -1;`,
    step: `let v = in0[inAt * p.channels + c] + in1[tap * p.channels + c];
    if (chosen < 0 || v > best) { best = v; chosen = tap; }`,
    after: `out[i] = ${want === 'tap' ? 'chosen' : 'best'};`,
  });
}

/** dfilter[tap, c] = sum of dy where that tap was the largest. */
function toFilter(
  backend: WebgpuBackend,
  { dy, chosen }: { dy: tf.TensorInfo; chosen: tf.TensorInfo },
  { windows, shape, C }: Dilation,
): tf.TensorInfo {
  return resultMap(backend, {
    label: 'Dilation2DBackpropFilter',
    inputs: [dy, chosen],
    output: { shape: [placesOf(windows.filter), C], dtype: 'float32' },
    integers: { C, size: tf.util.sizeFromShape([...shape]) },
    body: `let tap = i / p.C;
  var total = 0.0;
  for (var at = i % p.C; at < p.size; at += p.C) { total += select(0.0, in0[at], in1[at] == tap); }
  out[i] = total;`,
  });
}

type Named = Record<'x' | 'filter' | 'dy', tf.TensorInfo>;

const kernel = (
  kernelName: string,
  run: (backend: WebgpuBackend, inputs: Named, dilation: Dilation) => tf.TensorInfo,
): Kernel => ({
  kernelName,
  kernelFunc: ({ inputs, attrs, backend }) => {
    const named = inputs as Named;
    return run(
      backend as WebgpuBackend,
      named,
      dilationOf(named.x, named.filter, attrs as unknown as tf.Dilation2DAttrs),
    );
  },
});

const gradient = (
  kernelName: string,
  use: (backend: WebgpuBackend, inputs: Named & { chosen: tf.TensorInfo }, dilation: Dilation) => tf.TensorInfo,
): Kernel =>
  kernel(kernelName, (backend, inputs, dilation) => {
    const chosen = dilate(backend, inputs, dilation, 'tap');
    const made = use(backend, { ...inputs, chosen }, dilation);
    backend.disposeData(chosen.dataId);
    return made;
  });

export const dilationKernels: readonly Kernel[] = [
  kernel(tf.Dilation2D, (backend, inputs, dilation) => dilate(backend, inputs, dilation, 'value')),
  gradient(tf.Dilation2DBackpropInput, (backend, { x, dy, chosen }, dilation) =>
    spreadToChosen(backend, { dy, chosen }, { ...dilation, shape: x.shape }),
  ),
  gradient(tf.Dilation2DBackpropFilter, (backend, { filter, dy, chosen }, dilation) => ({
    ...toFilter(backend, { dy, chosen }, dilation),
    shape: filter.shape,
  })),
];
