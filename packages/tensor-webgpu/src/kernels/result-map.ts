import * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../backend.ts';
import { enableHalf, floatType } from '../half.wgsl.ts';
import { linearDispatch, threads } from './dispatch.ts';

export interface ResultMap {
  readonly label: string;
  readonly inputs: readonly tf.TensorInfo[];
  /** Inputs (by position) whose values are read four at a time. */
  readonly wide?: readonly boolean[];
  readonly output: { readonly shape: readonly number[]; readonly dtype: tf.DataType; readonly wide?: boolean };
  /** How many invocations: one for each output value (or four of them) unless given. */
  readonly units?: number;
  /** Integers that the body reads as `p.name`. */
  readonly integers?: Readonly<Record<string, number>>;
  /** Floats that the body reads as `p.name`. */
  readonly floats?: Readonly<Record<string, number>>;
  /** It only moves values: of inputs in half precision the result is so too. */
  readonly moves?: boolean;
  /** Invocations of a workgroup. */
  readonly perGroup?: number;
  /** Module-scope WGSL. */
  readonly functions?: string;
  /** WGSL that writes `out` for invocation `i: i32` from `in0`, `in1`, …; `In0` and `Out` name their element types, `One` a value of `Out`. */
  readonly body: string;
}

/** One invocation per result, for kernels whose reads are not strided: gathers, paddings, resizing, scans. */
export function resultMap(backend: WebgpuBackend, map: ResultMap): tf.TensorInfo {
  const { inputs, output, integers = {}, floats = {}, perGroup = threads } = map;
  const units = map.units ?? tf.util.sizeFromShape([...output.shape]) / (output.wide ? 4 : 1);
  const { workgroups, row } = linearDispatch(units, perGroup);
  const words = new Uint32Array([units, row, ...Object.values(integers), ...Object.values(floats).map(floatBits)]);
  const half = map.moves === true && inputs.every((input) => backend.isHalf(input));
  const members = ['units', 'row', ...Object.keys(integers)]
    .map((name) => `${name}: i32`)
    .concat(Object.keys(floats).map((name) => `${name}: f32`));
  const wgsl = `${enableHalf(half)}struct Sizes { ${members.join(', ')} };
${inputs.map((input, k) => `alias In${k} = ${elementType(input.dtype, map.wide?.[k], half)};\n@group(0) @binding(${k}) var<storage, read> in${k}: array<In${k}>;`).join('\n')}
alias Out = ${elementType(output.dtype, output.wide, half)};
alias One = ${elementType(output.dtype, false, half)};
@group(0) @binding(${inputs.length}) var<storage, read_write> out: array<Out>;
@group(0) @binding(${inputs.length + 1}) var<uniform> p: Sizes;
${map.functions ?? ''}
@compute @workgroup_size(${perGroup})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = i32(id.x) + i32(id.y) * p.row;
  if (i >= p.units) { return; }
  ${map.body}
}`;
  return backend.run(
    { label: map.label, wgsl, workgroups, uniforms: words, half: [...inputs.map(() => half), half] },
    inputs,
    [output],
  )[0]!;
}

function elementType(dtype: tf.DataType, wide = false, half = false): string {
  if (dtype === 'float32') return floatType(half, wide);
  return wide ? 'vec4i' : 'i32';
}

function floatBits(value: number): number {
  return new Uint32Array(Float32Array.of(value).buffer)[0]!;
}
