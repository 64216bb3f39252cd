import type { Program } from './program.ts';

const lanes = 256;
const chains = 3; // of vec4: 12 independent sums hide the latency of CPU and GPU pipelines, and stay in registers
const unrolled = 8;

/** Multiply-adds in registers alone. The result is a float of each of the `groups` x 256 invocations. */
export function arithmeticCeiling({ groups, rounds }: { groups: number; rounds: number }): Program {
  const step = Array.from({ length: chains }, (_, i) => `    s${i} = fma(s${i}, factor, factor);`).join('\n');
  return {
    label: 'ceiling: arithmetic',
    wgsl: `@group(0) @binding(0) var<storage, read> seed: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> result: array<f32>;
@group(0) @binding(2) var<uniform> rounds: vec4u;
@compute @workgroup_size(${lanes})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let factor = seed[0];
${Array.from({ length: chains }, (_, i) => `  var s${i} = factor + f32(${i});`).join('\n')}
  for (var round = 0u; round < rounds.x; round++) {
${Array.from({ length: unrolled }, () => step).join('\n')}
  }
  let sum = ${Array.from({ length: chains }, (_, i) => `s${i}`).join(' + ')};
  result[id.x] = sum.x + sum.y + sum.z + sum.w;
}`,
    workgroups: [groups, 1, 1],
    uniforms: new Uint32Array([rounds, 0, 0, 0]),
    flops: groups * lanes * rounds * unrolled * chains * 4 * 2,
  };
}

/** A copy of `groups` x 256 vectors of 4 floats. */
export function memoryCeiling(groups: number): Program {
  return {
    label: 'ceiling: memory',
    wgsl: `@group(0) @binding(0) var<storage, read> source: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> copied: array<vec4f>;
@compute @workgroup_size(${lanes})
fn main(@builtin(global_invocation_id) id: vec3u) {
  copied[id.x] = source[id.x];
}`,
    workgroups: [groups, 1, 1],
  };
}
