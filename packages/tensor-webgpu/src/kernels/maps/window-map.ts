import type * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../../backend.ts';
import { resultMap } from './result-map.ts';

/** Sizes along depth, height and width; depth is 1 for images. */
export type Extents = readonly [number, number, number];

/** Windows of a filter that slide over [B, ...inputs, C]: output place o covers the input places o stride - before + tap dilation. */
export interface Windows {
  readonly B: number;
  readonly inputs: Extents;
  readonly outputs: Extents;
  readonly filter: Extents;
  readonly stride: Extents;
  readonly dilation: Extents;
  readonly before: Extents;
}

type Info2D = tf.backend_util.Conv2DInfo;
type Info3D = tf.backend_util.Conv3DInfo;

/** The windows of a convolution or pooling as TensorFlow.js describes it. */
export function windowsOf(info: Info2D | Info3D): Windows {
  const d3 = 'inDepth' in info ? info : undefined;
  return {
    B: info.batchSize,
    inputs: [d3?.inDepth ?? 1, info.inHeight, info.inWidth],
    outputs: [d3?.outDepth ?? 1, info.outHeight, info.outWidth],
    filter: [d3?.filterDepth ?? 1, info.filterHeight, info.filterWidth],
    stride: [d3?.strideDepth ?? 1, info.strideHeight, info.strideWidth],
    dilation: [d3?.dilationDepth ?? 1, info.dilationHeight, info.dilationWidth],
    before: [d3?.padInfo.front ?? 0, info.padInfo.top, info.padInfo.left],
  };
}

export const placesOf = ([depth, height, width]: Extents): number => depth * height * width;

const axes = ['Z', 'Y', 'X'] as const;
const windowNames = ['inputs', 'outputs', 'filter', 'stride', 'dilation', 'before'] as const;
type WindowUniform = `${(typeof windowNames)[number]}${(typeof axes)[number]}`;

/** The windows' uniforms, `inputsZ` to `beforeX`. */
export const windowUniforms = Object.fromEntries(
  windowNames.flatMap((name) => axes.map((axis) => [`${name}${axis}`, 'i32'])),
) as Record<WindowUniform, 'i32'>;

/** Their numbers. */
export const windowIntegers = (windows: Windows): Record<WindowUniform, number> =>
  Object.fromEntries(
    windowNames.flatMap((name) => axes.map((axis, d) => [`${name}${axis}`, windows[name][d]!])),
  ) as Record<WindowUniform, number>;

/** What is done over windows, whatever the sizes and dtypes are. */
interface WindowText<Uniforms extends string> {
  readonly label: string;
  /** Whether each invocation is for an output place and runs through its window, or for an input place and through all windows around it. */
  readonly per: 'output' | 'input';
  /** Which inputs, and whether the result, are read and written four channels at a time. */
  readonly wide?: { readonly inputs: readonly boolean[]; readonly output: boolean };
  readonly uniforms?: Readonly<Record<Uniforms, 'i32' | 'f32'>>;
  /** WGSL before the loops. */
  readonly before: string;
  /**
   * WGSL for every pair of an output place and an input place that a tap of the filter joins. It knows `b`, the channel `c`, `tap`, the
   * coordinates `inZ`, `inY`, `inX` and `outZ`, `outY`, `outX`, and the places' numbers in their tensors, `inAt` and `outAt`.
   */
  readonly step: string;
  /** WGSL after the loops, with `out[i]`. */
  readonly after: string;
}

/** What it is done to. */
interface WindowCall<Uniforms extends string> {
  readonly windows: Windows;
  readonly inputs: readonly tf.TensorInfo[];
  /** Values at each place of the result. */
  readonly channels: number;
  readonly shape: readonly number[];
  readonly dtype: tf.DataType;
  readonly uniforms?: Readonly<Record<Uniforms, number>>;
}

/** One result for each place and channel, gathered over a window: pooling, depthwise convolutions, their gradients. */
export function windowMap<Uniforms extends string = never>(
  text: WindowText<Uniforms>,
): (backend: WebgpuBackend, call: WindowCall<Uniforms>) => tf.TensorInfo {
  const map = resultMap<string>({
    label: text.label,
    ...(text.wide && { wide: text.wide.inputs, wideOutput: text.wide.output }),
    uniforms: { ...windowUniforms, channels: 'i32', ...text.uniforms },
    body: windowBody(text),
  });
  return (backend, { windows, inputs, channels, shape, dtype, uniforms }) =>
    map(backend, {
      inputs,
      shape,
      dtype,
      uniforms: { ...windowIntegers(windows), channels: channels / (text.wide?.output ? 4 : 1), ...uniforms },
    });
}

function windowBody({ per, before, step, after }: WindowText<string>): string {
  const [fixed, free] = per === 'output' ? ['out', 'in'] : ['in', 'out'];
  const place = (side: string) => {
    const size = side === 'in' ? 'inputs' : 'outputs';
    return `((b * p.${size}Z + ${side}Z) * p.${size}Y + ${side}Y) * p.${size}X + ${side}X`;
  };
  const start = axes.map((axis) =>
    per === 'output'
      ? `let start${axis} = out${axis} * p.stride${axis} - p.before${axis};`
      : `let start${axis} = in${axis} + p.before${axis};`,
  );
  const loop = (axis: string) => `for (var tap${axis} = 0; tap${axis} < p.filter${axis}; tap${axis}++) {
    ${
      per === 'output'
        ? `let in${axis} = start${axis} + tap${axis} * p.dilation${axis};
    if (in${axis} < 0 || in${axis} >= p.inputs${axis}) { continue; }`
        : `let reach${axis} = start${axis} - tap${axis} * p.dilation${axis}; let out${axis} = reach${axis} / p.stride${axis};
    if (reach${axis} < 0 || out${axis} * p.stride${axis} != reach${axis} || out${axis} >= p.outputs${axis}) { continue; }`
    }`;
  const size = per === 'output' ? 'outputs' : 'inputs';
  return `let c = i % p.channels;
  let ${per === 'output' ? 'outAt' : 'inAt'} = i / p.channels;
  let ${fixed}X = (i / p.channels) % p.${size}X; let rows = (i / p.channels) / p.${size}X;
  let ${fixed}Y = rows % p.${size}Y; let ${fixed}Z = (rows / p.${size}Y) % p.${size}Z; let b = rows / (p.${size}Y * p.${size}Z);
  ${start.join(' ')}
  ${before}
  ${axes.map(loop).join('\n  ')}
    let tap = (tapZ * p.filterY + tapY) * p.filterX + tapX; let ${per === 'output' ? 'inAt' : 'outAt'} = ${place(free!)};
    ${step}
  } } }
  ${after}`;
}
