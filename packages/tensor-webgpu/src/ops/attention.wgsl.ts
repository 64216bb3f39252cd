import type { Program } from '../program.ts';

/** Sizes of G independent attentions of Nq queries over Nk = kh x kw keys (without bias: 1 x Nk). */
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
}

const portableWidth = 64;
const bodyPairs = 1024; // unrolled multiply-adds beyond this lose half the speed on CPU adapters

function planOf(spec: AttentionSpec, rows: number, products: number, step: number): Plan {
  const { D, lanes, bias } = spec;
  const vector = D % 4 === 0;
  if (lanes === 0) return { D, lanes, width: portableWidth, own: 1, step: 1, bias, vector };
  const most = Math.max(1, Math.min(8, Math.floor(bodyPairs / (products * D * step))));
  const panels = Math.ceil(rows / (lanes * most));
  return { D, lanes, width: lanes, own: Math.ceil(rows / (lanes * panels)), step, bias, vector };
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

/** Streams the keys past owned queries, row of keys by row of keys; `body` sees `column<u>`, `key<u>` and scores `s<u>_<t>`. */
function streamKeys(plan: Plan, body: string, perRow = '', afterRow = ''): string {
  const { own, step, bias } = plan;
  const start = (u: number, t: number) => (bias ? `h${t} + W[i${t} * p.kw + column${u}]` : '0.0');
  return `for (var y = 0u; y < p.kh; y++) {
    ${bias ? times(own, (t) => `let h${t} = H[i${t} * p.kh + y];`, ' ') : ''} ${perRow}
    for (var x = 0u; x < p.kw; x += ${step}u) {
      ${times(step, (u) => `let column${u} = min(x + ${u}u, p.kw - 1u); let key${u} = g * p.Nk + y * p.kw + column${u};`, ' ')}
      ${times(step, (u) => `${gather(plan, `k${u}`, 'K', `key${u}`)} ${gather(plan, `v${u}`, 'V', `key${u}`)}`)}
      ${times(step, (u) => times(own, (t) => `var s${u}_${t} = ${start(u, t)};`, ' '))}
      ${dots(plan, 'k', 'query', 's')}
      ${times(step - 1, (u) => `if (x + ${u + 1}u >= p.kw) { ${times(own, (t) => `s${u + 1}_${t} = -1e30;`, ' ')} }`)}
      ${body}
    }
    ${afterRow}
  }`;
}

/**
 * Forward: [query, key, value (, height, width)] -> [output [G, Nq, D], log-sum-exp [G, Nq]].
 *
 * The softmax is online: the sums so far are rescaled whenever `step` keys raise the maximum.
 */
export function attentionForward(spec: AttentionSpec): Program {
  const plan = planOf(spec, spec.Nq, 2, 2);
  const { D, own, step, bias } = plan;
  const each = (text: (t: number) => string) => times(own, text, ' ');
  const overSteps = (text: (u: number) => string, joint: string) => times(step, text, joint);
  const wgsl = `${header(plan, bias ? ['Q', 'K', 'V', 'H', 'W'] : ['Q', 'K', 'V'], ['O', 'L'])}
var<private> query: array<f32, ${D * own}>; // scaled
var<private> sums: array<f32, ${D * own}>;
var<private> inverse: array<f32, ${own}>;
${prologue(plan, 'Nq')}
  ${pack(plan, 'query', 'Q', 'Nq', ' * p.scale')}
  ${clear(plan, 'sums')}
  ${each((t) => `var top${t} = -1e30; var total${t} = 0.0;`)}
  ${streamKeys(
    plan,
    `${each((t) => `let new${t} = max(top${t}, ${step === 1 ? `s0_${t}` : `max(s0_${t}, s1_${t})`}); let f${t} = exp(top${t} - new${t}); top${t} = new${t};`)}
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
  const plan = planOf(spec, spec.Nq, 3, 1);
  const { D, own, bias } = plan;
  const each = (text: (t: number) => string) => times(own, text, ' ');
  const inputs = ['Q', 'K', 'V', 'dO', 'statistics'];
  const wgsl = `${header(plan, bias ? [...inputs, 'H', 'W'] : inputs, bias ? ['dQ', 'dH', 'dW'] : ['dQ'])}
var<private> query: array<f32, ${D * own}>; // scaled
var<private> gradient: array<f32, ${D * own}>;
var<private> sums: array<f32, ${D * own}>;
${prologue(plan, 'Nq')}
  ${pack(plan, 'query', 'Q', 'Nq', ' * p.scale')}
  ${pack(plan, 'gradient', 'dO', 'Nq')}
  ${clear(plan, 'sums')}
  ${each((t) => `let lse${t} = statistics[i${t} * 2u]; let delta${t} = statistics[i${t} * 2u + 1u]; let inside${t} = first + ${t * plan.width}u < p.Nq;`)}
  ${streamKeys(
    plan,
    `${each((t) => `var d0_${t} = -delta${t};`)}
      ${dots(plan, 'v', 'gradient', 'd')}
      ${each((t) => `let w0_${t} = d0_${t} * exp(s0_${t} - lse${t});`)}
      ${bias ? each((t) => `dh${t} += w0_${t}; if (inside${t}) { let at = i${t} * p.kw + column0; if (y == 0u) { dW[at] = w0_${t}; } else { dW[at] += w0_${t}; } }`) : ''}
      ${accumulate(plan, 'sums', { name: 'k', weight: 'w' })}`,
    bias ? each((t) => `var dh${t} = 0.0;`) : '',
    bias ? each((t) => `if (inside${t}) { dH[i${t} * p.kh + y] = dh${t}; }`) : '',
  )}
  ${unpack(plan, 'sums', 'dQ', 'Nq', 'p.scale')}
}`;
  return program('attention query gradient', spec, plan, spec.Nq, wgsl);
}

/**
 * Gradients of key and value: [query, key, value, output's gradient, statistics (, height, width)] -> [key's, value's].
 * An invocation owns keys and the queries stream past: dV = sum_q p dO, dK = scale sum_q ds query.
 */
export function attentionKeyGradient(spec: AttentionSpec): Program {
  const plan = planOf(spec, spec.Nk, 4, 1);
  const { D, own, bias } = plan;
  const each = (text: (t: number) => string) => times(own, text, ' ');
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
  for (var q = g * p.Nq; q < (g + 1u) * p.Nq; q++) {
    let lse = statistics[q * 2u]; let delta = statistics[q * 2u + 1u];
    ${gather(plan, 'q0', 'Q', 'q')} ${gather(plan, 'o0', 'dO', 'q')}
    ${each((t) => `var s0_${t} = ${bias ? `H[q * p.kh + y${t}] + W[q * p.kw + x${t}] - lse` : '-lse'}; var d0_${t} = -delta;`)}
    ${dots(plan, 'q', 'keys', 's')}
    ${dots(plan, 'o', 'values', 'd')}
    ${each((t) => `let w0_${t} = exp(s0_${t}); let z0_${t} = w0_${t} * d0_${t};`)}
    ${accumulate(plan, 'valueSums', { name: 'o', weight: 'w' })}
    ${accumulate(plan, 'keySums', { name: 'q', weight: 'z' })}
  }
  ${unpack(plan, 'keySums', 'dK', 'Nk', 'p.scale')}
  ${unpack(plan, 'valueSums', 'dV', 'Nk', '1.0')}
}`;
  return program('attention key gradient', spec, plan, spec.Nk, wgsl);
}
