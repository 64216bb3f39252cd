import { memoised } from '../../program/memoised.ts';
import type { Program } from '../../program/program.ts';
import { shader } from '../../program/shader.ts';
import {
  type AttentionShader,
  type AttentionSpec,
  attentionLabel,
  attentionProgram,
  attentionUniforms,
} from './attention.wgsl.ts';
import { bindingType, type RowShape, type RowText, type RowWriter, rowWriter, times } from './attention-rows.wgsl.ts';

/**
 * Attention on GPUs: `lanes` invocations share an owned row (a query; in the key gradient a key), each with every `lanes`-th vector of it
 * in registers, and have part in `rows` of them; the other side's rows pass four at a time. A read of a passing row so serves several
 * rows, and no invocation holds more of one than its part: rows of 64 to 80 in one invocation spill on every GPU that was compiled for.
 */
interface Sides {
  /** The owned rows' tensors with their names in registers, and the count of rows. */
  readonly own: Readonly<Record<string, string>>;
  readonly ownSize: 'Nq' | 'Nk';
  /** The tensors whose rows pass with their names, and their count. */
  readonly passing: Readonly<Record<string, string>>;
  readonly passingSize: 'Nq' | 'Nk';
  /** Keys pass in rows of the bias, each filled up to a multiple of four columns. */
  readonly inColumns?: boolean;
}

interface Work {
  readonly label: string;
  readonly outputs: readonly string[];
  readonly globals?: string;
  readonly before: string;
  /** On the passing rows from number `first` on; `read` brings one of them into registers. */
  readonly step: (read: (tensor: string, u: number) => string) => string;
  readonly end?: string;
  readonly after: (r: number) => string;
}

/** The shader around the work. What lies past the end of a side is some row of it, with a weight of zero. */
function rowsShader(text: RowText, writer: RowWriter, { sides, work }: { sides: Sides; work: Work }): AttentionShader {
  const { D, bias, joined, shape } = text;
  const { lanes, rows, threads, tiles, step } = shape;
  const { stored, multiplied, units, own: parts, tile } = writer;
  const { own, ownSize, passing, passingSize, inColumns = false } = sides;
  const inputs = ['Q', 'K', 'V'];
  if (work.label !== 'attention') inputs.push('dO', 'statistics');
  if (bias) inputs.push(...(joined ? ['HW'] : ['H', 'W']));
  const typed = (names: readonly string[]) =>
    Object.fromEntries(names.map((name) => [name, bindingType(name, writer)]));
  const number = (at: string) =>
    inColumns ? `((${at}) / columns) * p.kw + min((${at}) % columns, p.kw - 1u)` : `min(${at}, p.${passingSize} - 1u)`;
  const slot = (name: string) =>
    `tile${name}[n / ${step * units}u][(n / ${units}u) % ${step}u][(n % ${units}u) / ${lanes}u][n % ${lanes}u]`;
  const read = (name: string, u: number, e: number) =>
    tiles
      ? `${multiplied}(tile${name}[k][${u}][${e}][lane])`
      : `${multiplied}(${name}[(passing0 + ${number(`first + ${u}u`)}) * ${units}u + ${e * lanes}u + lane])`;
  const all = work.step((tensor, u) => times(parts, (e) => `let ${passing[tensor]}${u}_${e} = ${read(tensor, u, e)};`));
  const names = Object.keys(passing);
  const loop = tiles
    ? `for (var begin = 0u; begin < passing; begin += ${tile}u) {
    let steps = (min(${tile}u, passing - begin) + ${step - 1}u) / ${step}u;
    for (var n = thread; n < steps * ${step * units}u; n += ${threads}u) {
      let at = begin + n / ${units}u;
      let source = (passing0 + ${number('at')}) * ${units}u + n % ${units}u;
      ${names.map((name) => `${slot(name)} = ${stored}(${name}[source]);`).join(' ')}
    }
    workgroupBarrier();
    for (var k = 0u; k < steps; k++) {
      let first = begin + ${step}u * k;
      ${all}
    }
    workgroupBarrier();
  }`
    : `for (var first = 0u; first < passing; first += ${step}u) {
    ${all}
  }`;
  const tileType = `array<array<array<array<${stored}, ${lanes}>, ${parts}>, ${step}>, ${tile / step}>`;
  const perRow = threads / lanes;
  return shader({
    label: attentionLabel(work.label, { D, bias }),
    inputs: typed(inputs),
    outputs: typed(work.outputs),
    uniforms: attentionUniforms,
    enable: lanes > 1 ? ['subgroups'] : [],
    body: `${tiles ? names.map((name) => `var<workgroup> tile${name}: ${tileType};`).join('\n') : ''}
${work.globals ?? ''}
${writer.functions}
@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) thread: u32) {
  let g = p.firstG + group.y + group.z * p.gridY;
  if (g >= p.G) { return; }
  let lane = ${lanes === 1 ? '0u' : `thread % ${lanes}u`}; let team = ${lanes === 1 ? 'thread' : `thread / ${lanes}u`};
  ${inColumns ? 'let columns = (p.kw + 3u) / 4u * 4u; let passing = p.kh * columns;' : `let passing = p.${passingSize};`}
  let passing0 = g * p.${passingSize};
  ${writer.over((r) => `let row${r} = group.x * ${perRow * rows}u + ${r * perRow}u + team; let own${r} = min(row${r}, p.${ownSize} - 1u); let i${r} = g * p.${ownSize} + own${r};`)}
  ${Object.entries(own)
    .map(([tensor, name]) =>
      writer.each((e, r) => `let ${name}${r}_${e} = ${multiplied}(${tensor}[${writer.at(r, e)}]);`),
    )
    .join('\n  ')}
  ${work.before}
  ${loop}
  ${work.end ?? ''}
  ${writer.over((r) => `if (row${r} < p.${ownSize}) { ${work.after(r)} }`)}
}`,
  });
}

/** A shape, and whether the bias is one tensor; what else a text depends on is in the spec. */
export interface RowChoice {
  readonly shape: RowShape;
  readonly joined: boolean;
}

const flat = ({ D, bias, half }: AttentionSpec, { shape, joined }: RowChoice) => ({
  ...{ D, bias, half, joined: bias && joined },
  ...shape,
});

const textOf = ({ D, bias, half, joined, ...shape }: ReturnType<typeof flat>): RowText => ({
  ...{ D, bias, half, joined, shape },
});

const rowsOf = ({ threads, lanes, rows }: RowShape): number => (threads / lanes) * rows;

/** WGSL that only one of the lanes that share a row runs. */
const byOne = ({ shape }: RowText, wgsl: string): string => (shape.lanes > 1 ? `if (lane == 0u) { ${wgsl} }` : wgsl);

/** Forward with an online softmax: [query, key, value (, height, width)] -> [output [G, Nq, D], log-sum-exp [G, Nq]]. */
export const rowsForward = (spec: AttentionSpec, choice: RowChoice): Program =>
  attentionProgram(forwardShader(flat(spec, choice)), spec, { rows: rowsOf(choice.shape), of: spec.Nq, products: 2 });

const forwardShader = memoised((fields: ReturnType<typeof flat>) => {
  const text = textOf(fields);
  const writer = rowWriter(text);
  const { type, own, each, over, at, scores, place, product } = writer;
  const { owned, step } = text.shape;
  const most = (r: number) =>
    owned
      ? `max(top${r}, quadMost(sown_${r}))`
      : writer.finished.reduce((so, u) => `max(${so}, s${u}_${r})`, `top${r}`);
  const rescaled = (r: number) => {
    const all = `let kept${r} = exp(top${r} - most${r}); top${r} = most${r}; total${r} *= kept${r}; ${times(own, (e) => `o${r}_${e} *= kept${r};`)}`;
    return owned ? `if (most${r} > top${r}) { ${all} }` : all;
  };
  const sides: Sides = { own: { Q: 'q' }, ownSize: 'Nq', passing: { K: 'k', V: 'v' }, passingSize: 'Nk' };
  const work: Work = {
    label: 'attention',
    outputs: ['O', 'L'],
    before: `${each((e, r) => `var o${r}_${e} = ${type}();`)}
  ${over((r) => `var top${r} = -1e30; var total${r} = 0.0;`)}`,
    step: (read) => `${times(step, (u) => `${read('K', u)} ${writer.products('d', u, { a: 'q', b: 'k' })}`, '\n  ')}
  ${scores((u) => `let n${u} = min(first + ${place(u)}, p.Nk - 1u);${text.bias ? ` let y${u} = n${u} / p.kw; let x${u} = n${u} % p.kw;` : ''}`)}
  ${over(
    (
      r,
    ) => `${scores((u) => `let s${u}_${r} = select(-1e30, p.scale * ${product('d', r, u)}${text.bias ? ` + ${writer.height(`i${r}`, `y${u}`)} + ${writer.width(`i${r}`, `x${u}`)}` : ''}, first + ${place(u)} < p.Nk);`)}
  let most${r} = ${most(r)};
  ${rescaled(r)}
  ${scores((u) => `let w${u}_${r} = exp(s${u}_${r} - top${r}); total${r} += w${u}_${r};`)}
  ${writer.spread('w', r)}`,
  )}
  ${times(step, (u) => `${read('V', u)} ${each((e, r) => `o${r}_${e} = fma(${type}(w${u}_${r}), ${type}(v${u}_${e}), o${r}_${e});`)}`, '\n  ')}`,
    end: over((r) => `let sum${r} = ${owned ? `quad(total${r})` : `total${r}`};`),
    after: (r) =>
      `${byOne(text, `L[i${r}] = top${r} + log(sum${r});`)} ${times(own, (e) => `O[${at(r, e)}] = ${writer.stored}(o${r}_${e} / sum${r});`)}`,
  };
  return rowsShader(text, writer, { sides, work });
});

/**
 * Gradients of the query and of the bias: [query, key, value, output's gradient, statistics (, height, width)] ->
 * [query's (, height's, width's)]. With p = exp(s - log-sum-exp): ds = p (dO . value - dO . O), dQ = scale sum_k ds key.
 * Each of the lanes that share a row has the sums over every `lanes`-th column of its keys.
 */
export function rowsQueryGradient(spec: AttentionSpec, choice: RowChoice): Program {
  const widthSums = spec.bias ? Math.ceil(spec.kw / 16) * 16 : 0; // rounded up, so that few widths make a text
  const made = queryGradientShader({ ...flat(spec, choice), widthSums });
  return attentionProgram(made, spec, { rows: rowsOf(choice.shape), of: spec.Nq, products: 3 });
}

const queryGradientShader = memoised(({ widthSums, ...fields }: ReturnType<typeof flat> & { widthSums: number }) => {
  const text = textOf(fields);
  const writer = rowWriter(text);
  const { type, own, each, over, at, scores, place, product } = writer;
  const { bias, joined } = text;
  const { lanes, owned, step } = text.shape;
  const sides: Sides = {
    ...{ own: { Q: 'q', dO: 'o' }, ownSize: 'Nq', passing: { K: 'k', V: 'v' }, passingSize: 'Nk' },
    inColumns: bias,
  };
  const valid = (u: string) => (bias ? `column + ${place(u)} < p.kw` : `first + ${place(u)} < p.Nk`);
  const ofWidth = (r: number, x: string) =>
    joined ? `dHW[i${r} * (p.kh + p.kw) + p.kh + ${x}]` : `dW[i${r} * p.kw + ${x}]`;
  const ofHeight = (r: number) => (joined ? `dHW[i${r} * (p.kh + p.kw) + y]` : `dH[i${r} * p.kh + y]`);
  // the sums over columns: this lane has every `lanes`-th
  const widths = (r: number) => {
    if (lanes === 1) return times(step, (u) => `widthSums${r}[column + ${u}u] += w${u}_${r};`);
    if (owned) return `widthSums${r}[column / 4u] += wown_${r};`;
    return times(
      step,
      (u) =>
        `widthSums${r}[(column + ${u}u) / ${lanes}u] += select(0.0, w${u}_${r}, (column + ${u}u) % ${lanes}u == lane);`,
    );
  };
  const heights = (r: number) => (owned ? `wown_${r}` : times(step, (u) => `w${u}_${r}`, ' + '));
  const work: Work = {
    label: 'attention query gradient',
    outputs: !bias ? ['dQ'] : joined ? ['dQ', 'dHW'] : ['dQ', 'dH', 'dW'],
    globals: bias ? over((r) => `var<private> widthSums${r}: array<f32, ${widthSums / lanes}>;`) : '',
    before: `${each((e, r) => `var sum${r}_${e} = ${type}();`)}
  ${over((r) => `let known${r} = statistics[i${r}];`)}
  ${bias ? `var y = 0u; var column = 0u; ${over((r) => `var height${r} = ${writer.height(`i${r}`, '0u')};`)}` : ''}
  ${bias ? over((r) => `var heightSum${r} = 0.0; for (var x = 0u; x < columns / ${lanes}u; x++) { widthSums${r}[x] = 0.0; }`) : ''}`,
    step: (read) => `${bias ? `${scores((u) => `let x${u} = min(column + ${place(u)}, p.kw - 1u);`)}` : ''}
  ${times(step, (u) => `${read('K', u)} ${writer.products('d', u, { a: 'q', b: 'k' })}\n  ${read('V', u)} ${writer.products('c', u, { a: 'o', b: 'v' })}`, '\n  ')}
  ${over(
    (
      r,
    ) => `${scores((u) => `let w${u}_${r} = select(0.0, exp(p.scale * ${product('d', r, u)}${bias ? ` + height${r} + ${writer.width(`i${r}`, `x${u}`)}` : ''} - known${r}.x) * (${product('c', r, u)} - known${r}.y), ${valid(u)});`)}
  ${writer.spread('w', r)}
  ${bias ? `heightSum${r} += ${heights(r)}; ${widths(r)}` : ''}`,
  )}
  ${times(step, (u) => each((e, r) => `sum${r}_${e} = fma(${type}(w${u}_${r}), k${u}_${e}, sum${r}_${e});`), '\n  ')}
  ${
    bias
      ? `column += ${step}u;
  if (column == columns) {
    ${over((r) => `let whole${r} = ${owned ? `quad(heightSum${r})` : `heightSum${r}`}; heightSum${r} = 0.0; ${byOne(text, `if (row${r} < p.Nq) { ${ofHeight(r)} = whole${r}; }`)}`)}
    y = min(y + 1u, p.kh - 1u); column = 0u;
    ${over((r) => `height${r} = ${writer.height(`i${r}`, 'y')};`)}
  }`
      : ''
  }`,
    after: (r) => `${times(own, (e) => `dQ[${at(r, e)}] = sum${r}_${e} * p.scale;`)}
    ${bias ? `for (var x = lane; x < p.kw; x += ${lanes}u) { ${ofWidth(r, 'x')} = widthSums${r}[x / ${lanes}u]; }` : ''}`,
  };
  return rowsShader(text, writer, { sides, work });
});

/**
 * Gradients of key and value: [query, key, value, output's gradient, statistics (, height, width)] -> [key's, value's].
 * Keys are owned and the queries pass: dV = sum_q p dO, dK = scale sum_q ds query.
 */
export const rowsKeyGradient = (spec: AttentionSpec, choice: RowChoice): Program =>
  attentionProgram(keyGradientShader(flat(spec, choice)), spec, {
    rows: rowsOf(choice.shape),
    of: spec.Nk,
    products: 4,
  });

const keyGradientShader = memoised((fields: ReturnType<typeof flat>) => {
  const text = textOf(fields);
  const writer = rowWriter(text);
  const { type, own, each, over, at, scores, place, product } = writer;
  const { step } = text.shape;
  const sides: Sides = { own: { K: 'k', V: 'v' }, ownSize: 'Nk', passing: { Q: 'q', dO: 'o' }, passingSize: 'Nq' };
  const work: Work = {
    label: 'attention key gradient',
    outputs: ['dK', 'dV'],
    before: `${each((e, r) => `var keySum${r}_${e} = ${type}(); var valueSum${r}_${e} = ${type}();`)}
  ${text.bias ? over((r) => `let y${r} = own${r} / p.kw; let x${r} = own${r} % p.kw;`) : ''}`,
    step: (
      read,
    ) => `${scores((u) => `let n${u} = g * p.Nq + min(first + ${place(u)}, p.Nq - 1u); let known${u} = statistics[n${u}]; let valid${u} = first + ${place(u)} < p.Nq;`)}
  ${times(step, (u) => `${read('Q', u)} ${writer.products('d', u, { a: 'k', b: 'q' })}\n  ${read('dO', u)} ${writer.products('c', u, { a: 'v', b: 'o' })}`, '\n  ')}
  ${over(
    (r) => `${scores(
      (
        u,
      ) => `let w${u}_${r} = select(0.0, exp(p.scale * ${product('d', r, u)}${text.bias ? ` + ${writer.height(`n${u}`, `y${r}`)} + ${writer.width(`n${u}`, `x${r}`)}` : ''} - known${u}.x), valid${u});
  let z${u}_${r} = w${u}_${r} * (${product('c', r, u)} - known${u}.y);`,
    )}
  ${writer.spread('w', r)} ${writer.spread('z', r)}`,
  )}
  ${times(step, (u) => each((e, r) => `keySum${r}_${e} = fma(${type}(z${u}_${r}), q${u}_${e}, keySum${r}_${e}); valueSum${r}_${e} = fma(${type}(w${u}_${r}), o${u}_${e}, valueSum${r}_${e});`), '\n  ')}`,
    after: (r) =>
      times(own, (e) => `dK[${at(r, e)}] = keySum${r}_${e} * p.scale; dV[${at(r, e)}] = valueSum${r}_${e};`),
  };
  return rowsShader(text, writer, { sides, work });
});
