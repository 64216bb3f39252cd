import type { Program } from '../program.ts';

/** The step's numbers, as `adamStep` folds them. */
export interface AdamSpec {
  readonly beta1: number;
  readonly beta2: number;
  readonly rate: number;
  readonly epsilon: number;
  readonly keep: number;
}

const threads = 64;

/**
 * [weight, gradient, m, v] -> [weight, m, v]. Sizes are the buffers' own (padding is computed along), so that one uniform
 * serves all tensors of a step.
 */
export function adam(elements: number, { beta1, beta2, rate, epsilon, keep }: AdamSpec): Program {
  const groups = Math.ceil(elements / 4 / threads);
  const x = Math.min(groups, 32768);
  const words = new Float32Array([beta1, beta2, 1 - beta1, 1 - beta2, rate, epsilon, keep, 0]);
  return {
    label: 'adam',
    wgsl: `struct Numbers { beta1: f32, beta2: f32, fresh1: f32, fresh2: f32, rate: f32, epsilon: f32, keep: f32, unused: f32 };
@group(0) @binding(0) var<storage, read> weight: array<vec4f>;
@group(0) @binding(1) var<storage, read> gradient: array<vec4f>;
@group(0) @binding(2) var<storage, read> m: array<vec4f>;
@group(0) @binding(3) var<storage, read> v: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> newWeight: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> newM: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> newV: array<vec4f>;
@group(0) @binding(7) var<uniform> p: Numbers;
@compute @workgroup_size(${threads})
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * ${threads}u;
  if (i >= arrayLength(&newWeight)) { return; }
  let g = gradient[i];
  let first = p.beta1 * m[i] + p.fresh1 * g;
  let second = p.beta2 * v[i] + p.fresh2 * g * g;
  newM[i] = first;
  newV[i] = second;
  newWeight[i] = weight[i] * p.keep - p.rate * first / (sqrt(second) + p.epsilon);
}`,
    workgroups: [x, Math.ceil(groups / Math.max(1, x)), 1],
    uniforms: new Uint32Array(words.buffer),
  };
}
