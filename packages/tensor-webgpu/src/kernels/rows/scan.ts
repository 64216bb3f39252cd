import * as tf from '@tensorflow/tfjs-core';
import { type Kernel, kernel, type Tensors } from '../kernel.ts';
import { resultMap } from '../maps/result-map.ts';

const rowsPerGroup = 8; // long loops: many small workgroups spread better

/** [outer, length, inner] of `x` about one axis. */
function aboutAxis(x: tf.TensorInfo, axis: number): { along: number; length: number; inner: number } {
  const along = tf.util.parseAxisParam(axis, x.shape)[0]!;
  return { along, length: x.shape[along] ?? 1, inner: tf.util.sizeFromShape(x.shape.slice(along + 1)) };
}

/** Running sums or products along an axis, without the value itself (exclusive) or from the end (reverse). */
function running({ label, start, sign }: { label: string; start: 0 | 1; sign: '+' | '*' }): Kernel {
  const map = resultMap({
    label,
    uniforms: { length: 'i32', inner: 'i32', exclusive: 'i32', reverse: 'i32' },
    perGroup: rowsPerGroup,
    body: `let base = (i / p.inner) * p.length * p.inner + i % p.inner;
  var total = Out(${start});
  for (var k = 0; k < p.length; k++) {
    let at = base + select(k, p.length - 1 - k, p.reverse == 1) * p.inner;
    let next = total ${sign} Out(in0[at]);
    out[at] = select(next, total, p.exclusive == 1);
    total = next;
  }`,
  });
  return kernel<Tensors<'x'>, tf.CumsumAttrs>(label, (backend, { x }, { axis, exclusive, reverse }) => {
    const { length, inner } = aboutAxis(x, axis);
    return map(backend, {
      inputs: [x],
      shape: x.shape,
      dtype: tf.upcastType(x.dtype, 'int32'),
      units: tf.util.sizeFromShape(x.shape) / Math.max(1, length),
      uniforms: { length, inner, exclusive: exclusive ? 1 : 0, reverse: reverse ? 1 : 0 },
    });
  });
}

/** Where the largest or smallest value lies along an axis; the first of equal ones. */
function argument(label: string, better: '>' | '<'): Kernel {
  const map = resultMap({
    label,
    uniforms: { length: 'i32', inner: 'i32' },
    perGroup: rowsPerGroup,
    body: `let base = (i / p.inner) * p.length * p.inner + i % p.inner;
  var best = in0[base];
  var place = 0;
  for (var k = 1; k < p.length; k++) {
    let next = in0[base + k * p.inner];
    if (next ${better} best) { best = next; place = k; }
  }
  out[i] = place;`,
  });
  return kernel<Tensors<'x'>, tf.ArgMaxAttrs>(label, (backend, { x }, { axis }) => {
    const { along, length, inner } = aboutAxis(x, axis);
    const shape = x.shape.filter((_, d) => d !== along);
    return map(backend, { inputs: [x], shape, dtype: 'int32', uniforms: { length, inner } });
  });
}

export const scanKernels: readonly Kernel[] = [
  running({ label: tf.Cumsum, start: 0, sign: '+' }),
  running({ label: tf.Cumprod, start: 1, sign: '*' }),
  argument(tf.ArgMax, '>'),
  argument(tf.ArgMin, '<'),
];
