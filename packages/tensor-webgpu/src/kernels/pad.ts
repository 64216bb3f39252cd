import type * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../backend.ts';
import { resultMap } from './result-map.ts';
import { rowMajor } from './strided-map.ts';

export type Filling = { readonly value: number } | { readonly mirror: 'reflect' | 'symmetric' };

/** Puts `x` into a larger tensor whose border is a value, or the mirrored inside. */
export function pad(
  backend: WebgpuBackend,
  x: tf.TensorInfo,
  paddings: readonly (readonly [number, number])[],
  filling: Filling,
): tf.TensorInfo {
  const shape = x.shape.map((extent, d) => extent + paddings[d]![0] + paddings[d]![1]);
  const mirror = 'mirror' in filling;
  // dimensions without padding are merged into those before them (whose mirror image they would reverse)
  const from: number[] = [];
  const to: number[] = [];
  const before: number[] = [];
  x.shape.forEach((extent, d) => {
    const last = from.length - 1;
    const free = shape[d] === extent;
    if (free && d > 0 && (!mirror || to[last] === from[last])) {
      for (const list of [from, to, before]) list[last]! *= extent;
    } else {
      from.push(extent);
      to.push(shape[d]!);
      before.push(paddings[d]![0]);
    }
  });
  const rank = from.length;
  const wide =
    [from, to, before].every((list) => list[rank - 1]! % 4 === 0) && (!mirror || to[rank - 1] === from[rank - 1]);
  if (wide) for (const list of [from, to, before]) list[rank - 1]! /= 4;
  const strides = rowMajor(from);
  const integers: Record<string, number> = {};
  from.forEach((extent, d) => {
    Object.assign(integers, {
      [`to${d}`]: to[d]!,
      [`before${d}`]: before[d]!,
      [`from${d}`]: extent,
      [`stride${d}`]: strides[d]!,
    });
  });
  const isFloat = x.dtype === 'float32';
  if (mirror) integers.twice = filling.mirror === 'symmetric' ? 1 : 0;
  else if (!isFloat) integers.value = filling.value;
  const step = (d: number) => `{ let q = rest / p.to${d}; var c = rest - q * p.to${d} - p.before${d}; rest = q;
    ${
      mirror
        ? `if (c < 0) { c = -c - p.twice; } if (c >= p.from${d}) { c = 2 * p.from${d} - 2 + p.twice - c; }`
        : `inside = inside && c >= 0 && c < p.from${d};`
    } at += c * p.stride${d}; }`;
  return resultMap(backend, {
    label: `${mirror ? 'MirrorPad' : 'PadV2'} ${rank}`,
    inputs: [x],
    wide: [wide],
    output: { shape, dtype: x.dtype, wide },
    integers,
    moves: true,
    ...(!mirror && isFloat && { floats: { value: filling.value } }),
    body: `var rest = i; var at = 0; var inside = true;
  ${from
    .map((_, d) => step(d))
    .reverse()
    .join('\n  ')}
  ${mirror ? 'out[i] = in0[at];' : 'if (inside) { out[i] = in0[at]; } else { out[i] = Out(One(p.value)); }'}`,
  });
}
