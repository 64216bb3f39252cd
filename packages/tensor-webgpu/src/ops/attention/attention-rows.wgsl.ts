import type { ElementType } from '../../program/types.wgsl.ts';
import type { AttentionSpec } from './attention.wgsl.ts';

/** How a workgroup shares its owned rows. */
export interface RowShape {
  /** Invocations that share a row, each with every `lanes`-th vector of it; more than one takes subgroups, of at least so many lanes. */
  readonly lanes: 1 | 2 | 4 | 8;
  /** Rows an invocation has part in. */
  readonly rows: number;
  readonly threads: number;
  /** The other side's rows pass through workgroup memory; else they are read at addresses that are the same for the whole workgroup. */
  readonly tiles: boolean;
  /** Passing rows that are taken together. */
  readonly step: 1 | 2 | 4;
  /** Of four passing rows each of four lanes finishes one score; else every lane finishes all. */
  readonly owned: boolean;
}

/** What the texts depend on. */
export interface RowText extends Pick<AttentionSpec, 'D' | 'bias' | 'half'> {
  readonly shape: RowShape;
  /** The bias and its gradient are one tensor [G, Nq, kh + kw], for adapters that bind few. */
  readonly joined: boolean;
}

const mostTileBytes = 16384; // WebGPU's guaranteed workgroup memory, for two tiles
const mostTileRows = 32;
const mostHalfProducts = 5;

export const times = (count: number, text: (i: number) => string, joint = ' '): string =>
  Array.from({ length: count }, (_, i) => text(i)).join(joint);

/** WGSL of an invocation's part of its rows, in steps of a few passing rows. */
export interface RowWriter {
  /** vec4f where D allows it, vec2f where eight lanes share a row, else f32; how many make a row, and how many of them are an invocation's. */
  readonly type: 'vec4f' | 'vec2f' | 'f32';
  /** The same for rows of tensors in workgroup memory, and in registers before they are multiplied with another row: float16 in half precision. */
  readonly stored: ElementType;
  readonly multiplied: ElementType;
  readonly units: number;
  readonly own: number;
  /** Passing rows in workgroup memory at a time. */
  readonly tile: number;
  readonly functions: string;
  /** For each part `e` of each row `r`. */
  each(text: (e: number, r: number) => string): string;
  /** For each row. */
  over(text: (r: number) => string): string;
  /** Where part `e` of row `r` lies in a tensor. */
  at(r: number, e: number): string;
  /** The suffixes of a step's scores that this invocation finishes. */
  readonly finished: readonly string[];
  /** A score's passing row, counted from the first of the step. */
  place(u: string): string;
  /** For each score that is finished. */
  scores(text: (u: string) => string): string;
  /** `intou_r`: this invocation's part of the products of the rows in `a` with passing row `u` in `b`. */
  products(into: string, u: number, rows: { a: string; b: string }): string;
  /** The whole product. */
  product(into: string, r: number, u: string): string;
  /** After `weightu_r` of the finished scores: those of the other lanes. */
  spread(weight: string, r: number): string;
  /** The bias of query number `i` at row `y` and column `x` of the keys, each. */
  height(i: string, y: string): string;
  width(i: string, x: string): string;
}

export function rowWriter({ D, shape, half, joined }: RowText): RowWriter {
  const { lanes, rows, owned, step } = shape;
  const width = lanes === 8 ? 2 : D % 4 === 0 ? 4 : 1;
  const type = vectors.float[width];
  const units = D / width;
  const own = units / lanes;
  if (!Number.isInteger(own)) throw new Error(`attention: expected rows of ${units} to share between ${lanes} lanes`);
  const stored = half ? vectors.half[width] : type;
  // few enough products to add up in float16: each of a vector's four sums, of each lane, is rounded by itself
  const multiplied = half && width > 1 && own <= mostHalfProducts ? stored : type;
  const whole = (sum: string) => {
    if (width === 1) return sum;
    const [x, y, z, w] = ['x', 'y', 'z', 'w'].map((e) => (multiplied === type ? `${sum}.${e}` : `f32(${sum}.${e})`));
    return width === 2 ? `${x} + ${y}` : `(${x} + ${y}) + (${z} + ${w})`;
  };
  const fitting = Math.floor(mostTileBytes / (2 * D * 4) / 4) * 4;
  const four = ['0', '1', '2', '3'];
  const finished = owned ? ['own'] : four.slice(0, step);
  const reduced = { 1: '', 2: 'pair', 4: 'quad', 8: 'eight' }[lanes];
  return {
    ...{ type, stored, multiplied, units, own, finished },
    tile: Math.max(4, Math.min(mostTileRows, fitting)),
    functions: { 1: '', 2: pairFunction, 4: quadFunctions, 8: eightFunction }[lanes],
    each: (text) => times(rows, (r) => times(own, (e) => text(e, r)), '\n  '),
    over: (text) => times(rows, text, '\n  '),
    at: (r, e) => `i${r} * ${units}u + ${e * lanes}u + lane`,
    place: (u) => (owned ? 'lane' : `${u}u`),
    scores: (text) => finished.map(text).join('\n  '),
    products: (into, u, { a, b }) =>
      times(
        rows,
        (r) => {
          const sum = `${into}${u}_${r}`;
          const parts = times(own - 1, (e) => `${sum}v = fma(${a}${r}_${e + 1}, ${b}${u}_${e + 1}, ${sum}v);`);
          return `var ${sum}v = ${a}${r}_0 * ${b}${u}_0; ${parts} let ${sum} = ${whole(`${sum}v`)};`;
        },
        '\n  ',
      ),
    product: (into, r, u) =>
      owned ? `mine(vec4f(${four.map((n) => `${into}${n}_${r}`).join(', ')}), lane)` : `${reduced}(${into}${u}_${r})`,
    spread: (weight, r) =>
      owned ? four.map((u) => `let ${weight}${u}_${r} = quadBroadcast(${weight}own_${r}, ${u}u);`).join(' ') : '',
    height: (i, y) => (joined ? `HW[${i} * (p.kh + p.kw) + ${y}]` : `H[${i} * p.kh + ${y}]`),
    width: (i, x) => (joined ? `HW[${i} * (p.kh + p.kw) + p.kh + ${x}]` : `W[${i} * p.kw + ${x}]`),
  };
}

/** The lanes' types of bindings by name. */
export function bindingType(name: string, { type, stored }: RowWriter): ElementType {
  if (name === 'statistics') return 'vec2f';
  if (['Q', 'K', 'V', 'O'].includes(name)) return stored;
  return ['dO', 'dQ', 'dK', 'dV'].includes(name) ? type : 'f32';
}

const vectors = {
  float: { 1: 'f32', 2: 'vec2f', 4: 'vec4f' },
  half: { 1: 'f16', 2: 'vec2<f16>', 4: 'vec4<f16>' },
} as const;
const pairFunction = 'fn pair(x: f32) -> f32 { return x + quadSwapX(x); }\n';
const eightFunction =
  'fn eight(x: f32) -> f32 { let y = x + quadSwapX(x); let z = y + quadSwapY(y); return z + subgroupShuffleXor(z, 4u); }\n';
const quadFunctions = `fn quad(x: f32) -> f32 { let y = x + quadSwapX(x); return y + quadSwapY(y); }
fn quadMost(x: f32) -> f32 { let y = max(x, quadSwapX(x)); return max(y, quadSwapY(y)); }
// of each lane's parts of four sums, the whole of the lane's own
fn mine(parts: vec4f, lane: u32) -> f32 {
  let upper = (lane & 2u) != 0u; let odd = (lane & 1u) != 0u;
  let two = select(parts.xy, parts.zw, upper) + quadSwapY(select(parts.zw, parts.xy, upper));
  return select(two.x, two.y, odd) + quadSwapX(select(two.y, two.x, odd));
}
`;
