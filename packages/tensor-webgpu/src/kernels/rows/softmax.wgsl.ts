import { memoised } from '../../program/memoised.ts';
import { dispatching, type Program } from '../../program/program.ts';
import { type Shader, shader } from '../../program/shader.ts';
import { floatType, type UniformType } from '../../program/types.wgsl.ts';

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

/** What the texts depend on. */
interface SoftmaxText extends Team {
  readonly vector: boolean;
  readonly logarithm: boolean;
}

const textOf = ({ C, team: { size, by } }: SoftmaxSpec, logarithm = false): SoftmaxText => ({
  ...{ size, by, logarithm },
  vector: C % 4 === 0,
});
const unrolled = (text: (k: number) => string, joint = ' '): string =>
  Array.from({ length: unroll }, (_, k) => text(k)).join(joint);

/** WGSL of `most(x)` and `total(x)`: the largest and the sum of one value of each of the team's. */
function teamFunctions({ size, by }: Team): string {
  const halves = Array.from({ length: Math.log2(size) }, (_, i) => 2 ** i);
  if (by === 'subgroup' || size === 1) {
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

/** `units` make a row, `turns` of them are in whole turns of the team. */
const uniformTypes = { rows: 'u32', units: 'u32', turns: 'u32' } as const satisfies Record<string, UniformType>;

/** A shader whose `body` sees `base`, where the row begins, and `each` of its units in turn. */
function rowShader(
  { vector, ...team }: SoftmaxText,
  { label, inputs, output, body }: { label: string; inputs: readonly string[]; output: string; body: string },
): Shader<keyof typeof uniformTypes> {
  const type = floatType(false, vector);
  return shader({
    label,
    enable: team.by === 'subgroup' ? ['subgroups'] : [],
    inputs: Object.fromEntries(inputs.map((name) => [name, type])),
    outputs: { [output]: type },
    uniforms: uniformTypes,
    body: `var<private> lane: u32;
${teamFunctions(team)}
fn across(x: ${type}) -> f32 { return ${vector ? 'x.x + x.y + x.z + x.w' : 'x'}; }
fn largest(x: ${type}) -> f32 { return ${vector ? 'max(max(x.x, x.y), max(x.z, x.w))' : 'x'}; }
@compute @workgroup_size(${team.size})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) index: u32) {
  lane = index;
  for (var row = group.x; row < p.rows; row += groups.x) {
    let base = row * p.units + lane;
    ${body}
  }
}`,
  });
}

function rowProgram(made: Shader<keyof typeof uniformTypes>, { rows, C, team }: SoftmaxSpec): Program {
  const units = C % 4 === 0 ? C / 4 : C;
  return dispatching(made, {
    workgroups: [Math.min(rows, mostGroups), 1, 1],
    uniforms: { rows, units, turns: units - (units % (team.size * unroll)) },
  });
}

/** Loops over the lane's units: `whole` for those at base + i, base + i + size, … together, `rest` for the one at base + i. */
const loops = ({ size }: Team, whole: string, rest: string): string =>
  `for (var i = 0u; i < p.turns; i += ${size * unroll}u) { ${whole} }
    for (var i = p.turns; i + lane < p.units; i += ${size}u) { ${rest} }`;

/**
 * [x] -> [softmax(x)] or its logarithm. The first pass keeps the largest value so far and the sum of exponentials below it,
 * the second writes.
 */
export const softmaxForward = (spec: SoftmaxSpec, logarithm: boolean): Program =>
  rowProgram(forwardShader(textOf(spec, logarithm)), spec);

const forwardShader = memoised((text: SoftmaxText) => {
  const { logarithm } = text;
  const at = (k: number) => `x[base + i + ${k * text.size}u]`;
  const online = (count: number) => {
    const names = Array.from({ length: count }, (_, k) => `v${k}`);
    return `${names.map((name, k) => `let ${name} = ${at(k)};`).join(' ')}
      let next = max(top, largest(${names.reduce((a, b) => `max(${a}, ${b})`)}));
      sum = sum * exp(top - next) + across(${names.map((name) => `exp(${name} - next)`).join(' + ')});
      top = next;`;
  };
  const write = (k: number) =>
    `y[base + i + ${k * text.size}u] = ${logarithm ? `(${at(k)} - rowTop) - shift` : `exp(${at(k)} - rowTop) * share`};`;
  return rowShader(text, {
    label: logarithm ? 'log softmax' : 'softmax',
    inputs: ['x'],
    output: 'y',
    body: `var top = -3.4028234e38; var sum = 0.0; // finite, so that -Infinity - top is no NaN
    ${loops(text, online(unroll), online(1))}
    let rowTop = most(top);
    let rowSum = total(sum * exp(top - rowTop));
    ${logarithm ? 'let shift = log(rowSum);' : 'let share = 1.0 / rowSum;'}
    ${loops(text, unrolled(write), write(0))}`,
  });
});

/** [y, dy] -> [dx] = (dy - sum(dy y)) y with y the softmax. */
export const softmaxGradient = (spec: SoftmaxSpec): Program => rowProgram(gradientShader(textOf(spec)), spec);

const gradientShader = memoised((text: SoftmaxText) => {
  const at = (name: string, k: number) => `${name}[base + i + ${k * text.size}u]`;
  const product = (k: number) => `${at('y', k)} * ${at('dy', k)}`;
  const write = (k: number) => `${at('dx', k)} = (${at('dy', k)} - sum) * ${at('y', k)};`;
  return rowShader(text, {
    label: 'softmax gradient',
    inputs: ['y', 'dy'],
    output: 'dx',
    body: `var own = 0.0;
    ${loops(text, `own += across(${unrolled(product, ' + ')});`, `own += across(${product(0)});`)}
    let sum = total(own);
    ${loops(text, unrolled(write), write(0))}`,
  });
});
