import type { Program } from '../program.ts';

/** Sizes of G independent attentions of Nq queries over Nk = kh x kw keys (without bias: Nk x 1). */
export interface AttentionSpec {
  readonly G: number;
  readonly Nq: number;
  readonly Nk: number;
  readonly D: number;
  readonly kh: number;
  readonly kw: number;
  readonly scale: number;
  readonly bias: boolean;
  /** Lanes of a subgroup on a CPU adapter with subgroups, else 0: the portable version. */
  readonly lanes: number;
}

/**
 * How an invocation works: it owns `own` rows of one side (queries, or keys in the key gradient), held in private memory and
 * addressed by constants, and the rows of the other side stream past it, `step` at a time.
 *
 * With lanes, a workgroup is one subgroup without barriers: one gather brings a streamed row, subgroupBroadcast hands its values
 * out, and nothing else crosses lanes. Portable: 64 invocations with one row each read the streamed row themselves.
 */
interface Plan {
  readonly D: number;
  readonly lanes: number;
  readonly width: number;
  readonly own: number;
  readonly step: number;
  readonly bias: boolean;
  readonly vector: boolean;
  /** Products of D values for each query and key. */
  readonly products: number;
}

const portableWidth = 64;
const bodyPairs = 800; // longer unrolled bodies are slower on CPU adapters: 1024 lost 10 % in the key gradient
const mostOwned = 4;

function planOf(spec: AttentionSpec, rows: number, products: number, step: number): Plan {
  const { D, lanes, bias } = spec;
  const vector = D % 4 === 0;
  if (lanes === 0) return { D, lanes, width: portableWidth, own: 1, step: 1, bias, vector, products };
  const most = Math.max(1, Math.min(mostOwned, Math.floor(bodyPairs / (products * D * step))));
  const panels = Math.ceil(rows / (lanes * most));
  return { D, lanes, width: lanes, own: Math.ceil(rows / (lanes * panels)), step, bias, vector, products };
}

const times = (count: number, text: (i: number) => string, joint = '\n  '): string =>
  Array.from({ length: count }, (_, i) => text(i)).join(joint);

function program(label: string, spec: AttentionSpec, plan: Plan, rows: number, wgsl: string): Program {
  const gridY = Math.min(spec.G, 32768);
  const words = new Uint32Array([spec.G, spec.Nq, spec.Nk, spec.kh, spec.kw, gridY, 1, 0]);
  new Float32Array(words.buffer)[7] = spec.scale;
  return {
    label: `${label} D=${spec.D}${spec.bias ? ' bias' : ''}`,
    wgsl,
    workgroups: [Math.ceil(rows / (plan.width * plan.own)), gridY, Math.ceil(spec.G / gridY)],
    uniforms: words,
    flops: 2 * plan.products * spec.G * spec.Nq * spec.Nk * spec.D,
  };
}

function header(plan: Plan, inputs: readonly string[], outputs: readonly string[]): string {
  const rowsOf = new Set(['Q', 'K', 'V', 'dO', 'O', 'dQ', 'dK', 'dV']);
  const type = (name: string) => (rowsOf.has(name) && plan.vector ? 'vec4f' : 'f32');
  return `${plan.lanes ? 'enable subgroups;\n' : ''}struct Sizes { G: u32, Nq: u32, Nk: u32, kh: u32, kw: u32, gridY: u32, one: u32, scale: f32 };
${[...inputs, ...outputs]
  .map(
    (name, i) =>
      `@group(0) @binding(${i}) var<storage, ${i < inputs.length ? 'read' : 'read_write'}> ${name}: array<${type(name)}>;`,
  )
  .join('\n')}
@group(0) @binding(${inputs.length + outputs.length}) var<uniform> p: Sizes;`;
}

/** The entry point up to the owned rows: `i0`, `i1`, … (clamped) and `first`, the lane's first row, of `size` rows. */
function prologue(plan: Plan, size: string): string {
  const lane = plan.lanes ? '@builtin(subgroup_invocation_id)' : '@builtin(local_invocation_index)';
  return `@compute @workgroup_size(${plan.width})
fn main(@builtin(workgroup_id) group: vec3u, ${lane} lane: u32) {
  let g = group.y + group.z * p.gridY;
  if (g >= p.G) { return; }
  let first = group.x * ${plan.width * plan.own}u + lane;
  ${times(plan.own, (t) => `let i${t} = g * p.${size} + min(first + ${t * plan.width}u, p.${size} - 1u);`, ' ')}`;
}

/** Copies the owned rows of a tensor into a private array [D][own]. */
function pack(plan: Plan, array: string, tensor: string, size: string, factor = ''): string {
  const { D, own, vector, width } = plan;
  const row = (t: string) => `(g * p.${size} + min(first + ${t} * ${width}u, p.${size} - 1u))`;
  const units = vector ? D / 4 : D;
  const copy = (e: string, t: string) =>
    vector
      ? `{ let x = ${tensor}[${row(t)} * ${units}u + ${e}]${factor}; ${times(4, (c) => `${array}[(${e} * 4u + ${c}u) * ${own}u + ${t}] = x[${c}];`, ' ')} }`
      : `${array}[${e} * ${own}u + ${t}] = ${tensor}[${row(t)} * ${units}u + ${e}]${factor};`;
  if (!plan.lanes) return times(units, (e) => copy(`${e}u`, '0u'));
  // the bounds are read at run time: the compiler would unroll these loops
  return `for (var t = 0u; t < ${own}u * p.one; t++) { for (var e = 0u; e < ${units}u * p.one; e++) { ${copy('e', 't')} } }`;
}

/** Fills a private array [D][own] with zeros. */
function clear(plan: Plan, array: string): string {
  if (!plan.lanes) return times(plan.D, (e) => `${array}[${e}] = 0.0;`, ' ');
  return `for (var e = 0u; e < ${plan.D * plan.own}u * p.one; e++) { ${array}[e] = 0.0; }`;
}

/** Writes a private array [D][own] to the owned rows of a tensor, multiplied by `factor` (which may name the slot `t`). */
function unpack(plan: Plan, array: string, tensor: string, size: string, factor: string): string {
  const { D, own, vector, width } = plan;
  const units = vector ? D / 4 : D;
  const value = (e: string) =>
    vector
      ? `vec4f(${times(4, (c) => `${array}[(${e} * 4u + ${c}u) * ${own}u + t]`, ', ')})`
      : `${array}[${e} * ${own}u + t]`;
  const store = (e: string) =>
    `${tensor}[(g * p.${size} + first + t * ${width}u) * ${units}u + ${e}] = ${value(e)} * ${factor};`;
  const rows = plan.lanes
    ? `for (var e = 0u; e < ${units}u * p.one; e++) { ${store('e')} }`
    : times(units, (e) => store(`${e}u`));
  if (!plan.lanes) return `{ const t = 0u; if (first < p.${size}) { ${rows} } }`;
  return `for (var t = 0u; t < ${own}u * p.one; t++) { if (first + t * ${width}u < p.${size}) { ${rows} } }`;
}

/** Brings row `row` of a tensor to the lanes, under names that `value` hands out. */
function gather(plan: Plan, name: string, tensor: string, row: string): string {
  const units = plan.vector ? plan.D / 4 : plan.D;
  if (!plan.lanes) return times(units, (e) => `let ${name}_${e} = ${tensor}[${row} * ${units}u + ${e}u];`, ' ');
  return times(
    Math.ceil(units / plan.lanes),
    (i) => `let ${name}_${i} = ${tensor}[${row} * ${units}u + min(${i * plan.lanes}u + lane, ${units - 1}u)];`,
    ' ',
  );
}

/** Value e of a gathered row, the same on every lane. */
function value(plan: Plan, name: string, e: number): string {
  const unit = plan.vector ? e >> 2 : e;
  const part = plan.vector ? `[${e & 3}]` : '';
  if (!plan.lanes) return `${name}_${unit}${part}`;
  return `subgroupBroadcast(${name}_${Math.floor(unit / plan.lanes)}${part}, ${unit % plan.lanes}u)`;
}

/** sum_t[u] += row_u . array, for rows gathered as `name`0, `name`1, … */
function dots(plan: Plan, name: string, array: string, sum: string): string {
  return times(plan.D, (e) =>
    times(
      plan.step,
      (u) =>
        `{ let x = ${value(plan, `${name}${u}`, e)}; ${times(plan.own, (t) => `${sum}${u}_${t} = fma(x, ${array}[${e * plan.own + t}], ${sum}${u}_${t});`, ' ')} }`,
      ' ',
    ),
  );
}

/** array = array * f_t + sum_u weight_u_t row_u: one read and one write of the accumulators for `step` rows. */
function accumulate(plan: Plan, array: string, terms: { name: string; weight: string }, rescale = ''): string {
  const { own, step } = plan;
  return times(plan.D, (e) => {
    const rows = times(step, (u) => `let x${u} = ${value(plan, `${terms.name}${u}`, e)};`, ' ');
    const sum = (t: number) => {
      const slot = `${array}[${e * own + t}]`;
      let text = rescale ? `${slot} * ${rescale}${t}` : slot;
      for (let u = 0; u < step; u++) text = `fma(x${u}, ${terms.weight}${u}_${t}, ${text})`;
      return `${slot} = ${text};`;
    };
    return `{ ${rows} ${times(own, sum, ' ')} }`;
  });
}

/** The owned queries' bias over a row of keys, in private memory; rounded up, so that few widths make a text. */
const widthArray = (spec: AttentionSpec, plan: Plan, name: string): string =>
  spec.bias ? `var<private> ${name}: array<f32, ${Math.ceil(spec.kw / 16) * 16 * plan.own}>; // [kw][own]` : '';

const eachWidth = (plan: Plan, text: (slot: string, at: string, t: number) => string): string =>
  plan.bias
    ? `for (var x = 0u; x < p.kw; x++) { ${times(plan.own, (t) => text(`x * ${plan.own}u + ${t}u`, `i${t} * p.kw + x`, t), ' ')} }`
    : '';

/**
 * Streams the keys past owned queries, `step` rows of keys at a time so that they share what is read of the accumulators.
 * `body` sees the gathered k<u> and v<u>, the scores s<u>_<t>, the bias' rows y<u> and the column x.
 */
function streamKeys(plan: Plan, body: string, before = '', after = ''): string {
  const { own, step, bias } = plan;
  const each = (text: (u: number, t: number) => string) => times(step, (u) => times(own, (t) => text(u, t), ' '));
  return `for (var y = 0u; y < p.kh; y += ${step}u) {
    ${times(step, (u) => `let y${u} = min(y + ${u}u, p.kh - 1u);`, ' ')}
    ${each((u, t) => `let h${u}_${t} = ${[...(u ? [`select(-1e30, 0.0, y + ${u}u < p.kh)`] : ['0.0']), ...(bias ? [`H[i${t} * p.kh + y${u}]`] : [])].join(' + ')};`)}
    ${before}
    ${bias ? 'for (var x = 0u; x < p.kw; x++) {' : '{'}
      ${times(step, (u) => `let key${u} = g * p.Nk + y${u}${bias ? ' * p.kw + x' : ''};`, ' ')}
      ${times(step, (u) => `${gather(plan, `k${u}`, 'K', `key${u}`)} ${gather(plan, `v${u}`, 'V', `key${u}`)}`)}
      
      ${each((u, t) => `var s${u}_${t} = h${u}_${t}${bias ? ` + width[x * ${own}u + ${t}u]` : ''};`)}
      ${dots(plan, 'k', 'query', 's')}
      ${body}
    }
    ${after}
  }`;
}

/**
 * Forward: [query, key, value (, height, width)] -> [output [G, Nq, D], log-sum-exp [G, Nq]].
 *
 * The softmax is online: the sums so far are rescaled whenever `step` keys raise the maximum.
 */
export function attentionForward(spec: AttentionSpec): Program {
  const plan = planOf(spec, spec.Nq, 2, spec.bias && spec.D <= 32 ? 2 : 1);
  const { D, own, step, bias } = plan;
  const each = (text: (t: number) => string) => times(own, text, ' ');
  const overSteps = (text: (u: number) => string, joint: string) => times(step, text, joint);
  const wgsl = `${header(plan, bias ? ['Q', 'K', 'V', 'H', 'W'] : ['Q', 'K', 'V'], ['O', 'L'])}
var<private> query: array<f32, ${D * own}>; // scaled
var<private> sums: array<f32, ${D * own}>;
var<private> inverse: array<f32, ${own}>;
${widthArray(spec, plan, 'width')}
${prologue(plan, 'Nq')}
  ${pack(plan, 'query', 'Q', 'Nq', ' * p.scale')}
  ${clear(plan, 'sums')}
  ${eachWidth(plan, (slot, at) => `width[${slot}] = W[${at}];`)}
  ${each((t) => `var top${t} = -1e30; var total${t} = 0.0;`)}
  ${streamKeys(
    plan,
    `${each((t) => `let new${t} = ${Array.from({ length: step }, (_, u) => u).reduce((most, u) => `max(${most}, s${u}_${t})`, `top${t}`)}; let f${t} = exp(top${t} - new${t}); top${t} = new${t};`)}
      ${each((t) => overSteps((u) => `let w${u}_${t} = exp(s${u}_${t} - top${t});`, ' '))}
      ${each((t) => `total${t} = fma(total${t}, f${t}, ${overSteps((u) => `w${u}_${t}`, ' + ')});`)}
      ${accumulate(plan, 'sums', { name: 'v', weight: 'w' }, 'f')}`,
  )}
  ${each((t) => `inverse[${t}] = 1.0 / total${t}; if (first + ${t * plan.width}u < p.Nq) { L[i${t}] = top${t} + log(total${t}); }`)}
  ${unpack(plan, 'sums', 'O', 'Nq', 'inverse[t]')}
}`;
  return program('attention', spec, plan, spec.Nq, wgsl);
}

/** Before the gradients: [output, output's gradient, log-sum-exp] -> [G, Nq, 2], the log-sum-exp and gradient . output. */
export function attentionStatistics(spec: AttentionSpec): Program {
  const plan = planOf({ ...spec, lanes: 0 }, spec.Nq, 1, 1);
  const units = plan.vector ? spec.D / 4 : spec.D;
  const wgsl = `${header(plan, ['O', 'dO', 'L'], ['statistics'])}
${prologue(plan, 'Nq')}
  var sum = 0.0;
  for (var e = 0u; e < ${units}u; e++) { sum += ${plan.vector ? 'dot(O[i0 * UNITS + e], dO[i0 * UNITS + e])' : 'O[i0 * UNITS + e] * dO[i0 * UNITS + e]'}; }
  if (first < p.Nq) { statistics[i0 * 2u] = L[i0]; statistics[i0 * 2u + 1u] = sum; }
}`.replaceAll('UNITS', `${units}u`);
  return program('attention statistics', { ...spec, bias: false }, plan, spec.Nq, wgsl);
}

/**
 * Gradients of the query and of the bias: [query, key, value, output's gradient, statistics (, height, width)] ->
 * [query's (, height's, width's)]. With p = exp(s - log-sum-exp): ds = p (dO . value - dO . O), dQ = scale sum_k ds key.
 */
export function attentionQueryGradient(spec: AttentionSpec): Program {
  const plan = planOf(spec, spec.Nq, 3, spec.bias && spec.D <= 32 ? 2 : 1);
  const { D, own, step, bias } = plan;
  const each = (text: (t: number) => string) => times(own, text, ' ');
  const both = (text: (u: number, t: number) => string) => times(step, (u) => times(own, (t) => text(u, t), ' '));
  const inputs = ['Q', 'K', 'V', 'dO', 'statistics'];
  const wgsl = `${header(plan, bias ? [...inputs, 'H', 'W'] : inputs, bias ? ['dQ', 'dH', 'dW'] : ['dQ'])}
var<private> query: array<f32, ${D * own}>; // scaled
var<private> gradient: array<f32, ${D * own}>;
var<private> sums: array<f32, ${D * own}>;
${widthArray(spec, plan, 'width')}
${widthArray(spec, plan, 'widthSums')}
${prologue(plan, 'Nq')}
  ${pack(plan, 'query', 'Q', 'Nq', ' * p.scale')}
  ${pack(plan, 'gradient', 'dO', 'Nq')}
  ${clear(plan, 'sums')}
  ${eachWidth(plan, (slot, at) => `width[${slot}] = W[${at}]; widthSums[${slot}] = 0.0;`)}
  ${each((t) => `let lse${t} = statistics[i${t} * 2u]; let delta${t} = statistics[i${t} * 2u + 1u]; let inside${t} = first + ${t * plan.width}u < p.Nq;`)}
  ${streamKeys(
    plan,
    `${both((u, t) => `var d${u}_${t} = -delta${t};`)}
      ${dots(plan, 'v', 'gradient', 'd')}
      ${both((u, t) => `let w${u}_${t} = d${u}_${t} * exp(s${u}_${t} - lse${t});`)}
      ${bias ? both((u, t) => `dh${u}_${t} += w${u}_${t};`) : ''}
      ${bias ? each((t) => `widthSums[x * ${own}u + ${t}u] += ${times(step, (u) => `w${u}_${t}`, ' + ')};`) : ''}
      ${accumulate(plan, 'sums', { name: 'k', weight: 'w' })}`,
    bias ? both((u, t) => `var dh${u}_${t} = 0.0;`) : '',
    bias ? both((u, t) => `if (inside${t} && y + ${u}u < p.kh) { dH[i${t} * p.kh + y${u}] = dh${u}_${t}; }`) : '',
  )}
  ${eachWidth(plan, (slot, at, t) => `if (inside${t}) { dW[${at}] = widthSums[${slot}]; }`)}
  ${unpack(plan, 'sums', 'dQ', 'Nq', 'p.scale')}
}`;
  return program('attention query gradient', spec, plan, spec.Nq, wgsl);
}

/** Whether a query's bias along an axis of `size` fits two registers, from which lanes take it by shuffles. */
const shuffled = (plan: Plan, size: number): boolean => plan.lanes > 0 && size <= 2 * plan.lanes;

/** Brings the bias of query `q<u>` to the lanes, where it fits. */
function gatherBias({ kh, kw }: AttentionSpec, plan: Plan, u: number): string {
  const load = (name: string, tensor: string, size: number) =>
    shuffled(plan, size)
      ? times(
          Math.ceil(size / plan.lanes),
          (i) =>
            `let ${name}${u}_${i} = ${tensor}[q${u} * p.${name} + min(lane + ${i * plan.lanes}u, p.${name} - 1u)];`,
          ' ',
        )
      : '';
  return `${load('kh', 'H', kh)} ${load('kw', 'W', kw)}`;
}

/** The bias of query `q<u>` and the owned key t, which lies in row y<t> and column x<t>. */
function biasAt({ kh, kw }: AttentionSpec, plan: Plan, u: number, t: number): string {
  const at = (name: string, tensor: string, size: number, index: string) => {
    if (!shuffled(plan, size)) return `${tensor}[q${u} * p.${name} + ${index}]`;
    const from = (i: number) => `subgroupShuffle(${name}${u}_${i}, ${index} & ${plan.lanes - 1}u)`;
    return size <= plan.lanes ? from(0) : `select(${from(1)}, ${from(0)}, ${index} < ${plan.lanes}u)`;
  };
  return `${at('kh', 'H', kh, `y${t}`)} + ${at('kw', 'W', kw, `x${t}`)}`;
}

/**
 * Gradients of key and value: [query, key, value, output's gradient, statistics (, height, width)] -> [key's, value's].
 * An invocation owns keys and the queries stream past: dV = sum_q p dO, dK = scale sum_q ds query.
 */
export function attentionKeyGradient(spec: AttentionSpec): Program {
  const plan = planOf(spec, spec.Nk, 4, 1);
  const { D, own, step, bias } = plan;
  const each = (text: (t: number) => string) => times(own, text, ' ');
  const both = (text: (u: number, t: number) => string) => times(step, (u) => times(own, (t) => text(u, t), ' '));
  const inputs = ['Q', 'K', 'V', 'dO', 'statistics'];
  const wgsl = `${header(plan, bias ? [...inputs, 'H', 'W'] : inputs, ['dK', 'dV'])}
var<private> keys: array<f32, ${D * own}>; // scaled
var<private> values: array<f32, ${D * own}>;
var<private> keySums: array<f32, ${D * own}>;
var<private> valueSums: array<f32, ${D * own}>;
${prologue(plan, 'Nk')}
  ${pack(plan, 'keys', 'K', 'Nk', ' * p.scale')}
  ${pack(plan, 'values', 'V', 'Nk')}
  ${clear(plan, 'keySums')}
  ${clear(plan, 'valueSums')}
  ${bias ? each((t) => `let y${t} = (i${t} - g * p.Nk) / p.kw; let x${t} = (i${t} - g * p.Nk) % p.kw;`) : ''}
  for (var q = 0u; q < p.Nq; q += ${step}u) {
    ${times(step, (u) => `let q${u} = g * p.Nq + min(q + ${u}u, p.Nq - 1u); let lse${u} = statistics[q${u} * 2u]${u ? ` + select(1e30, 0.0, q + ${u}u < p.Nq)` : ''}; let delta${u} = statistics[q${u} * 2u + 1u];`)}
    ${times(step, (u) => `${gather(plan, `q${u}`, 'Q', `q${u}`)} ${gather(plan, `o${u}`, 'dO', `q${u}`)} ${bias ? gatherBias(spec, plan, u) : ''}`)}
    ${both((u, t) => `var s${u}_${t} = ${bias ? `${biasAt(spec, plan, u, t)} - lse${u}` : `-lse${u}`}; var d${u}_${t} = -delta${u};`)}
    ${dots(plan, 'q', 'keys', 's')}
    ${dots(plan, 'o', 'values', 'd')}
    ${both((u, t) => `let w${u}_${t} = exp(s${u}_${t}); let z${u}_${t} = w${u}_${t} * d${u}_${t};`)}
    ${accumulate(plan, 'valueSums', { name: 'o', weight: 'w' })}
    ${accumulate(plan, 'keySums', { name: 'q', weight: 'z' })}
  }
  ${unpack(plan, 'keySums', 'dK', 'Nk', 'p.scale')}
  ${unpack(plan, 'valueSums', 'dV', 'Nk', '1.0')}
}`;
  return program('attention key gradient', spec, plan, spec.Nk, wgsl);
}
