import { linearDispatch, threads } from '../../program/grid.ts';
import { dispatching, type Program } from '../../program/program.ts';
import { shader } from '../../program/shader.ts';

/** The step's numbers, as `adamStep` folds them. */
export interface AdamSpec {
  readonly beta1: number;
  readonly beta2: number;
  readonly rate: number;
  readonly epsilon: number;
  readonly keep: number;
}

/**
 * [weight, gradient, m, v] -> [weight, m, v]. Sizes are the buffers' own (padding is computed along), so that one uniform
 * serves all tensors of a step.
 */
export function adam(elements: number, { beta1, beta2, ...spec }: AdamSpec): Program {
  return dispatching(adamShader, {
    workgroups: linearDispatch(elements / 4).workgroups,
    uniforms: {
      beta1,
      beta2,
      fresh1: 1 - beta1,
      fresh2: 1 - beta2,
      rate: spec.rate,
      epsilon: spec.epsilon,
      keep: spec.keep,
    },
  });
}

const adamShader = shader({
  label: 'adam',
  inputs: { weight: 'vec4f', gradient: 'vec4f', m: 'vec4f', v: 'vec4f' },
  outputs: { newWeight: 'vec4f', newM: 'vec4f', newV: 'vec4f' },
  uniforms: { beta1: 'f32', beta2: 'f32', fresh1: 'f32', fresh2: 'f32', rate: 'f32', epsilon: 'f32', keep: 'f32' },
  body: `@compute @workgroup_size(${threads})
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
});
