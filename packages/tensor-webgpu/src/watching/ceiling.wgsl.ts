import { dispatching, type Program } from '../program/program.ts';
import { shader } from '../program/shader.ts';

const lanes = 256;
const chains = 3; // of vec4: 12 independent sums hide the latency of CPU and GPU pipelines, and stay in registers
const unrolled = 8;

/** Multiply-adds in registers alone. The result is a float of each of the `groups` x 256 invocations. */
export const arithmeticCeiling = ({ groups, rounds }: { groups: number; rounds: number }): Program =>
  dispatching(arithmetic, {
    workgroups: [groups, 1, 1],
    uniforms: { rounds },
    flops: groups * lanes * rounds * unrolled * chains * 4 * 2,
  });

const sums = Array.from({ length: chains }, (_, i) => `s${i}`);

const arithmetic = shader({
  label: 'ceiling: arithmetic',
  inputs: { seed: 'vec4f' },
  outputs: { result: 'f32' },
  uniforms: { rounds: 'u32' },
  body: `@compute @workgroup_size(${lanes})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let factor = seed[id.x % arrayLength(&seed)]; // by lane: else AMD computes it once a wave
  ${sums.map((sum, i) => `var ${sum} = factor + f32(${i});`).join('\n')}
  for (var round = 0u; round < p.rounds; round++) {
    ${sums
      .map((sum) => `${sum} = fma(${sum}, factor, factor);\n`)
      .join('')
      .repeat(unrolled)}
  }
  let sum = ${sums.join(' + ')};
  result[id.x] = sum.x + sum.y + sum.z + sum.w;
}`,
});

/** A copy of `groups` x 256 vectors of 4 floats. */
export const memoryCeiling = (groups: number): Program =>
  dispatching(memory, { workgroups: [groups, 1, 1], uniforms: {} });

const memory = shader({
  label: 'ceiling: memory',
  inputs: { source: 'vec4f' },
  outputs: { copied: 'vec4f' },
  body: `@compute @workgroup_size(${lanes})
fn main(@builtin(global_invocation_id) id: vec3u) {
  copied[id.x] = source[id.x];
}`,
});
