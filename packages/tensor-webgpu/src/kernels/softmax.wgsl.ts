import type { Program } from '../program.ts';

/** Rows of C values and who works on one. */
export interface SoftmaxSpec {
  readonly rows: number;
  readonly C: number;
  readonly team: Team;
}

/** Invocations that share a row, a workgroup of them, and how they add up: across a subgroup or through workgroup memory. */
export interface Team {
  readonly size: number;
  readonly by: 'subgroup' | 'memory';
}

const mostGroups = 1024; // each takes every 1024th row
const unroll = 4; // loads a turn: the loop's bookkeeping costs as much as one load on lavapipe

const vectorOf = (C: number): boolean => C % 4 === 0;
const unrolled = (text: (k: number) => string, joint = ' '): string =>
  Array.from({ length: unroll }, (_, k) => text(k)).join(joint);

/** WGSL of `most(x)` and `total(x)`: the largest and the sum of one value of each of the team's. */
function teamFunctions({ size, by }: Team): string {
  const halves = Array.from({ length: Math.log2(size) }, (_, i) => 2 ** i);
  if (by === 'subgroup') {
    return `fn most(own: f32) -> f32 { var x = own; ${halves.map((n) => `x = max(x, subgroupShuffleXor(x, ${n}u));`).join(' ')} return x; }
fn total(own: f32) -> f32 { var x = own; ${halves.map((n) => `x += subgroupShuffleXor(x, ${n}u);`).join(' ')} return x; }`;
  }
  const fold = (name: string, step: (a: string, b: string) => string) => `fn ${name}(own: f32) -> f32 {
  team[lane] = own;
  workgroupBarrier();
  for (var half = ${size / 2}u; half > 0u; half /= 2u) {
    if (lane < half) { team[lane] = ${step('team[lane]', 'team[lane + half]')}; }
    workgroupBarrier();
  }
  let x = team[0];
  workgroupBarrier();
  return x;
}`;
  return `var<workgroup> team: array<f32, ${size}>;
${fold('most', (a, b) => `max(${a}, ${b})`)}
${fold('total', (a, b) => `${a} + ${b}`)}`;
}

/** A shader whose `body` sees `base`, where the row begins, and `each` of its units in turn. */
function rowProgram(
  { rows, C, team }: SoftmaxSpec,
  parts: { label: string; inputs: readonly string[]; output: string; body: string },
): Program {
  const { label, inputs, output, body } = parts;
  const type = vectorOf(C) ? 'vec4f' : 'f32';
  const units = vectorOf(C) ? C / 4 : C;
  const step = team.size * unroll;
  const wgsl = `${team.by === 'subgroup' ? 'enable subgroups;' : ''}
${[...inputs, output]
  .map(
    (name, i) =>
      `@group(0) @binding(${i}) var<storage, ${i < inputs.length ? 'read' : 'read_write'}> ${name}: array<${type}>;`,
  )
  .join('\n')}
@group(0) @binding(${inputs.length + 1}) var<uniform> p: vec4u; // rows, units a row, those of them in whole turns of ${step}
var<private> lane: u32;
${teamFunctions(team)}
fn across(x: ${type}) -> f32 { return ${vectorOf(C) ? 'x.x + x.y + x.z + x.w' : 'x'}; }
fn largest(x: ${type}) -> f32 { return ${vectorOf(C) ? 'max(max(x.x, x.y), max(x.z, x.w))' : 'x'}; }
@compute @workgroup_size(${team.size})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) index: u32) {
  lane = index;
  for (var row = group.x; row < p.x; row += groups.x) {
    let base = row * p.y + lane;
    ${body}
  }
}`;
  return {
    label,
    wgsl,
    workgroups: [Math.min(rows, mostGroups), 1, 1],
    uniforms: new Uint32Array([rows, units, units - (units % step), 0]),
  };
}

/** Loops over the lane's units: `whole` for those at base + i, base + i + size, … together, `rest` for the one at base + i. */
const loops = ({ size }: Team, whole: string, rest: string): string =>
  `for (var i = 0u; i < p.z; i += ${size * unroll}u) { ${whole} }
    for (var i = p.z; i + lane < p.y; i += ${size}u) { ${rest} }`;

/**
 * [x] -> [softmax(x)] or its logarithm. The first pass keeps the largest value so far and the sum of exponentials below it,
 * the second writes.
 */
export function softmaxForward(spec: SoftmaxSpec, logarithm: boolean): Program {
  const { team } = spec;
  const at = (k: number) => `x[base + i + ${k * team.size}u]`;
  const online = (count: number) => {
    const names = Array.from({ length: count }, (_, k) => `v${k}`);
    return `${names.map((name, k) => `let ${name} = ${at(k)};`).join(' ')}
      let next = max(top, largest(${names.reduce((a, b) => `max(${a}, ${b})`)}));
      sum = sum * exp(top - next) + across(${names.map((name) => `exp(${name} - next)`).join(' + ')});
      top = next;`;
  };
  const write = (k: number) =>
    `y[base + i + ${k * team.size}u] = ${logarithm ? `(${at(k)} - rowTop) - shift` : `exp(${at(k)} - rowTop) * share`};`;
  return rowProgram(spec, {
    label: logarithm ? 'log softmax' : 'softmax',
    inputs: ['x'],
    output: 'y',
    body: `var top = -3.4028234e38; var sum = 0.0; // finite, so that -Infinity - top is no NaN
    ${loops(team, online(unroll), online(1))}
    let rowTop = most(top);
    let rowSum = total(sum * exp(top - rowTop));
    ${logarithm ? 'let shift = log(rowSum);' : 'let share = 1.0 / rowSum;'}
    ${loops(team, unrolled(write), write(0))}`,
  });
}

/** [y, dy] -> [dx] = (dy - sum(dy y)) y with y the softmax. */
export function softmaxGradient(spec: SoftmaxSpec): Program {
  const { team } = spec;
  const at = (name: string, k: number) => `${name}[base + i + ${k * team.size}u]`;
  const product = (k: number) => `${at('y', k)} * ${at('dy', k)}`;
  const write = (k: number) => `${at('dx', k)} = (${at('dy', k)} - sum) * ${at('y', k)};`;
  return rowProgram(spec, {
    label: 'softmax gradient',
    inputs: ['y', 'dy'],
    output: 'dx',
    body: `var own = 0.0;
    ${loops(team, `own += across(${unrolled(product, ' + ')});`, `own += across(${product(0)});`)}
    let sum = total(own);
    ${loops(team, unrolled(write), write(0))}`,
  });
}
