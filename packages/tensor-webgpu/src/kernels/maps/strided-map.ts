import * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../../backend.ts';
import { linearDispatch, threads } from '../../program/grid.ts';
import { memoised } from '../../program/memoised.ts';
import { dispatching } from '../../program/program.ts';
import { type Shader, shader } from '../../program/shader.ts';
import {
  type ElementType,
  floatType,
  fourTypes,
  oneType,
  type UniformType,
  type WgslTypes,
} from '../../program/types.wgsl.ts';
import { fewKnown } from '../cpu/whole-numbers.ts';

/** An input that is read at `offset + sum(coordinate * stride)`; a stride of 0 repeats, a negative one reverses. */
interface StridedInput {
  readonly tensor: tf.TensorInfo;
  readonly strides: readonly number[];
  readonly offset?: number;
}

/** WGSL types at one place, with the type that the first input has itself. */
export interface OwnTypes extends WgslTypes {
  readonly own: string;
  /** A constant of the uniform, such as `p.c0`, in that type. */
  readonly constant: (name: string) => string;
}

/** What is done at one place, whatever the sizes and dtypes are. */
export interface StridedText {
  readonly label: string;
  /** The value at one place from the inputs' values there: WGSL, in terms of the types given. */
  readonly value: (inputs: readonly string[], types: OwnTypes) => string;
  /** Module-scope WGSL that `value` calls. */
  readonly functions?: ((types: WgslTypes & { readonly own: string }) => string) | undefined;
  /** It only moves values: of a tensor in half precision the result is so too. */
  readonly moves?: boolean;
  /** The same of whole numbers, for results that stay on the CPU; of what moves values, the value itself. */
  readonly whole?: ((...values: number[]) => number) | undefined;
  /** How many numbers `value` reads as `p.c0`, `p.c1`, …: they do not change the text. */
  readonly constants?: number;
}

/** What it is done to. */
interface StridedCall {
  readonly inputs: readonly StridedInput[];
  readonly shape: readonly number[];
  readonly dtype: tf.DataType;
  readonly constants?: readonly number[];
}

export type StridedMap = (backend: WebgpuBackend, call: StridedCall) => tf.TensorInfo;

const exactFloats = 1 << 22; // below this an index divided as a float is off by one at most
const maxRank = 6;
const shortestRun = 4; // on CPU adapters an invocation takes a whole last dimension: qkv of 4900 tokens to heads in 13 ms rather than 72 on llvmpipe
const fewestRuns = 512;

/**
 * out[coordinates] = value(input_0[…], input_1[…], …): element-wise kernels with broadcasting, and every kernel that only moves data.
 *
 * Dimensions that no input needs apart are merged first, and four neighbours are computed at once where all inputs allow it.
 */
export function stridedMap(text: StridedText): StridedMap {
  const shaderOf = memoised((variant: MapVariant) => mapShader(text, variant));
  const whole = text.whole ?? (text.moves ? (value: number) => value : undefined);
  return (backend, { inputs, shape, dtype, constants = [] }) => {
    const size = tf.util.sizeFromShape([...shape]);
    if (whole && dtype === 'int32') {
      const known = fewKnown(
        backend,
        inputs.map(({ tensor }) => tensor),
        { size, dtype },
      );
      if (known) return backend.makeTensor(wholeValues(known, { inputs, shape, size, whole }), shape, dtype);
    }
    const merged = mergeDimensions(
      shape,
      inputs.map((input) => input.strides),
    );
    const rank = merged.sizes.length;
    if (rank > maxRank)
      throw new Error(`${text.label}: expected at most ${maxRank} separate dimensions, got ${rank} for [${shape}]`);
    const inner = merged.sizes[rank - 1]!;
    const reads = merged.strides.map((strides, k): Read => {
      if (strides[rank - 1] === 0) return 'repeat';
      const aligned =
        (inputs[k]!.offset ?? 0) % 4 === 0 && strides.every((stride, d) => d === rank - 1 || stride % 4 === 0);
      return strides[rank - 1] === 1 && aligned ? 'four' : 'gather';
    });
    // a last group of four that reaches beyond the size only touches the buffers' padding
    const flat = rank === 1 && !reads.includes('gather');
    const vector = flat || inner % 4 === 0;
    const all = vector ? Math.ceil(size / 4) : size;
    const innerUnits = vector ? inner / 4 : inner;
    const inRuns = backend.facts.isCpu && rank > 1 && innerUnits >= shortestRun && all / innerUnits >= fewestRuns;
    const units = inRuns ? all / innerUnits : all;
    let types = '';
    let halves = 0;
    for (const { tensor } of inputs) {
      const half = backend.isHalf(tensor);
      if (half) halves++;
      types += `${half ? 'half' : tensor.dtype},`;
    }
    const half = text.moves === true && halves === inputs.length;
    const made = shaderOf({
      rank,
      vector,
      reads: reads.join(),
      types,
      result: half ? 'half' : dtype,
      inRuns,
      exact: units < exactFloats,
    });
    const { workgroups, row } = linearDispatch(units);
    const uniforms: Record<string, number> = { units, row };
    constants.forEach((value, c) => {
      uniforms[constantNames[c]!] = value;
    });
    const last = rank - 1;
    for (let d = 0; d < rank; d++)
      uniforms[sizeNames[d]!] = vector && d === last ? Math.ceil(merged.sizes[d]! / 4) : merged.sizes[d]!;
    for (let k = 0; k < inputs.length; k++) {
      const strides = merged.strides[k]!;
      uniforms[offsetNames[k]!] = inputs[k]!.offset ?? 0;
      for (let d = 0; d < rank; d++)
        uniforms[strideNames[k]![d]!] = vector && d === last ? strides[d]! * 4 : strides[d]!;
    }
    return backend.run(
      dispatching(made, { workgroups, uniforms }),
      inputs.map(({ tensor }) => tensor),
      [{ shape, dtype }],
    )[0]!;
  };
}

/** The map on the CPU. */
function wholeValues(
  known: readonly tf.backend_util.TypedArray[],
  {
    inputs,
    shape,
    size,
    whole,
  }: Pick<StridedCall, 'inputs' | 'shape'> & { size: number; whole: (...values: number[]) => number },
): Int32Array {
  return Int32Array.from({ length: size }, (_, i) => {
    const at = inputs.map(({ offset = 0 }) => offset);
    let rest = i;
    for (let d = shape.length - 1; d >= 0; d--) {
      const coordinate = rest % shape[d]!;
      rest = (rest - coordinate) / shape[d]!;
      inputs.forEach(({ strides }, k) => {
        at[k]! += coordinate * strides[d]!;
      });
    }
    return whole(...known.map((values, k) => values[at[k]!]!));
  });
}

const mostInputs = 8;
const dimensions = Array.from({ length: maxRank }, (_, d) => d);
const constantNames = ['c0', 'c1', 'c2', 'c3'] as const;
const sizeNames = dimensions.map((d) => `size${d}`);
const offsetNames = Array.from({ length: mostInputs }, (_, k) => `offset${k}`);
const strideNames = offsetNames.map((_, k) => dimensions.map((d) => `stride${k}_${d}`));

/** Row-major strides of a shape. */
export function rowMajor(shape: readonly number[]): number[] {
  const strides = Array<number>(shape.length).fill(1);
  for (let d = shape.length - 2; d >= 0; d--) strides[d] = strides[d + 1]! * shape[d + 1]!;
  return strides;
}

/** Strides with which `shape` fills `target` by broadcasting: 0 along repeated dimensions. */
export function broadcastStrides(shape: readonly number[], target: readonly number[]): number[] {
  const own = rowMajor(shape);
  const lead = target.length - shape.length;
  return target.map((_, d) => (d < lead || shape[d - lead] === 1 ? 0 : own[d - lead]!));
}

function mergeDimensions(
  shape: readonly number[],
  inputs: readonly (readonly number[])[],
): { sizes: number[]; strides: number[][] } {
  const sizes: number[] = [];
  const strides: number[][] = inputs.map(() => []);
  shape.forEach((extent, d) => {
    if (extent === 1) return;
    const last = sizes.length - 1;
    if (last >= 0 && inputs.every((input, k) => strides[k]![last] === input[d]! * extent)) {
      sizes[last]! *= extent;
      inputs.forEach((input, k) => {
        strides[k]![last] = input[d]!;
      });
      return;
    }
    sizes.push(extent);
    inputs.forEach((input, k) => {
      strides[k]!.push(input[d]!);
    });
  });
  if (sizes.length === 0) return { sizes: [1], strides: inputs.map(() => [1]) };
  return { sizes, strides };
}

/** How four neighbours are read: as one vector, as one value that repeats, or one by one. */
type Read = 'four' | 'repeat' | 'gather';

/** What the text depends on beside what is done. */
interface MapVariant {
  readonly rank: number;
  readonly vector: boolean;
  /** A `Read` for each input, with commas between them. */
  readonly reads: string;
  /** A dtype or `half` for each input, each with a comma. */
  readonly types: string;
  readonly result: tf.DataType | 'half';
  /** An invocation takes a whole last dimension. */
  readonly inRuns: boolean;
  readonly exact: boolean;
}

function mapShader(text: StridedText, variant: MapVariant): Shader {
  const { rank, vector, inRuns, exact } = variant;
  const types = vector ? fourTypes : oneType;
  const reads = variant.reads.split(',') as Read[];
  const inputTypes = variant.types.split(',').slice(0, -1);
  const isFloat = inputTypes.map((type) => type === 'float32' || type === 'half');
  const valueType = (float: boolean) => (float ? types.float : types.int);
  const own = valueType(isFloat[0]!);
  const wide = reads.map((read) => vector && read === 'four');
  const elements = inputTypes.map((type, k): ElementType => {
    if (isFloat[k]) return floatType(type === 'half', wide[k]!);
    return wide[k] ? 'vec4i' : 'i32';
  });
  const result = variant.result === 'half' ? floatType(true, vector) : valueType(variant.result === 'float32');
  const last = rank - 1;
  const uniforms: Record<string, UniformType> = { units: 'i32', row: 'i32' };
  for (const name of constantNames.slice(0, text.constants ?? 0)) uniforms[name] = 'f32';
  for (const name of sizeNames.slice(0, rank)) uniforms[name] = 'i32';
  inputTypes.forEach((_, k) => {
    for (const name of [offsetNames[k]!, ...strideNames[k]!.slice(0, rank)]) uniforms[name] = 'i32';
  });
  const split = dimensions
    .slice(1, inRuns ? last : rank)
    .reverse()
    .map(
      (d) => `let q${d} = divide(rest${d}, p.size${d});
let x${d} = rest${d} - q${d} * p.size${d};
let rest${d - 1} = q${d};`,
    );
  const load = (k: number): string => {
    const at = `p.offset${k} + ${dimensions
      .slice(0, rank)
      .map((d) => `x${d} * p.stride${k}_${d}`)
      .join(' + ')}`;
    const type = valueType(isFloat[k]!);
    if (wide[k]) return `let v${k} = ${type}(in${k}[(${at}) / 4]);`;
    const one = (place: string) => `${isFloat[k] ? 'f32' : 'i32'}(in${k}[${place}])`;
    if (!vector || reads[k] === 'repeat') return `let v${k} = ${type}(${one(at)});`;
    const four = [`a${k}`, `a${k} + s${k}`, `a${k} + 2 * s${k}`, `a${k} + 3 * s${k}`];
    return `let a${k} = ${at};
let s${k} = p.stride${k}_${last} / 4;
let v${k} = ${type}(${four.map(one).join(', ')});`;
  };
  const value = text.value(
    inputTypes.map((_, k) => `v${k}`),
    { ...types, own, constant: (name) => (isFloat[0] ? `${types.float}(${name})` : `${types.int}(i32(${name}))`) },
  );
  return shader<string>({
    label: text.label,
    inputs: Object.fromEntries(elements.map((type, k) => [`in${k}`, type])),
    outputs: { out: result },
    uniforms,
    body: `${exact ? fastDivide : 'fn divide(i: i32, size: i32) -> i32 { return i / size; }'}
${text.functions?.({ ...types, own }) ?? ''}
@compute @workgroup_size(${threads})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = i32(id.x) + i32(id.y) * p.row;
  if (i >= p.units) { return; }
  let rest${inRuns ? last - 1 : last} = i;
  ${split.join('\n')}
  let x0 = rest0;
  ${inRuns ? `for (var x${last} = 0; x${last} < p.size${last}; x${last}++) {` : ''}
  ${inputTypes.map((_, k) => load(k)).join('\n')}
  out[${inRuns ? `i * p.size${last} + x${last}` : 'i'}] = ${result}(${value});
  ${inRuns ? '}' : ''}
}`,
  });
}

// integer division is done lane by lane on CPU adapters; the quotient of floats is off by one at most, and mended
const fastDivide = `fn divide(i: i32, size: i32) -> i32 {
  let guess = i32(f32(i) / f32(size));
  let rest = i - guess * size;
  return guess + select(0, 1, rest >= size) - select(0, 1, rest < 0);
}`;
