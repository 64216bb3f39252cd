import type * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../../backend.ts';
import { memoised } from '../../program/memoised.ts';
import { resultMap } from '../maps/result-map.ts';
import { rowMajor } from '../maps/strided-map.ts';

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
  const isFloat = x.dtype === 'float32';
  const uniforms: Record<string, number> = {};
  from.forEach((extent, d) => {
    uniforms[`to${d}`] = to[d]!;
    uniforms[`before${d}`] = before[d]!;
    uniforms[`from${d}`] = extent;
    uniforms[`stride${d}`] = strides[d]!;
  });
  if (mirror) uniforms.twice = filling.mirror === 'symmetric' ? 1 : 0;
  else uniforms.value = filling.value;
  return padding({ rank, mirror, isFloat, wide })(backend, { inputs: [x], shape, dtype: x.dtype, uniforms });
}

interface PadText {
  readonly rank: number;
  readonly mirror: boolean;
  readonly isFloat: boolean;
  readonly wide: boolean;
}

const padding = memoised(({ rank, mirror, isFloat, wide }: PadText) => {
  const dimensions = Array.from({ length: rank }, (_, d) => d);
  const step = (d: number) => `{
    let q = rest / p.to${d};
    var c = rest - q * p.to${d} - p.before${d};
    rest = q;
    ${
      mirror
        ? `if (c < 0) { c = -c - p.twice; } if (c >= p.from${d}) { c = 2 * p.from${d} - 2 + p.twice - c; }`
        : `inside = inside && c >= 0 && c < p.from${d};`
    }
    at += c * p.stride${d};
  }`;
  return resultMap<string>({
    label: `${mirror ? 'MirrorPad' : 'PadV2'} ${rank}`,
    wide: [wide],
    wideOutput: wide,
    moves: true,
    uniforms: {
      ...Object.fromEntries(
        dimensions.flatMap((d) => ['to', 'before', 'from', 'stride'].map((name) => [`${name}${d}`, 'i32' as const])),
      ),
      ...(mirror ? { twice: 'i32' } : { value: isFloat ? 'f32' : 'i32' }),
    },
    body: `var rest = i; var at = 0; var inside = true;
  ${dimensions.map(step).reverse().join('\n')}
  ${mirror ? 'out[i] = in0[at];' : 'if (inside) { out[i] = in0[at]; } else { out[i] = Out(One(p.value)); }'}`,
  });
});
