import { memoised } from '../../program/memoised.ts';
import { dispatching, type Program } from '../../program/program.ts';
import { type Shader, shader } from '../../program/shader.ts';
import { type ElementType, floatType, type UniformType } from '../../program/types.wgsl.ts';

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

/** What the texts depend on. */
interface LayerNormText extends Pick<LayerNormSpec, 'team' | 'half'> {
  /** Values of a row are read four at a time. */
  readonly vector: boolean;
  /** The values of a row lie apart. */
  readonly apart: boolean;
}

const textOf = ({ C, step, team, half }: LayerNormSpec): LayerNormText => ({
  ...{ team, half, apart: step !== 1 },
  vector: step === 1 && C % 4 === 0,
});
const unitsOf = (spec: LayerNormSpec): number => (textOf(spec).vector ? spec.C / 4 : spec.C);

/** WGSL: where a row begins, and its value i, or four of them. */
const begin = ({ apart }: LayerNormText) =>
  apart ? 'row / p.step * p.units * p.step + row % p.step' : 'row * p.units';
const at = ({ apart }: LayerNormText, i: string) => (apart ? `base + ${i} * p.step` : `base + ${i}`);

const uniformTypes = {
  rows: 'u32',
  units: 'u32',
  chunkRows: 'u32',
  chunks: 'u32',
  step: 'u32',
  epsilon: 'f32',
} as const satisfies Record<string, UniformType>;

function uniforms(spec: LayerNormSpec): Record<keyof typeof uniformTypes, number> {
  const { rows, step, epsilon } = spec;
  const chunks = layerNormChunks(spec);
  return { rows, units: unitsOf(spec), chunkRows: Math.ceil(rows / chunks), chunks, step, epsilon };
}

function layerNormShader(
  text: LayerNormText,
  parts: { label: string; inputs: readonly string[]; outputs: readonly string[]; body: string },
): Shader<keyof typeof uniformTypes> {
  const { vector, half } = text;
  const typeOf = (name: string): ElementType => {
    if (name === 'statistics') return 'vec2f';
    return floatType(half && (name === 'x' || name === 'y'), vector);
  };
  const typed = (names: readonly string[]) => Object.fromEntries(names.map((name) => [name, typeOf(name)]));
  return shader({
    label: parts.label,
    inputs: typed(parts.inputs),
    outputs: typed(parts.outputs),
    uniforms: uniformTypes,
    body: `fn across(x: ${floatType(false, vector)}) -> f32 { return ${vector ? 'x.x + x.y + x.z + x.w' : 'x'}; }
${parts.body}`,
  });
}

/** A workgroup's way to its row(s), with `total` summing over the row's team. */
function rowEntry({ team }: LayerNormText): string {
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

const units = (spec: LayerNormText, body: string): string =>
  `for (var i = lane; i < p.units; i += ${spec.team}u) { ${body} }`;

/** WGSL of 1 / C. */
const inverseC = ({ vector }: LayerNormText): string => `1.0 / f32(p.units${vector ? ' * 4u' : ''})`;

/** [x, scale, offset] -> [y, statistics [rows, 2]: mean and 1 / sqrt(variance + epsilon)]. The variance takes its own pass. */
export const layerNormForward = (spec: LayerNormSpec): Program =>
  dispatching(forwardShader(textOf(spec)), { workgroups: rowGrid(spec), uniforms: uniforms(spec) });

const forwardShader = memoised((text: LayerNormText) => {
  const { half, vector } = text;
  const type = floatType(false, vector);
  const x = `${type}(x[${at(text, 'i')}])`;
  return layerNormShader(text, {
    label: 'layer norm',
    inputs: ['x', 'scale', 'offset'],
    outputs: ['y', 'statistics'],
    body: `${rowEntry(text)}
  let base = ${begin(text)};
  let inverseC = ${inverseC(text)};
  var sum = ${type}();
  ${units(text, `sum += ${x};`)}
  let mean = total(across(sum), lane) * inverseC;
  var squares = ${type}();
  ${units(text, `let d = ${x} - mean; squares += d * d;`)}
  let inverse = inverseSqrt(total(across(squares), lane) * inverseC + p.epsilon);
  ${units(text, `y[${at(text, 'i')}] = ${floatType(half, vector)}((${x} - mean) * inverse * scale[i] + offset[i]);`)}
  if (lane == 0u) { statistics[row] = vec2f(mean, inverse); }
}`,
  });
});

/** [x, dy, scale, statistics] -> [dx]: with n the normalised x and g = dy scale, dx = (g - mean(g) - n mean(g n)) inverse. */
export const layerNormInputGradient = (spec: LayerNormSpec): Program =>
  dispatching(inputGradientShader(textOf(spec)), { workgroups: rowGrid(spec), uniforms: uniforms(spec) });

const inputGradientShader = memoised((text: LayerNormText) => {
  const type = floatType(false, text.vector);
  const k = at(text, 'i');
  return layerNormShader(text, {
    label: 'layer norm input gradient',
    inputs: ['x', 'dy', 'scale', 'statistics'],
    outputs: ['dx'],
    body: `${rowEntry(text)}
  let base = ${begin(text)};
  let inverseC = ${inverseC(text)};
  let mean = statistics[row].x;
  let inverse = statistics[row].y;
  var sum = ${type}();
  var product = ${type}();
  ${units(text, `let g = dy[${k}] * scale[i]; sum += g; product += g * (x[${k}] - mean);`)}
  let a = total(across(sum), lane) * inverseC;
  let b = total(across(product), lane) * inverseC * inverse * inverse;
  ${units(text, `dx[${k}] = (dy[${k}] * scale[i] - a - (x[${k}] - mean) * b) * inverse;`)}
}`,
  });
});

/** Row chunks of the parameters' gradient. */
export const layerNormChunks = ({ rows }: LayerNormSpec): number =>
  Math.max(1, Math.min(mostChunks, Math.ceil(rows / chunkRows)));

const columnGroups = (spec: LayerNormSpec): number => Math.ceil(unitsOf(spec) / columnWidth);

/** [x, dy, statistics] -> [scale's [chunks, C], offset's [chunks, C]]: the parameters' gradients, a chunk of rows at a time. */
export const layerNormPartialSums = (spec: LayerNormSpec): Program =>
  dispatching(partialSumsShader(textOf(spec)), {
    workgroups: [columnGroups(spec), layerNormChunks(spec), 1],
    uniforms: uniforms(spec),
  });

const partialSumsShader = memoised((text: LayerNormText) => {
  const type = floatType(false, text.vector);
  return layerNormShader(text, {
    label: 'layer norm partial sums',
    inputs: ['x', 'dy', 'statistics'],
    outputs: ['dScale', 'dOffset'],
    body: `@compute @workgroup_size(${columnWidth})
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= p.units) { return; }
  var scaled = ${type}();
  var plain = ${type}();
  for (var row = id.y * p.chunkRows; row < min((id.y + 1u) * p.chunkRows, p.rows); row++) {
    let base = ${begin(text)};
    let g = dy[${at(text, 'id.x')}];
    let s = statistics[row];
    plain += g;
    scaled += g * (x[${at(text, 'id.x')}] - s.x) * s.y;
  }
  dScale[id.y * p.units + id.x] = scaled;
  dOffset[id.y * p.units + id.x] = plain;
}`,
  });
});

/** [scale's [chunks, C], offset's [chunks, C]] -> [scale's [C], offset's [C]]. */
export const layerNormTotals = (spec: LayerNormSpec): Program =>
  dispatching(totalsShader(textOf(spec)), { workgroups: [columnGroups(spec), 1, 1], uniforms: uniforms(spec) });

const totalsShader = memoised((text: LayerNormText) => {
  const type = floatType(false, text.vector);
  return layerNormShader(text, {
    label: 'layer norm totals',
    inputs: ['scalePart', 'offsetPart'],
    outputs: ['dScale', 'dOffset'],
    body: `@compute @workgroup_size(${columnWidth})
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= p.units) { return; }
  var scaled = ${type}();
  var plain = ${type}();
  for (var chunk = 0u; chunk < p.chunks; chunk++) {
    scaled += scalePart[chunk * p.units + id.x];
    plain += offsetPart[chunk * p.units + id.x];
  }
  dScale[id.x] = scaled;
  dOffset[id.x] = plain;
}`,
  });
});
