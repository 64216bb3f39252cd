import { normalIntegral } from '../../kernels/matmul/activations.wgsl.ts';
import { linearDispatch, threads } from '../../program/grid.ts';
import { memoised } from '../../program/memoised.ts';
import { dispatching, type Program } from '../../program/program.ts';
import { shader } from '../../program/shader.ts';
import { floatType } from '../../program/types.wgsl.ts';

interface GeluText {
  readonly gradient: boolean;
  readonly half: boolean;
}

const geluShader = memoised(({ gradient, half }: GeluText) => {
  const type = floatType(half, true);
  const output = gradient ? 'dx' : 'y';
  const value = gradient ? 'dy[i] * (integral(v, bell) + v * bell * 0.39894228)' : 'v * integral(v, bell)';
  return shader({
    label: gradient ? 'gelu gradient' : 'gelu',
    inputs: { x: type, ...(gradient && { dy: type }) },
    outputs: { [output]: type },
    uniforms: { units: 'u32', row: 'u32' },
    body: `${normalIntegral}
@compute @workgroup_size(${threads})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x + id.y * p.row;
  if (i >= p.units) { return; }
  let v = vec4f(x[i]);
  let bell = exp(-0.5 * v * v);
  ${output}[i] = ${type}(${value});
}`,
  });
});

function elementwise(elements: number, text: GeluText): Program {
  const units = Math.ceil(elements / 4);
  const { workgroups, row } = linearDispatch(units);
  return dispatching(geluShader(text), { workgroups, uniforms: { units, row } });
}

/** [x] -> [x Phi(x)] with the normal distribution's integral Phi; `half`: both in half precision. */
export const geluForward = (elements: number, half: boolean): Program =>
  elementwise(elements, { gradient: false, half });

/** [x, dy] -> [dy (Phi(x) + x phi(x))]. */
export const geluGradient = (elements: number): Program => elementwise(elements, { gradient: true, half: false });
