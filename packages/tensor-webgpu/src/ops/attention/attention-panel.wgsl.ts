import { shader } from '../../program/shader.ts';
import { type ElementType, floatType } from '../../program/types.wgsl.ts';
import { type AttentionShader, type AttentionSpec, attentionLabel, attentionUniforms } from './attention.wgsl.ts';

/**
 * Attention on CPU adapters. A workgroup is one subgroup without barriers. It packs a panel of keys (and their values) into private
 * memory, addressed by constants, and streams the queries past it: one gather brings a query's row, subgroupBroadcast hands its values
 * out. For products with the keys a lane owns `slots` keys of the panel, for sums over them it owns columns of the result.
 *
 * Measured on lavapipe, two cores: 12 x 1024 x 64 and the like, see the README; 128-lane workgroup tiles reach a tenth.
 */
export interface Panel {
  readonly D: number;
  readonly bias: boolean;
  /** Q, K and V are in half precision. */
  readonly half: boolean;
  /** Rows of Q, K and dO are read four values at once. */
  readonly vector: boolean;
  /** Columns of a result that a lane holds in one unit: 4 or 1, and how many units. */
  readonly columnWidth: 1 | 4;
  readonly columnUnits: number;
  /** Keys a lane. */
  readonly slots: number;
  /** With bias a panel is `rows` rows of `columns` keys, `perLane` of each row on a lane; `parts` panels make a row of keys. */
  readonly rows: number;
  readonly columns: number;
  readonly perLane: number;
  readonly parts: number;
  /** A lane's columns of the width bias are read four at once. */
  readonly vectorWidth: boolean;
}

export const lanes = 8;
const mostSlots = 12; // their sums should stay in registers

export const times = (count: number, text: (i: number) => string, joint = ' '): string =>
  Array.from({ length: count }, (_, i) => text(i)).join(joint);

/** `products` is how many multiply-adds the body does for each value of a key; longer bodies leave the instruction cache. */
export function panelOf({ D, Nk, kh, kw, bias, half }: AttentionSpec, products: number, pairs: number): Panel {
  const vector = D % 4 === 0;
  const wide = vector && D / (32 * Math.ceil(D / 32)) > 0.7;
  const columnWidth = wide ? 4 : 1;
  const shared = { D, bias, half, vector, columnWidth, columnUnits: Math.ceil(D / (lanes * columnWidth)) } as const;
  const most = Math.max(1, Math.min(mostSlots, Math.floor(pairs / (products * D))));
  if (!bias) {
    const panels = Math.ceil(Nk / (lanes * most));
    const slots = Math.ceil(Nk / (lanes * panels));
    return { ...shared, slots, rows: 1, columns: slots * lanes, perLane: slots, parts: 1, vectorWidth: false };
  }
  const across = Math.ceil(kw / lanes);
  const parts = Math.ceil(across / most);
  const needed = Math.ceil(across / parts);
  const vectorWidth = kw % (32 * parts) === 0;
  const panels = Math.ceil(kh / Math.min(lanes, Math.max(1, Math.floor(most / needed))));
  const rows = parts > 1 ? 1 : Math.ceil(kh / panels);
  const columns = parts > 1 ? needed * lanes : kw;
  return { ...shared, slots: rows * needed, rows, columns, perLane: needed, parts, vectorWidth };
}

/** Which slot of which lane holds the panel's key number i, in memory's order. */
function holder({ bias, columns, perLane, vectorWidth }: Panel, i: number): { slot: number; lane: number } {
  if (!bias) return { slot: Math.floor(i / lanes), lane: i % lanes };
  const [row, x] = [Math.floor(i / columns), i % columns];
  const [c, lane] = vectorWidth
    ? [Math.floor(x / 32) * 4 + (x % 4), (x % 32) >> 2]
    : [Math.floor(x / lanes), x % lanes];
  return { slot: row * perLane + c, lane };
}

const keysOf = ({ rows, columns }: Panel): number => rows * columns;

/** The shader of a panel kernel. */
export function panelShader(
  panel: Panel,
  {
    label,
    inputs,
    outputs,
    body,
  }: { label: string; inputs: readonly string[]; outputs: readonly string[]; body: string },
): AttentionShader {
  const typeOf = (name: string): ElementType => {
    if (name === 'statistics') return 'vec2f';
    if (name === 'W') return floatType(false, panel.vectorWidth);
    if (['O', 'dQ'].includes(name)) return floatType(false, panel.columnWidth === 4);
    if (['Q', 'K', 'V'].includes(name)) return floatType(panel.half, panel.vector);
    return floatType(false, ['dO', 'dK', 'dV'].includes(name) && panel.vector);
  };
  const typed = (names: readonly string[]) => Object.fromEntries(names.map((name) => [name, typeOf(name)]));
  return shader({
    label: attentionLabel(label, panel),
    enable: ['subgroups'],
    inputs: typed(inputs),
    outputs: typed(outputs),
    uniforms: attentionUniforms,
    body,
  });
}

/** The entry point up to the loop over panels, which it opens; `g` is the attention, `kb` the panel. */
export function entry(panel: Panel): string {
  const { bias, rows, parts, slots, perLane } = panel;
  const count = bias
    ? `((p.kh + ${rows - 1}u) / ${rows}u) * ${parts}u`
    : `(p.Nk + ${slots * lanes - 1}u) / ${slots * lanes}u`;
  const corner = bias
    ? `let y0 = (kb / ${parts}u) * ${rows}u; let x0 = (kb % ${parts}u) * ${perLane * lanes}u;`
    : `let k0 = kb * ${slots * lanes}u;`;
  return `@compute @workgroup_size(${lanes})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let g = group.y + group.z * p.gridY;
  if (g >= p.G) { return; }
  let one = min(p.G, 1u); // 1, but only at run time: the compiler must not unroll the packing loops
  let firstRow = group.x * p.rows; let endRow = min(firstRow + p.rows, p.Nq);
  for (var kb = 0u; kb < ${count}; kb++) {
    ${corner}`;
}

/** WGSL of the key in a lane's slot `t`, and whether there is one. */
export function ownKey({ bias, perLane, vectorWidth }: Panel, t: string): { key: string; there: string } {
  if (!bias)
    return { key: `min(k0 + ${t} * ${lanes}u + lane, p.Nk - 1u)`, there: `k0 + ${t} * ${lanes}u + lane < p.Nk` };
  const c = `(${t} % ${perLane}u)`;
  const x = `x0 + ${vectorWidth ? `(${c} / 4u) * 32u + lane * 4u + ${c} % 4u` : `${c} * ${lanes}u + lane`}`;
  const y = `y0 + ${t} / ${perLane}u`;
  return { key: `min(${y}, p.kh - 1u) * p.kw + min(${x}, p.kw - 1u)`, there: `${y} < p.kh && ${x} < p.kw` };
}

const arraysOf = ({ vector }: Panel): 1 | 4 => (vector ? 4 : 1);

/**
 * Declares a private array [D][slots] with `more` places for staged values; `own` and `staged` name its values. It is held in several,
 * value e in the one of e % 4, because LLVM compares all uses of an array with one another: in one array, panels took 3 times as long
 * to compile.
 */
export const ownArrays = (panel: Panel, array: string, more = 0): string =>
  times(
    arraysOf(panel),
    (c) => `var<private> ${array}${c}: array<f32, ${(panel.D / arraysOf(panel)) * panel.slots + more}>;`,
    '\n',
  );

/** Value e of the lane's key in slot t. */
export const own = (panel: Panel, array: string, { e, t }: { e: number; t: number }): string =>
  `${array}${e % arraysOf(panel)}[${Math.floor(e / arraysOf(panel)) * panel.slots + t}]`;

/** A place behind the values. */
export const staged = (panel: Panel, array: string, place: number): string =>
  `${array}0[${(panel.D / arraysOf(panel)) * panel.slots + place}]`;

/** Declares a private array [keys][columnUnits] of `keysOf(panel)` keys, and one more that stages sums; `columnsOf` names its values. */
export const columnArrays = (panel: Panel, array: string): string =>
  eachArray(panel, (c, w) => `var<private> ${array}${c}${w}: array<f32, ${keysOf(panel) + 1}>;`, '\n');

const eachArray = (
  { columnUnits, columnWidth }: Panel,
  text: (c: number, w: string) => string,
  joint?: string,
): string => times(columnUnits, (c) => times(columnWidth, (w) => text(c, 'xyzw'[w]!), joint), joint);

/** Columns of unit c of key i. */
const columnsOf = ({ columnWidth }: Panel, array: string, { i, c }: { i: number; c: number }): string => {
  const values = times(columnWidth, (w) => `${array}${c}${'xyzw'[w]}[${i}]`, ', ');
  return columnWidth === 4 ? `vec4f(${values})` : values;
};

/** Packs a lane's own keys' rows of `tensor` into array [D][slots]. */
export function packOwn(panel: Panel, array: string, tensor: string, factor = ''): string {
  const { D, vector, slots } = panel;
  const units = vector ? D / 4 : D;
  const store = times(arraysOf(panel), (c) => `${array}${c}[e * ${slots}u + t] = x${vector ? `[${c}]` : ''};`);
  return `for (var t = 0u; t < ${slots}u * one; t++) {
      let start = (g * p.Nk + ${ownKey(panel, 't').key}) * ${units}u;
      for (var e = 0u; e < ${units}u * one; e++) { let x = ${vector ? 'vec4f' : 'f32'}(${tensor}[start + e])${factor}; ${store} }
    }`;
}

/** Packs a lane's columns of all the panel's keys from `tensor` into array [keys][columnUnits]. */
export function packColumns(panel: Panel, array: string, tensor: string, factor = ''): string {
  const { D, bias, vector, columnWidth, columnUnits, columns } = panel;
  const key = bias
    ? `min(y0 + i / ${columns}u, p.kh - 1u) * p.kw + min(x0 + i % ${columns}u, p.kw - 1u)`
    : 'min(k0 + i, p.Nk - 1u)';
  const units = D / columnWidth;
  const column = (c: number) => `min(${c * lanes}u + lane, ${units - 1}u)`;
  const load = (c: number) => {
    if (columnWidth === 4 || !vector) return `${columnType(panel)}(${tensor}[key * ${units}u + ${column(c)}])`;
    return `f32(${tensor}[(key * ${D}u + ${column(c)}) / 4u][(${column(c)}) % 4u])`; // D is a multiple of 4
  };
  return `for (var i = 0u; i < ${keysOf(panel)}u * one; i++) { let key = g * p.Nk + ${key};
      ${times(columnUnits, (c) => `let x${c} = ${load(c)}${factor};`)}
      ${eachArray(panel, (c, w) => `${array}${c}${w}[i] = x${c}${columnWidth === 4 ? `.${w}` : ''};`)} }`;
}

/** Brings row `row` of a tensor to the lanes, under names that `value` hands out. */
export function gather({ D, vector }: Panel, name: string, tensor: string, factor = ''): string {
  const units = vector ? D / 4 : D;
  return times(Math.ceil(units / lanes), (i) => {
    const at = (i + 1) * lanes <= units ? `${i * lanes}u + lane` : `min(${i * lanes}u + lane, ${units - 1}u)`;
    return `let ${name}_${i} = ${vector ? 'vec4f' : 'f32'}(${tensor}[q * ${units}u + ${at}])${factor};`;
  });
}

/** Value e of a gathered row, the same on every lane. */
export function value({ vector }: Panel, name: string, e: number): string {
  const unit = vector ? e >> 2 : e;
  return `subgroupBroadcast(${name}_${Math.floor(unit / lanes)}${vector ? `[${e & 3}]` : ''}, ${unit % lanes}u)`;
}

/** What a score starts from: the bias of query `q`, or nothing, and -1e30 where there is no key. Declares what `start` names. */
export function gatherBias({ bias, slots, perLane, columns, parts, vectorWidth }: Panel): string {
  if (!bias) return times(slots, (t) => `let start${t} = absent[${t}];`);
  const padded = !vectorWidth && (parts > 1 || columns % lanes !== 0);
  const width = (c: number) => {
    const x = `x0 + ${c * lanes}u + lane`;
    const at = `W[q * p.kw + ${padded ? `min(${x}, p.kw - 1u)` : x}]`;
    return `let width${c} = ${padded ? `select(-1e30, ${at}, ${x} < p.kw)` : at};`;
  };
  const widths = vectorWidth
    ? times(perLane / 4, (i) => `let wide${i} = W[(q * p.kw + x0) / 4u + ${i * lanes}u + lane];`) +
      times(perLane, (c) => `let width${c} = wide${c >> 2}[${c & 3}];`)
    : times(perLane, width);
  const height = 'let high = select(-1e30, H[q * p.kh + min(y0 + lane, p.kh - 1u)], y0 + lane < p.kh);';
  const start = (t: number) =>
    `let start${t} = subgroupBroadcast(high, ${Math.floor(t / perLane)}u) + width${t % perLane};`;
  return `${height} ${widths} ${times(slots, start)}`;
}

/** sum<t> += row . keys: the products of a gathered row with a lane's own keys. */
export function dots(panel: Panel, name: string, array: string, sum: string): string {
  const { D, slots } = panel;
  return times(
    D,
    (e) =>
      `{ let x = ${value(panel, name, e)}; ${times(slots, (t) => `${sum}${t} = fma(x, ${own(panel, array, { e, t })}, ${sum}${t});`)} }`,
    '\n',
  );
}

/** out<c> += sum over the panel's keys of weight * row, for a lane's own columns. */
export function combine(panel: Panel, array: string, weight: string): string {
  const { columnUnits, columnWidth } = panel;
  return times(
    keysOf(panel),
    (i) => {
      const { slot, lane } = holder(panel, i);
      const share = `subgroupBroadcast(${weight}${slot}, ${lane}u)`;
      return `{ let x = ${columnWidth === 4 ? `vec4f(${share})` : share}; ${times(columnUnits, (c) => `out${c} = fma(x, ${columnsOf(panel, array, { i, c })}, out${c});`)} }`;
    },
    '\n',
  );
}

/** A lane's columns of row `q`: `text` for each with its place, where the row has that column. */
function eachColumn(
  { D, columnUnits, columnWidth }: Panel,
  text: (c: number, at: string) => string,
  guard: boolean,
): string {
  const units = D / columnWidth;
  return times(columnUnits, (c) => {
    const column = `${c * lanes}u + lane`;
    if ((c + 1) * lanes <= units) return text(c, `q * ${units}u + ${column}`);
    if (!guard) return text(c, `q * ${units}u + min(${column}, ${units - 1}u)`);
    return `if (${column} < ${units}u) { ${text(c, `q * ${units}u + ${column}`)} }`;
  });
}

export const butterfly = (name: string, step: (other: string) => string): string =>
  [1, 2, 4].map((distance) => `${name} = ${step(`subgroupShuffleXor(${name}, ${distance}u)`)};`).join(' ');

const zero = ({ columnWidth }: Panel): string => (columnWidth === 4 ? 'vec4f()' : '0.0');
const columnType = ({ columnWidth }: Panel): string => (columnWidth === 4 ? 'vec4f' : 'f32');

/** Loads the sums so far, adds `body`'s, and stores them, through private memory: the compiler would sink the arithmetic behind the stores' branches. */
export function throughMemory(
  panel: Panel,
  tensor: string,
  array: string,
  parts: { before: string; body: string; after: string },
): string {
  const { columnUnits, columnWidth } = panel;
  const i = keysOf(panel);
  const component = (w: string) => (columnWidth === 4 ? `.${w}` : '');
  return `${times(columnUnits, (c) => `var out${c} = ${zero(panel)};`)}
      if (kb > 0u) { ${eachColumn(panel, (c, at) => `out${c} = ${tensor}[${at}]${parts.before};`, false)} }
      ${parts.body}
      ${times(columnUnits, (c) => `let sum${c} = out${c}${parts.after};`)}
      ${eachArray(panel, (c, w) => `${array}${c}${w}[${i}] = sum${c}${component(w)};`)}
      ${eachColumn(panel, (c, at) => `${tensor}[${at}] = ${columnsOf(panel, array, { i, c })};`, true)}`;
}
