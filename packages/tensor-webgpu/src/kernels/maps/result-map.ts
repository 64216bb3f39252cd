import * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../../backend.ts';
import { linearDispatch, threads } from '../../program/grid.ts';
import { memoised } from '../../program/memoised.ts';
import { dispatching } from '../../program/program.ts';
import { type Shader, shader } from '../../program/shader.ts';
import { type ElementType, floatType } from '../../program/types.wgsl.ts';

/** What one invocation does, whatever the sizes and dtypes are. */
export interface ResultText<Uniforms extends string> {
  readonly label: string;
  /** Inputs (by position) whose values are read four at a time. */
  readonly wide?: readonly boolean[];
  /** The result is written four values at a time. */
  readonly wideOutput?: boolean;
  /** Numbers that the text reads as `p.name`. */
  readonly uniforms: Readonly<Record<Uniforms, 'i32' | 'f32'>>;
  /** It only moves values: of inputs in half precision the result is so too. */
  readonly moves?: boolean;
  /** Invocations of a workgroup. */
  readonly perGroup?: number;
  /** Module-scope WGSL. */
  readonly functions?: string;
  /** WGSL that writes `out` for invocation `i: i32` from `in0`, `in1`, …; `In0` and `Out` name their element types, `One` a value of `Out`. */
  readonly body: string;
}

/** What it is done to. */
interface ResultCall<Uniforms extends string> {
  readonly inputs: readonly tf.TensorInfo[];
  readonly shape: readonly number[];
  readonly dtype: tf.DataType;
  readonly uniforms: Readonly<Record<Uniforms, number>>;
  /** How many invocations: one for each output value (or four of them) unless given. */
  readonly units?: number;
}

export type ResultMap<Uniforms extends string> = (backend: WebgpuBackend, call: ResultCall<Uniforms>) => tf.TensorInfo;

/** One invocation per result, for kernels whose reads are not strided: gathers, paddings, resizing, scans. */
export function resultMap<Uniforms extends string>(text: ResultText<Uniforms>): ResultMap<Uniforms> {
  const { perGroup = threads, moves = false, wideOutput = false } = text;
  const shaderOf = memoised((types: ResultTypes) => resultShader(text, types));
  return (
    backend,
    { inputs, shape, dtype, uniforms, units = tf.util.sizeFromShape([...shape]) / (wideOutput ? 4 : 1) },
  ) => {
    const { workgroups, row } = linearDispatch(units, perGroup);
    const half = moves && inputs.every((input) => backend.isHalf(input));
    const made = shaderOf({ inputs: inputs.map((input) => input.dtype).join(), output: dtype, half });
    const program = dispatching(made, { workgroups, uniforms: { units, row, ...uniforms } });
    return backend.run(program, inputs, [{ shape, dtype }])[0]!;
  };
}

interface ResultTypes {
  /** Dtypes, with commas between them. */
  readonly inputs: string;
  readonly output: tf.DataType;
  readonly half: boolean;
}

function resultShader<Uniforms extends string>(
  text: ResultText<Uniforms>,
  { inputs, output, half }: ResultTypes,
): Shader<Uniforms | 'units' | 'row'> {
  const dtypes = inputs === '' ? [] : inputs.split(',');
  const types = dtypes.map((dtype, k) => elementType(dtype, { wide: text.wide?.[k] ?? false, half }));
  const [out, one] = [text.wideOutput ?? false, false].map((wide) => elementType(output, { wide, half }));
  return shader<string>({
    label: text.label,
    inputs: Object.fromEntries(types.map((type, k) => [`in${k}`, type])),
    outputs: { out: out! },
    uniforms: { units: 'i32', row: 'i32', ...text.uniforms },
    body: `${types.map((type, k) => `alias In${k} = ${type};`).join('\n')}
alias Out = ${out};
alias One = ${one};
${text.functions ?? ''}
@compute @workgroup_size(${text.perGroup ?? threads})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = i32(id.x) + i32(id.y) * p.row;
  if (i >= p.units) { return; }
  ${text.body}
}`,
  }) as Shader<Uniforms | 'units' | 'row'>;
}

function elementType(dtype: string, { wide, half }: { wide: boolean; half: boolean }): ElementType {
  if (dtype === 'float32') return floatType(half, wide);
  return wide ? 'vec4i' : 'i32';
}
