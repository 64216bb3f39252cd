import { enableHalf, floatType } from '../half.wgsl.ts';
import type { Program } from '../program.ts';

/** Rows of C values, normalised one by one. */
export interface LayerNormSpec {
  readonly rows: number;
  readonly C: number;
  /** Values between one of a row and its next: 1, or the places of a map when its channels come first. Rows lie as the values do. */
  readonly step: number;
  readonly epsilon: number;
  /** Invocations that share a row: 1 on a CPU adapter, where barriers are slow and loads cost the same in any order. */
  readonly team: 1 | 64;
  /** Forward: x and y are in half precision. */
  readonly half: boolean;
}

const aloneWidth = 32; // rows a workgroup when each has one invocation
const columnWidth = 32;
const chunkRows = 64; // rows that one partial sum covers, at least
const mostChunks = 64;

const vectorOf = ({ C, step }: LayerNormSpec) => step === 1 && C % 4 === 0;

/** WGSL: where a row begins, and its value i, or four of them. */
const begin = ({ step }: LayerNormSpec) =>
  step === 1 ? 'row * p.units' : 'row / p.step * p.units * p.step + row % p.step';
const at = ({ step }: LayerNormSpec, i: string) => (step === 1 ? `base + ${i}` : `base + ${i} * p.step`);

function uniforms(spec: LayerNormSpec, extra: number): Uint32Array<ArrayBuffer> {
  const words = new Uint32Array([spec.rows, vectorOf(spec) ? spec.C / 4 : spec.C, extra, 0, spec.step, 0, 0, 0]);
  new Float32Array(words.buffer)[3] = spec.epsilon;
  return words;
}

function header(spec: LayerNormSpec, inputs: readonly string[], outputs: readonly string[]): string {
  const type = floatType(false, vectorOf(spec));
  const typeOf = (name: string) => {
    if (name === 'statistics') return 'vec2f';
    return floatType(spec.half && (name === 'x' || name === 'y'), vectorOf(spec));
  };
  return `${enableHalf(spec.half)}struct Sizes { rows: u32, units: u32, extra: u32, epsilon: f32, step: u32, unused0: u32, unused1: u32, unused2: u32 };
${[...inputs, ...outputs]
  .map((name, i) => {
    const access = i < inputs.length ? 'read' : 'read_write';
    return `@group(0) @binding(${i}) var<storage, ${access}> ${name}: array<${typeOf(name)}>;`;
  })
  .join('\n')}
@group(0) @binding(${inputs.length + outputs.length}) var<uniform> p: Sizes;
fn across(x: ${type}) -> f32 { return ${vectorOf(spec) ? 'x.x + x.y + x.z + x.w' : 'x'}; }`;
}

/** A workgroup's way to its row(s), with `total` summing over the row's team. */
function rowEntry({ team }: LayerNormSpec): string {
  if (team === 1) {
    return `fn total(x: f32, lane: u32) -> f32 { return x; }
@compute @workgroup_size(${aloneWidth})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let row = (group.x + group.y * groups.x) * ${aloneWidth}u + local; let lane = 0u;
  if (row >= p.rows) { return; }`;
  }
  return `var<workgroup> shared_sums: array<f32, ${team}>;
fn total(x: f32, lane: u32) -> f32 {
  shared_sums[lane] = x;
  workgroupBarrier();
  for (var half = ${team / 2}u; half > 0u; half /= 2u) {
    if (lane < half) { shared_sums[lane] += shared_sums[lane + half]; }
    workgroupBarrier();
  }
  let sum = shared_sums[0];
  workgroupBarrier();
  return sum;
}
@compute @workgroup_size(${team})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group.x + group.y * groups.x;
  if (row >= p.rows) { return; }`;
}

function rowGrid({ rows, team }: LayerNormSpec): [number, number, number] {
  const groups = team === 1 ? Math.ceil(rows / aloneWidth) : rows;
  const x = Math.min(groups, 32768);
  return [x, Math.ceil(groups / x), 1];
}

const units = (spec: LayerNormSpec, body: string): string =>
  `for (var i = lane; i < p.units; i += ${spec.team}u) { ${body} }`;

/** [x, scale, offset] -> [y, statistics [rows, 2]: mean and 1 / sqrt(variance + epsilon)]. The variance takes its own pass. */
export function layerNormForward(spec: LayerNormSpec): Program {
  const { half } = spec;
  const type = floatType(false, vectorOf(spec));
  const x = `${type}(x[${at(spec, 'i')}])`;
  const wgsl = `${header(spec, ['x', 'scale', 'offset'], ['y', 'statistics'])}
${rowEntry(spec)}
  let base = ${begin(spec)}; let inverseC = 1.0 / ${vectorOf(spec) ? 'f32(p.units * 4u)' : 'f32(p.units)'};
  var sum = ${type}();
  ${units(spec, `sum += ${x};`)}
  let mean = total(across(sum), lane) * inverseC;
  var squares = ${type}();
  ${units(spec, `let d = ${x} - mean; squares += d * d;`)}
  let inverse = inverseSqrt(total(across(squares), lane) * inverseC + p.epsilon);
  ${units(spec, `y[${at(spec, 'i')}] = ${floatType(half, vectorOf(spec))}((${x} - mean) * inverse * scale[i] + offset[i]);`)}
  if (lane == 0u) { statistics[row] = vec2f(mean, inverse); }
}`;
  return {
    label: 'layer norm',
    wgsl,
    workgroups: rowGrid(spec),
    uniforms: uniforms(spec, 0),
    half: [half, false, false, half, false],
  };
}

/** [x, dy, scale, statistics] -> [dx]: with n the normalised x and g = dy scale, dx = (g - mean(g) - n mean(g n)) inverse. */
export function layerNormInputGradient(spec: LayerNormSpec): Program {
  const zero = vectorOf(spec) ? 'vec4f()' : '0.0';
  const k = at(spec, 'i');
  const wgsl = `${header(spec, ['x', 'dy', 'scale', 'statistics'], ['dx'])}
${rowEntry(spec)}
  let base = ${begin(spec)}; let inverseC = 1.0 / ${vectorOf(spec) ? 'f32(p.units * 4u)' : 'f32(p.units)'};
  let mean = statistics[row].x; let inverse = statistics[row].y;
  var sum = ${zero}; var product = ${zero};
  ${units(spec, `let g = dy[${k}] * scale[i]; sum += g; product += g * (x[${k}] - mean);`)}
  let a = total(across(sum), lane) * inverseC;
  let b = total(across(product), lane) * inverseC * inverse * inverse;
  ${units(spec, `dx[${k}] = (dy[${k}] * scale[i] - a - (x[${k}] - mean) * b) * inverse;`)}
}`;
  return { label: 'layer norm input gradient', wgsl, workgroups: rowGrid(spec), uniforms: uniforms(spec, 0) };
}

/** Row chunks of the parameters' gradient. */
export const layerNormChunks = ({ rows }: LayerNormSpec): number =>
  Math.max(1, Math.min(mostChunks, Math.ceil(rows / chunkRows)));

/** [x, dy, statistics] -> [scale's [chunks, C], offset's [chunks, C]]: the parameters' gradients, a chunk of rows at a time. */
export function layerNormPartialSums(spec: LayerNormSpec): Program {
  const zero = vectorOf(spec) ? 'vec4f()' : '0.0';
  const chunks = layerNormChunks(spec);
  const wgsl = `${header(spec, ['x', 'dy', 'statistics'], ['dScale', 'dOffset'])}
@compute @workgroup_size(${columnWidth})
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= p.units) { return; }
  var scaled = ${zero}; var plain = ${zero};
  for (var row = id.y * p.extra; row < min((id.y + 1u) * p.extra, p.rows); row++) {
    let base = ${begin(spec)};
    let g = dy[${at(spec, 'id.x')}];
    let s = statistics[row];
    plain += g;
    scaled += g * (x[${at(spec, 'id.x')}] - s.x) * s.y;
  }
  dScale[id.y * p.units + id.x] = scaled; dOffset[id.y * p.units + id.x] = plain;
}`;
  const grid = Math.ceil((vectorOf(spec) ? spec.C / 4 : spec.C) / columnWidth);
  return {
    label: 'layer norm partial sums',
    wgsl,
    workgroups: [grid, chunks, 1],
    uniforms: uniforms(spec, Math.ceil(spec.rows / chunks)),
  };
}

/** [scale's [chunks, C], offset's [chunks, C]] -> [scale's [C], offset's [C]]. */
export function layerNormTotals(spec: LayerNormSpec): Program {
  const zero = vectorOf(spec) ? 'vec4f()' : '0.0';
  const wgsl = `${header(spec, ['scalePart', 'offsetPart'], ['dScale', 'dOffset'])}
@compute @workgroup_size(${columnWidth})
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= p.units) { return; }
  var scaled = ${zero}; var plain = ${zero};
  for (var chunk = 0u; chunk < p.extra; chunk++) {
    scaled += scalePart[chunk * p.units + id.x]; plain += offsetPart[chunk * p.units + id.x];
  }
  dScale[id.x] = scaled; dOffset[id.x] = plain;
}`;
  const grid = Math.ceil((vectorOf(spec) ? spec.C / 4 : spec.C) / columnWidth);
  return {
    label: 'layer norm totals',
    wgsl,
    workgroups: [grid, 1, 1],
    uniforms: uniforms(spec, layerNormChunks(spec)),
  };
}
