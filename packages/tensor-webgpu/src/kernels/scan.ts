import * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../backend.ts';
import type { Kernel } from './index.ts';
import { resultMap } from './result-map.ts';

const rowsPerGroup = 8; // long loops: many small workgroups spread better

/** [outer, length, inner] of `x` about one axis. */
function aboutAxis(x: tf.TensorInfo, axis: number): { along: number; length: number; inner: number } {
  const along = tf.util.parseAxisParam(axis, x.shape)[0]!;
  return { along, length: x.shape[along] ?? 1, inner: tf.util.sizeFromShape(x.shape.slice(along + 1)) };
}

/** Running sums or products along an axis, without the value itself (exclusive) or from the end (reverse). */
function running(
  backend: WebgpuBackend,
  x: tf.TensorInfo,
  how: { label: string; start: 0 | 1; sign: '+' | '*' },
  attrs: tf.CumsumAttrs,
): tf.TensorInfo {
  const { length, inner } = aboutAxis(x, attrs.axis);
  const dtype = tf.upcastType(x.dtype, 'int32');
  return resultMap(backend, {
    label: how.label,
    inputs: [x],
    output: { shape: x.shape, dtype },
    units: tf.util.sizeFromShape(x.shape) / Math.max(1, length),
    integers: { length, inner, exclusive: attrs.exclusive ? 1 : 0, reverse: attrs.reverse ? 1 : 0 },
    perGroup: rowsPerGroup,
    body: `let base = (i / p.inner) * p.length * p.inner + i % p.inner;
  var total = Out(${how.start});
  for (var k = 0; k < p.length; k++) {
    let at = base + select(k, p.length - 1 - k, p.reverse == 1) * p.inner;
    let next = total ${how.sign} Out(in0[at]);
    out[at] = select(next, total, p.exclusive == 1);
    total = next;
  }`,
  });
}

/** Where the largest or smallest value lies along an axis; the first of equal ones. */
function argument(
  backend: WebgpuBackend,
  x: tf.TensorInfo,
  how: { label: string; better: '>' | '<'; axis: number },
): tf.TensorInfo {
  const { along, length, inner } = aboutAxis(x, how.axis);
  return resultMap(backend, {
    label: how.label,
    inputs: [x],
    output: { shape: x.shape.filter((_, d) => d !== along), dtype: 'int32' },
    integers: { length, inner },
    perGroup: rowsPerGroup,
    body: `let base = (i / p.inner) * p.length * p.inner + i % p.inner;
  var best = in0[base]; var place = 0;
  for (var k = 1; k < p.length; k++) { let next = in0[base + k * p.inner]; if (next ${how.better} best) { best = next; place = k; } }
  out[i] = place;`,
  });
}

const argumentKernel = (kernelName: string, better: '>' | '<'): Kernel => ({
  kernelName,
  kernelFunc: ({ inputs, attrs, backend }) =>
    argument(backend as WebgpuBackend, inputs.x as tf.TensorInfo, {
      label: kernelName,
      better,
      axis: (attrs as unknown as tf.ArgMaxAttrs).axis,
    }),
});

const runningKernel = (how: Parameters<typeof running>[2]): Kernel => ({
  kernelName: how.label,
  kernelFunc: ({ inputs, attrs, backend }) =>
    running(backend as WebgpuBackend, inputs.x as tf.TensorInfo, how, attrs as unknown as tf.CumsumAttrs),
});

export const scanKernels: readonly Kernel[] = [
  runningKernel({ label: tf.Cumsum, start: 0, sign: '+' }),
  runningKernel({ label: tf.Cumprod, start: 1, sign: '*' }),
  argumentKernel(tf.ArgMax, '>'),
  argumentKernel(tf.ArgMin, '<'),
];
