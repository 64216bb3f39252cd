import { memoised } from '../../program/memoised.ts';
import type { Program } from '../../program/program.ts';
import { shader } from '../../program/shader.ts';
import { type ElementType, floatType } from '../../program/types.wgsl.ts';
import {
  type AttentionShader,
  type AttentionSpec,
  attentionLabel,
  attentionProgram,
  attentionUniforms,
} from './attention.wgsl.ts';

/**
 * Attention on GPUs: an invocation owns one row of one side (a query; in the key gradient a key) in named registers, and tiles of the
 * other side's rows pass through workgroup memory. Not timed yet: no GPU was at hand, so widths follow public kernels.
 */
const width = 64; // rows a workgroup
const mostTileBytes = 16384; // WebGPU's guaranteed workgroup memory

const times = (count: number, text: (i: number) => string, joint = ' '): string =>
  Array.from({ length: count }, (_, i) => text(i)).join(joint);

/** What the texts depend on; `widthSums` is how many columns of a bias the query gradient holds. */
interface TileText extends Pick<AttentionSpec, 'D' | 'bias' | 'half'> {
  readonly widthSums: number;
}

const textOf = ({ D, bias, half }: AttentionSpec, widthSums = 0): TileText => ({ D, bias, half, widthSums });

interface Shape {
  /** vec4f where D allows it, else f32, and how many make a row. */
  readonly type: 'vec4f' | 'f32';
  readonly units: number;
  /** Rows of a tile. */
  readonly tile: number;
}

function shapeOf({ D }: TileText): Shape {
  const vector = D % 4 === 0;
  const rows = Math.floor(mostTileBytes / (2 * D * 4) / 8) * 8;
  return { type: vector ? 'vec4f' : 'f32', units: vector ? D / 4 : D, tile: Math.max(1, Math.min(32, rows)) };
}

interface Sides {
  /** The owned rows' tensors with their names in registers, and the count of rows. */
  readonly own: Readonly<Record<string, string>>;
  readonly ownSize: 'Nq' | 'Nk';
  /** The tensors whose rows pass in tiles, and their count. */
  readonly passing: readonly [string, string];
  readonly passingSize: 'Nq' | 'Nk';
}

/** The shader up to the work on a tile: `i` is the owned row, `first` its number, and tiles start at row `begin` and hold `count`. */
function tileShader(
  spec: TileText,
  sides: Sides,
  text: {
    label: string;
    inputs: readonly string[];
    outputs: readonly string[];
    globals?: string;
    before: string;
    perTile: string;
    after: string;
  },
): AttentionShader {
  const { type, units, tile } = shapeOf(spec);
  const { own, ownSize, passing, passingSize } = sides;
  const typeOf = (name: string): ElementType => {
    if (name === 'statistics') return 'vec2f';
    if (['Q', 'K', 'V', 'O'].includes(name)) return floatType(spec.half, type === 'vec4f');
    return ['dO', 'dQ', 'dK', 'dV'].includes(name) ? type : 'f32';
  };
  const typed = (names: readonly string[]) => Object.fromEntries(names.map((name) => [name, typeOf(name)]));
  const body = `var<workgroup> tile${passing[0]}: array<${type}, ${tile * units}>;
var<workgroup> tile${passing[1]}: array<${type}, ${tile * units}>;
${text.globals ?? ''}
fn product(a: ${type}, b: ${type}) -> f32 { return ${type === 'vec4f' ? 'dot(a, b)' : 'a * b'}; }
@compute @workgroup_size(${width})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let g = group.y + group.z * p.gridY;
  if (g >= p.G) { return; }
  let first = group.x * ${width}u + thread; let inside = first < p.${ownSize};
  let i = g * p.${ownSize} + min(first, p.${ownSize} - 1u);
  ${Object.entries(own)
    .map(([tensor, name]) => times(units, (e) => `let ${name}${e} = ${type}(${tensor}[i * ${units}u + ${e}u]);`))
    .join('\n  ')}
  ${text.before}
  for (var begin = 0u; begin < p.${passingSize}; begin += ${tile}u) {
    let count = min(${tile}u, p.${passingSize} - begin);
    for (var n = thread; n < count * ${units}u; n += ${width}u) {
      let at = (g * p.${passingSize} + begin) * ${units}u + n;
      tile${passing[0]}[n] = ${type}(${passing[0]}[at]); tile${passing[1]}[n] = ${type}(${passing[1]}[at]);
    }
    workgroupBarrier();
    ${text.perTile}
    workgroupBarrier();
  }
  if (inside) { ${text.after} }
}`;
  return shader({
    label: attentionLabel(text.label, spec),
    inputs: typed(text.inputs),
    outputs: typed(text.outputs),
    uniforms: attentionUniforms,
    body,
  });
}

/** The product of an owned row with row `row` of a tile. */
const dotRow = ({ units }: Shape, name: string, tile: string, row: string): string =>
  times(units, (e) => `product(${name}${e}, tile${tile}[${row} * ${units}u + ${e}u])`, ' + ');

/** The bias of query `q` and key number `k` of the attention. */
const biasOf = ({ bias }: TileText, q: string, k: string): string =>
  bias ? ` + H[${q} * p.kh + (${k}) / p.kw] + W[${q} * p.kw + (${k}) % p.kw]` : '';

/** Forward with an online softmax: [query, key, value (, height, width)] -> [output [G, Nq, D], log-sum-exp [G, Nq]]. */
export const tileForward = (spec: AttentionSpec): Program =>
  attentionProgram(forwardShader(textOf(spec)), spec, { rows: width, of: spec.Nq, products: 2 });

const forwardShader = memoised((spec: TileText) => {
  const shape = shapeOf(spec);
  const { units, type } = shape;
  // keys whose scores share one rescaling of the output; with 8 at D = 64 lavapipe compiles for minutes
  const step = units <= 4 ? 8 : units <= 8 ? 4 : units <= 16 ? 2 : 1;
  const each = (text: (e: number) => string) => times(units, text);
  const sides: Sides = { own: { Q: 'q' }, ownSize: 'Nq', passing: ['K', 'V'], passingSize: 'Nk' };
  const score = (u: number) =>
    `let s${u} = select(-1e30, p.scale * (${dotRow(shape, 'q', 'K', `(k + ${u}u)`)})${biasOf(spec, 'i', `min(begin + k + ${u}u, p.Nk - 1u)`)}, k + ${u}u < count);`;
  return tileShader(spec, sides, {
    label: 'attention',
    inputs: spec.bias ? ['Q', 'K', 'V', 'H', 'W'] : ['Q', 'K', 'V'],
    outputs: ['O', 'L'],
    before: `${each((e) => `var o${e} = ${type}();`)} var top = -1e30; var total = 0.0;`,
    perTile: `for (var k = 0u; k < count; k += ${step}u) {
      ${times(step, score, '\n      ')}
      let most = ${Array.from({ length: step }, (_, u) => `s${u}`).reduce((a, b) => `max(${a}, ${b})`, 'top')};
      let kept = exp(top - most); top = most;
      ${times(step, (u) => `let w${u} = exp(s${u} - top);`)}
      total = total * kept + ${times(step, (u) => `w${u}`, ' + ')};
      ${each((e) => `o${e} = o${e} * kept + ${times(step, (u) => `w${u} * tileV[(k + ${u}u) * ${units}u + ${e}u]`, ' + ')};`)}
    }`,
    after: `L[i] = top + log(total); ${each((e) => `O[i * ${units}u + ${e}u] = ${floatType(spec.half, type === 'vec4f')}(o${e} / total);`)}`,
  });
});

/**
 * Gradients of the query and of the bias: [query, key, value, output's gradient, statistics (, height, width)] ->
 * [query's (, height's, width's)]. With p = exp(s - log-sum-exp): ds = p (dO . value - dO . O), dQ = scale sum_k ds key.
 */
export function tileQueryGradient(spec: AttentionSpec): Program {
  const widthSums = spec.bias ? Math.ceil(spec.kw / 16) * 16 : 0; // rounded up, so that few widths make a text
  const made = queryGradientShader(textOf(spec, widthSums));
  return attentionProgram(made, spec, { rows: width, of: spec.Nq, products: 3 });
}

const queryGradientShader = memoised((spec: TileText) => {
  const shape = shapeOf(spec);
  const { units, type } = shape;
  const { bias, widthSums } = spec;
  const each = (text: (e: number) => string) => times(units, text);
  const sides: Sides = { own: { Q: 'q', dO: 'o' }, ownSize: 'Nq', passing: ['K', 'V'], passingSize: 'Nk' };
  const inputs = ['Q', 'K', 'V', 'dO', 'statistics'];
  return tileShader(spec, sides, {
    label: 'attention query gradient',
    inputs: bias ? [...inputs, 'H', 'W'] : inputs,
    outputs: bias ? ['dQ', 'dH', 'dW'] : ['dQ'],
    globals: bias ? `var<private> widthSums: array<f32, ${widthSums}>;` : '',
    before: `${each((e) => `var sum${e} = ${type}();`)} let known = statistics[i];
  ${bias ? 'var heightSum = 0.0; for (var x = 0u; x < p.kw; x++) { widthSums[x] = 0.0; }' : ''}`,
    perTile: `for (var k = 0u; k < count; k++) {
      let score = p.scale * (${dotRow(shape, 'q', 'K', 'k')})${biasOf(spec, 'i', 'begin + k')};
      let w = exp(score - known.x) * (${dotRow(shape, 'o', 'V', 'k')} - known.y);
      ${each((e) => `sum${e} += w * tileK[k * ${units}u + ${e}u];`)}
      ${
        bias
          ? `let y = (begin + k) / p.kw; let x = (begin + k) % p.kw; heightSum += w; widthSums[x] += w;
      if (x + 1u == p.kw) { if (inside) { dH[i * p.kh + y] = heightSum; } heightSum = 0.0; }`
          : ''
      }
    }`,
    after: `${each((e) => `dQ[i * ${units}u + ${e}u] = sum${e} * p.scale;`)}
    ${bias ? 'for (var x = 0u; x < p.kw; x++) { dW[i * p.kw + x] = widthSums[x]; }' : ''}`,
  });
});

/**
 * Gradients of key and value: [query, key, value, output's gradient, statistics (, height, width)] -> [key's, value's].
 * An invocation owns a key and the queries pass: dV = sum_q p dO, dK = scale sum_q ds query.
 */
export const tileKeyGradient = (spec: AttentionSpec): Program =>
  attentionProgram(keyGradientShader(textOf(spec)), spec, { rows: width, of: spec.Nk, products: 4 });

const keyGradientShader = memoised((spec: TileText) => {
  const shape = shapeOf(spec);
  const { units, type } = shape;
  const each = (text: (e: number) => string) => times(units, text);
  const sides: Sides = { own: { K: 'k', V: 'v' }, ownSize: 'Nk', passing: ['Q', 'dO'], passingSize: 'Nq' };
  const inputs = ['Q', 'K', 'V', 'dO', 'statistics'];
  return tileShader(spec, sides, {
    label: 'attention key gradient',
    inputs: spec.bias ? [...inputs, 'H', 'W'] : inputs,
    outputs: ['dK', 'dV'],
    before: `${each((e) => `var keySum${e} = ${type}(); var valueSum${e} = ${type}();`)}
  let ownKey = min(first, p.Nk - 1u);`,
    perTile: `for (var n = 0u; n < count; n++) {
      let q = g * p.Nq + begin + n; let known = statistics[q];
      let w = exp(p.scale * (${dotRow(shape, 'k', 'Q', 'n')})${biasOf(spec, 'q', 'ownKey')} - known.x);
      let z = w * (${dotRow(shape, 'v', 'dO', 'n')} - known.y);
      ${each((e) => `valueSum${e} += w * tiledO[n * ${units}u + ${e}u]; keySum${e} += z * tileQ[n * ${units}u + ${e}u];`)}
    }`,
    after: each((e) => `dK[i * ${units}u + ${e}u] = keySum${e} * p.scale; dV[i * ${units}u + ${e}u] = valueSum${e};`),
  });
});
