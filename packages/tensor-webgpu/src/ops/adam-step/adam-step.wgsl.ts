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

/** The most tensors of one dispatch: a gradient, a weight and two moments each, within 16 bindings. */
export const mostTogether = 4;

/**
 * [weight, gradient, m, v] -> [weight, m, v]; or in place (`over`), where the outputs have the old values: a gradient of each of up to
 * `mostTogether` tensors -> weight, m and v of each, one after another. Sizes are the buffers' own (padding is computed along), so that
 * one uniform serves all tensors of a step.
 */
export function adam(
  elements: readonly number[],
  { beta1, beta2, ...spec }: AdamSpec,
  how: { over: boolean },
): Program {
  const units = elements.reduce((sum, count) => sum + unitsOfPadding * Math.ceil(count / 4 / unitsOfPadding), 0);
  return dispatching(adamShader({ ...how, count: elements.length }), {
    workgroups: linearDispatch(units).workgroups,
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

const unitsOfPadding = 16; // buffers are multiples of 256 bytes

const old = { weight0: 'vec4f', m0: 'vec4f', v0: 'vec4f' } as const;

const adamShader = memoised(({ over, count }: { over: boolean; count: number }) => {
  const all = Array.from({ length: count }, (_, k) => k);
  const step = (k: number) => `if (i < arrayLength(&newWeight${k})) {
    let g = gradient${k}[i];
    let first = p.beta1 * ${over ? 'newM' : 'm'}${k}[i] + p.fresh1 * g;
    let second = p.beta2 * ${over ? 'newV' : 'v'}${k}[i] + p.fresh2 * g * g;
    newM${k}[i] = first;
    newV${k}[i] = second;
    newWeight${k}[i] = ${over ? 'newWeight' : 'weight'}${k}[i] * p.keep - p.rate * first / (sqrt(second) + p.epsilon);
    return;
  }
  i -= arrayLength(&newWeight${k});`;
  return shader({
    label: over ? `adam in place${count > 1 ? `, ${count} tensors` : ''}` : 'adam',
    inputs: { ...Object.fromEntries(all.map((k) => [`gradient${k}`, 'vec4f' as const])), ...(over ? {} : old) },
    outputs: Object.fromEntries(
      all.flatMap((k) => ['newWeight', 'newM', 'newV'].map((name) => [`${name}${k}`, 'vec4f' as const])),
    ),
    uniforms: { beta1: 'f32', beta2: 'f32', fresh1: 'f32', fresh2: 'f32', rate: 'f32', epsilon: 'f32', keep: 'f32' },
    body: `@compute @workgroup_size(${threads})
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  var i = id.x + id.y * groups.x * ${threads}u;
  ${all.map(step).join('\n')}
}`,
  });
});
