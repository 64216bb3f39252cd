import type { Program } from '../program.ts';
import { linearDispatch, threads } from './dispatch.ts';
import { fourTypes, oneType, type WgslTypes } from './strided-map.ts';

/** WGSL types of one value or of four at once, and which of them is folded. */
interface FoldTypes extends WgslTypes {
  readonly own: string;
}

/** How to fold: the start value in floats and in integers, and WGSL of one step from `total` and `next`, values of `types.own`. */
export interface Fold {
  readonly name: string;
  readonly float: number;
  readonly int: number;
  readonly step: (total: string, next: string, types: FoldTypes) => string;
}

/** [outer, length, inner] in parts of `perPart` to [outer, parts, inner]. */
export interface FoldSpec {
  readonly outer: number;
  readonly length: number;
  readonly inner: number;
  readonly perPart: number;
  readonly parts: number;
  readonly isFloat: boolean;
}

const block = 32;

export function foldProgram({ outer, length, inner, perPart, parts, isFloat }: FoldSpec, how: Fold): Program {
  const rows = inner === 1 && length % 4 === 0; // along a row four at once
  const columns = inner % 4 === 0; // across columns four at once
  const scalar = isFloat ? 'f32' : 'i32';
  const four = isFloat ? 'vec4f' : 'vec4i';
  const type = rows || columns ? four : scalar;
  const step = (wide: boolean) => {
    const types = wide ? fourTypes : oneType;
    return how.step('total', 'next', { ...types, own: isFloat ? types.float : types.int });
  };
  const inputAt = rows
    ? '(o * p.length + k) / 4u'
    : columns
      ? '(o * p.length + k) * width + c'
      : '(o * p.length + k) * p.inner + c';
  const stride = rows ? 4 : 1;
  const units = (outer * parts * inner) / (columns ? 4 : 1);
  const { workgroups, row } = linearDispatch(units);
  const words = new Uint32Array([units, row, length, inner, perPart, parts, 0, 0]);
  if (isFloat) new Float32Array(words.buffer)[6] = how.float;
  else words[6] = how.int;
  const wgsl = `struct Sizes { units: u32, row: u32, length: u32, inner: u32, perPart: u32, parts: u32, start: ${scalar}, unused: u32 };
@group(0) @binding(0) var<storage, read> x: array<${type}>;
@group(0) @binding(1) var<storage, read_write> out: array<${columns ? four : scalar}>;
@group(0) @binding(2) var<uniform> p: Sizes;
fn step(total: ${type}, next: ${type}) -> ${type} { return ${step(rows || columns)}; }
${rows ? `fn join(total: ${scalar}, next: ${scalar}) -> ${scalar} { return ${step(false)}; }` : ''}
@compute @workgroup_size(${threads})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x + id.y * p.row;
  if (i >= p.units) { return; }
  let width = p.inner${columns ? ' / 4u' : ''};
  let c = i % width; let slot = (i / width) % p.parts; let o = i / (width * p.parts);
  let first = slot * p.perPart; let end = min(first + p.perPart, p.length);
  var total = ${type}(p.start);
  for (var begin = first; begin < end; begin += ${stride * block}u) { // in blocks, so that float sums stay short
    var part = ${type}(p.start);
    let stop = min(begin + ${stride * block}u, end);
    for (var k = begin; k < stop; k += ${stride}u) { part = step(part, x[${inputAt}]); }
    total = step(total, part);
  }
  out[i] = ${rows ? 'join(join(total.x, total.y), join(total.z, total.w))' : 'total'};
}`;
  const shape = rows ? 'rows' : columns ? 'columns' : 'strides';
  return { label: `${how.name} over ${shape}`, wgsl, workgroups, uniforms: words };
}
