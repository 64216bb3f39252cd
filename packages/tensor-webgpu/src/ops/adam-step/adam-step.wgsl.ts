import { linearDispatch, threads } from '../../program/grid.ts';
import { memoised } from '../../program/memoised.ts';
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
 * [weight, gradient, m, v] -> [weight, m, v], or [gradient] -> the same where the outputs have the old values (`over`). Sizes are the
 * buffers' own (padding is computed along), so that one uniform serves all tensors of a step.
 */
export function adam(elements: number, { beta1, beta2, ...spec }: AdamSpec, how: { over: boolean }): Program {
  return dispatching(adamShader(how), {
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

const old = { weight: 'vec4f', m: 'vec4f', v: 'vec4f' } as const;

const adamShader = memoised(({ over }: { over: boolean }) =>
  shader({
    label: over ? 'adam in place' : 'adam',
    inputs: { gradient: 'vec4f', ...(over ? {} : old) },
    outputs: { newWeight: 'vec4f', newM: 'vec4f', newV: 'vec4f' },
    uniforms: { beta1: 'f32', beta2: 'f32', fresh1: 'f32', fresh2: 'f32', rate: 'f32', epsilon: 'f32', keep: 'f32' },
    body: `@compute @workgroup_size(${threads})
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * ${threads}u;
  if (i >= arrayLength(&newWeight)) { return; }
  let g = gradient[i];
  let first = p.beta1 * ${over ? 'newM' : 'm'}[i] + p.fresh1 * g;
  let second = p.beta2 * ${over ? 'newV' : 'v'}[i] + p.fresh2 * g * g;
  newM[i] = first;
  newV[i] = second;
  newWeight[i] = ${over ? 'newWeight' : 'weight'}[i] * p.keep - p.rate * first / (sqrt(second) + p.epsilon);
}`,
  }),
);
