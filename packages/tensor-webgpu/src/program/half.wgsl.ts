import { linearDispatch, threads } from './grid.ts';
import { memoised } from './memoised.ts';
import { dispatching, type Program } from './program.ts';
import { shader } from './shader.ts';
import { floatType } from './types.wgsl.ts';

/** [x] -> [x in half precision]; beyond 65504 it is infinity. */
export const toHalf = (elements: number): Program => convert(elements, { toHalf: true });

/** [x in half precision] -> [x]. */
export const fromHalf = (elements: number): Program => convert(elements, { toHalf: false });

function convert(elements: number, spec: { toHalf: boolean }): Program {
  const units = Math.ceil(elements / 4); // the buffers' padding takes the rest of the last
  const { workgroups, row } = linearDispatch(units);
  return dispatching(conversion(spec), { workgroups, uniforms: { units, row } });
}

const conversion = memoised(({ toHalf }: { toHalf: boolean }) =>
  shader({
    label: toHalf ? 'to half' : 'from half',
    inputs: { x: floatType(!toHalf, true) },
    outputs: { y: floatType(toHalf, true) },
    uniforms: { units: 'u32', row: 'u32' },
    body: `@compute @workgroup_size(${threads})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x + id.y * p.row;
  if (i < p.units) { y[i] = ${floatType(toHalf, true)}(x[i]); }
}`,
  }),
);
