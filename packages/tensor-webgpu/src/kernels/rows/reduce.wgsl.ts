import { linearDispatch, threads } from '../../program/grid.ts';
import { memoised } from '../../program/memoised.ts';
import { dispatching, type Program } from '../../program/program.ts';
import { type Shader, shader } from '../../program/shader.ts';
import { fourTypes, oneType, type UniformType, type WgslTypes } from '../../program/types.wgsl.ts';

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

const uniformTypes = { units: 'u32', row: 'u32', length: 'u32', inner: 'u32', perPart: 'u32', parts: 'u32' } as const;

/** What a fold's text depends on: whether values are read four at a time along a row, or across columns. */
interface FoldText {
  readonly reads: 'rows' | 'columns' | 'strides';
  readonly isFloat: boolean;
}

type FoldShader = Shader<keyof typeof uniformTypes | 'start'>;

/** The programs of a fold. */
export function foldPrograms(how: Fold): (spec: FoldSpec) => Program {
  const shaderOf = memoised((text: FoldText) => foldShader(text, how));
  return ({ outer, length, inner, perPart, parts, isFloat }) => {
    const along = inner === 1 && length % 4 === 0;
    const across = inner % 4 === 0;
    const units = (outer * parts * inner) / (!along && across ? 4 : 1);
    const { workgroups, row } = linearDispatch(units);
    return dispatching(shaderOf({ reads: along ? 'rows' : across ? 'columns' : 'strides', isFloat }), {
      workgroups,
      uniforms: { units, row, length, inner, perPart, parts, start: isFloat ? how.float : how.int },
    });
  };
}

function foldShader({ reads, isFloat }: FoldText, how: Fold): FoldShader {
  const [rows, columns] = [reads === 'rows', reads === 'columns'];
  const scalar = isFloat ? 'f32' : 'i32';
  const four = isFloat ? 'vec4f' : 'vec4i';
  const type = rows || columns ? four : scalar;
  const step = (wide: boolean) => {
    const types = wide ? fourTypes : oneType;
    return how.step('total', 'next', { ...types, own: isFloat ? types.float : types.int });
  };
  const inputAt = {
    rows: '(o * p.length + k) / 4u',
    columns: '(o * p.length + k) * width + c',
    strides: '(o * p.length + k) * p.inner + c',
  }[reads];
  const stride = rows ? 4 : 1;
  return shader({
    label: `${how.name} over ${reads}`,
    inputs: { x: type },
    outputs: { out: columns ? four : scalar },
    uniforms: { ...uniformTypes, start: scalar satisfies UniformType },
    body: `fn step(total: ${type}, next: ${type}) -> ${type} { return ${step(rows || columns)}; }
${rows ? `fn join(total: ${scalar}, next: ${scalar}) -> ${scalar} { return ${step(false)}; }` : ''}
@compute @workgroup_size(${threads})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x + id.y * p.row;
  if (i >= p.units) { return; }
  let width = p.inner${columns ? ' / 4u' : ''};
  let c = i % width;
  let slot = (i / width) % p.parts;
  let o = i / (width * p.parts);
  let first = slot * p.perPart;
  let end = min(first + p.perPart, p.length);
  var total = ${type}(p.start);
  for (var begin = first; begin < end; begin += ${stride * block}u) { // in blocks, so that float sums stay short
    var part = ${type}(p.start);
    let stop = min(begin + ${stride * block}u, end);
    for (var k = begin; k < stop; k += ${stride}u) { part = step(part, x[${inputAt}]); }
    total = step(total, part);
  }
  out[i] = ${rows ? 'join(join(total.x, total.y), join(total.z, total.w))' : 'total'};
}`,
  });
}
