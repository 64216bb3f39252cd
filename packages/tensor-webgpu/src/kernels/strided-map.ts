import * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../backend.ts';
import { enableHalf, floatType } from '../half.wgsl.ts';
import { linearDispatch, threads } from './dispatch.ts';

/** An input that is read at `offset + sum(coordinate * stride)`; a stride of 0 repeats, a negative one reverses. */
interface StridedInput {
  readonly tensor: tf.TensorInfo;
  readonly strides: readonly number[];
  readonly offset?: number;
}

/** WGSL types of one value or of four at once. */
export interface WgslTypes {
  readonly float: 'f32' | 'vec4f';
  readonly int: 'i32' | 'vec4i';
  readonly bool: 'bool' | 'vec4<bool>';
}

export const oneType: WgslTypes = { float: 'f32', int: 'i32', bool: 'bool' };
export const fourTypes: WgslTypes = { float: 'vec4f', int: 'vec4i', bool: 'vec4<bool>' };

export interface StridedMap {
  readonly label: string;
  readonly inputs: readonly StridedInput[];
  readonly shape: readonly number[];
  readonly dtype: tf.DataType;
  /** The value at one place from the inputs' values there: WGSL, in terms of the types given. */
  readonly value: (inputs: readonly string[], types: WgslTypes) => string;
  /** Module-scope WGSL that `value` calls. */
  readonly functions?: (types: WgslTypes) => string;
  /** It only moves values: of a tensor in half precision the result is so too. */
  readonly moves?: boolean;
  /** Numbers that `value` reads as `p.c0` to `p.c3`: they do not change the text. */
  readonly constants?: readonly number[];
}

const exactFloats = 1 << 22; // below this an index divided as a float is off by one at most
const maxRank = 6;
const shortestRun = 4; // on CPU adapters an invocation takes a whole last dimension: qkv of 4900 tokens to heads in 13 ms rather than 72 on llvmpipe
const fewestRuns = 512;

/**
 * out[coordinates] = value(input_0[…], input_1[…], …): element-wise kernels with broadcasting, and every kernel that only moves data.
 *
 * Dimensions that no input needs apart are merged first, and four neighbours are computed at once where all inputs allow it.
 */
export function stridedMap(backend: WebgpuBackend, map: StridedMap): tf.TensorInfo {
  const size = tf.util.sizeFromShape([...map.shape]);
  const output = { shape: map.shape, dtype: map.dtype };
  const merged = mergeDimensions(
    map.shape,
    map.inputs.map((input) => input.strides),
  );
  const rank = merged.sizes.length;
  if (rank > maxRank)
    throw new Error(`${map.label}: expected at most ${maxRank} separate dimensions, got ${rank} for [${map.shape}]`);
  const offsets = map.inputs.map((input) => input.offset ?? 0);
  const inner = merged.sizes[rank - 1]!;
  const reads = merged.strides.map((strides, k): Read => {
    if (strides[rank - 1] === 0) return 'repeat';
    const aligned = offsets[k]! % 4 === 0 && strides.slice(0, -1).every((stride) => stride % 4 === 0);
    return strides[rank - 1] === 1 && aligned ? 'four' : 'gather';
  });
  // a last group of four that reaches beyond the size only touches the buffers' padding
  const flat = rank === 1 && reads.every((read) => read !== 'gather');
  const vector = flat || inner % 4 === 0;
  const all = vector ? Math.ceil(size / 4) : size;
  const innerUnits = vector ? inner / 4 : inner;
  const inRuns = backend.facts.isCpu && rank > 1 && innerUnits >= shortestRun && all / innerUnits >= fewestRuns;
  const units = inRuns ? all / innerUnits : all;
  const halves = map.inputs.map(({ tensor }) => backend.isHalf(tensor));
  const half = [...halves, map.moves === true && halves.every(Boolean)];
  const text = mapText(map, { rank, vector, reads, half, inRuns, exact: units < exactFloats });
  const { workgroups, row } = linearDispatch(units);
  const words = new ArrayBuffer(4 * (8 + maxRank * (map.inputs.length + 1) + map.inputs.length));
  const ints = new Int32Array(words);
  const floats = new Float32Array(words);
  ints.set([units, row]);
  floats.set((map.constants ?? []).slice(0, 4), 4);
  merged.sizes.forEach((extent, d) => {
    ints[8 + d] = vector && d === rank - 1 ? Math.ceil(extent / 4) : extent;
  });
  merged.strides.forEach((strides, k) => {
    const base = 8 + maxRank * (k + 1) + k;
    ints[base] = offsets[k]!;
    strides.forEach((stride, d) => {
      ints[base + 1 + d] = vector && d === rank - 1 ? stride * 4 : stride;
    });
  });
  return backend.run(
    {
      label: map.label,
      wgsl: text,
      workgroups,
      uniforms: new Uint32Array(words),
      half,
    },
    map.inputs.map((input) => input.tensor),
    [output],
  )[0]!;
}

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

interface MapText {
  readonly rank: number;
  readonly vector: boolean;
  readonly reads: readonly Read[];
  /** Which inputs, and then the result, are in half precision. */
  readonly half: readonly boolean[];
  /** An invocation takes a whole last dimension. */
  readonly inRuns: boolean;
  readonly exact: boolean;
}

function mapText(map: StridedMap, { rank, vector, reads, half, inRuns, exact }: MapText): string {
  const types = vector ? fourTypes : oneType;
  const typeOf = (dtype: tf.DataType) => (dtype === 'float32' ? types.float : types.int);
  const wide = reads.map((read) => vector && read === 'four');
  const isFloat = (k: number) => map.inputs[k]!.tensor.dtype === 'float32';
  const elementOf = (k: number) => (isFloat(k) ? floatType(half[k]!, wide[k]!) : wide[k] ? 'vec4i' : 'i32');
  const count = map.inputs.length;
  const result = half[count] ? floatType(true, vector) : typeOf(map.dtype);
  const coordinates = Array.from({ length: rank }, (_, d) => d);
  const last = rank - 1;
  const split = coordinates
    .slice(1, inRuns ? last : rank)
    .reverse()
    .map(
      (d) =>
        `let q${d} = divide(rest${d}, p.size${d}); let x${d} = rest${d} - q${d} * p.size${d}; let rest${d - 1} = q${d};`,
    );
  return `${enableHalf(half.includes(true))}struct Sizes { units: i32, row: i32, unused0: i32, unused1: i32, c0: f32, c1: f32, c2: f32, c3: f32,
  ${Array.from({ length: maxRank }, (_, d) => `size${d}: i32`).join(', ')},
  ${map.inputs.map((_, k) => `offset${k}: i32, ${Array.from({ length: maxRank }, (_, d) => `stride${k}_${d}: i32`).join(', ')}`).join(',\n  ')} };
${map.inputs.map((_, k) => `@group(0) @binding(${k}) var<storage, read> in${k}: array<${elementOf(k)}>;`).join('\n')}
@group(0) @binding(${count}) var<storage, read_write> out: array<${result}>;
@group(0) @binding(${count + 1}) var<uniform> p: Sizes;
${exact ? fastDivide : 'fn divide(i: i32, size: i32) -> i32 { return i / size; }'}
${map.functions?.(types) ?? ''}
@compute @workgroup_size(${threads})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = i32(id.x) + i32(id.y) * p.row;
  if (i >= p.units) { return; }
  let rest${inRuns ? last - 1 : last} = i;
  ${split.join('\n  ')}
  let x0 = rest0;
  ${inRuns ? `for (var x${last} = 0; x${last} < p.size${last}; x${last}++) {` : ''}
  ${map.inputs
    .map((_, k) => {
      const at = `p.offset${k} + ${coordinates.map((d) => `x${d} * p.stride${k}_${d}`).join(' + ')}`;
      const type = typeOf(map.inputs[k]!.tensor.dtype);
      if (wide[k]) return `let v${k} = ${type}(in${k}[(${at}) / 4]);`;
      const one = (place: string) => `${isFloat(k) ? 'f32' : 'i32'}(in${k}[${place}])`;
      if (!vector || reads[k] === 'repeat') return `let v${k} = ${type}(${one(at)});`;
      const step = `p.stride${k}_${last} / 4`;
      return `let a${k} = ${at}; let s${k} = ${step}; let v${k} = ${type}(${[`a${k}`, `a${k} + s${k}`, `a${k} + 2 * s${k}`, `a${k} + 3 * s${k}`].map(one).join(', ')});`;
    })
    .join('\n  ')}
  out[${inRuns ? `i * p.size${last} + x${last}` : 'i'}] = ${result}(${map.value(
    map.inputs.map((_, k) => `v${k}`),
    types,
  )});
  ${inRuns ? '}' : ''}
}`;
}

// integer division is done lane by lane on CPU adapters; the quotient of floats is off by one at most, and mended
const fastDivide = `fn divide(i: i32, size: i32) -> i32 {
  let guess = i32(f32(i) / f32(size));
  let rest = i - guess * size;
  return guess + select(0, 1, rest >= size) - select(0, 1, rest < 0);
}`;
