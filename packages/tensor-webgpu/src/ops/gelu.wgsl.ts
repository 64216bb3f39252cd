import { enableHalf, floatType } from '../half.wgsl.ts';
import type { Program } from '../program.ts';

const threads = 64;

/**
 * The normal distribution's integral to 1e-7: erf by Abramowitz and Stegun 7.1.26 away from 0, by its series near 0.
 * exp(-x^2 / 2) serves both the integral and the density.
 */
const functions = `
fn integral(x: vec4f, bell: vec4f) -> vec4f {
  let a = abs(x) * 0.70710678;
  let t = 1.0 / (1.0 + 0.3275911 * a);
  let tail = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t * bell;
  let s = a * a;
  let near = a * (1.1283791671 + s * (-0.3761263890 + s * (0.1128379167 + s * (-0.0268661706 + s * (0.0052239776 - s * 0.00085483)))));
  let far = select(0.5 * tail, 1.0 - 0.5 * tail, x >= vec4f());
  return select(far, 0.5 + 0.5 * sign(x) * near, a < vec4f(0.5));
}`;

/** `fn activation(v: vec4f) -> vec4f`, the GELU of a matmul's results. */
export const geluActivation: string = `${functions}
fn activation(v: vec4f) -> vec4f { return v * integral(v, exp(-0.5 * v * v)); }`;

function elementwise(
  label: string,
  elements: number,
  inputs: readonly string[],
  output: string,
  value: string,
  half = false,
): Program {
  const units = Math.ceil(elements / 4);
  const groups = Math.ceil(units / threads);
  const x = Math.min(groups, 32768);
  return {
    label,
    wgsl: `${enableHalf(half)}${[...inputs, output]
      .map(
        (name, i) =>
          `@group(0) @binding(${i}) var<storage, ${i < inputs.length ? 'read' : 'read_write'}> ${name}: array<${floatType(half, true)}>;`,
      )
      .join('\n')}
@group(0) @binding(${inputs.length + 1}) var<uniform> p: vec4u; // vectors, invocations a row of workgroups
${functions}
@compute @workgroup_size(${threads})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x + id.y * p.y;
  if (i >= p.x) { return; }
  let v = vec4f(x[i]);
  let bell = exp(-0.5 * v * v);
  ${output}[i] = ${floatType(half, true)}(${value});
}`,
    workgroups: [x, Math.ceil(groups / Math.max(1, x)), 1],
    uniforms: new Uint32Array([units, x * threads, 0, 0]),
    half: [...inputs, output].map(() => half),
  };
}

/** [x] -> [x Phi(x)] with the normal distribution's integral Phi; `half`: both in half precision. */
export const geluForward = (elements: number, half: boolean): Program =>
  elementwise('gelu', elements, ['x'], 'y', 'v * integral(v, bell)', half);

/** [x, dy] -> [dy (Phi(x) + x phi(x))]. */
export const geluGradient = (elements: number): Program =>
  elementwise('gelu gradient', elements, ['x', 'dy'], 'dx', 'dy[i] * (integral(v, bell) + v * bell * 0.39894228)');
