import { linearDispatch, threads } from './kernels/dispatch.ts';
import type { Program } from './program.ts';

/** WGSL's type of a float binding's elements, in float32 or in half precision. */
export const floatType = (half: boolean, wide: boolean): 'f32' | 'vec4f' | 'f16' | 'vec4<f16>' => {
  if (half) return wide ? 'vec4<f16>' : 'f16';
  return wide ? 'vec4f' : 'f32';
};

/** What a text begins with when bindings of it are in half precision. */
export const enableHalf = (half: boolean): string => (half ? 'enable f16;\n' : '');

/** [x] -> [x in half precision]; beyond 65504 it is infinity. */
export const toHalf = (elements: number): Program => convert('to half', elements, [false, true]);

/** [x in half precision] -> [x]. */
export const fromHalf = (elements: number): Program => convert('from half', elements, [true, false]);

function convert(label: string, elements: number, half: readonly [boolean, boolean]): Program {
  const units = Math.ceil(elements / 4); // the buffers' padding takes the rest of the last
  const { workgroups, row } = linearDispatch(units);
  const [from, to] = half.map((isHalf) => floatType(isHalf, true));
  return {
    label,
    wgsl: `${enableHalf(true)}@group(0) @binding(0) var<storage, read> x: array<${from}>;
@group(0) @binding(1) var<storage, read_write> y: array<${to}>;
@group(0) @binding(2) var<uniform> p: vec4u; // vectors, invocations a row of workgroups
@compute @workgroup_size(${threads})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x + id.y * p.y;
  if (i < p.x) { y[i] = ${to}(x[i]); }
}`,
    workgroups,
    uniforms: new Uint32Array([units, row, 0, 0]),
    half,
  };
}
