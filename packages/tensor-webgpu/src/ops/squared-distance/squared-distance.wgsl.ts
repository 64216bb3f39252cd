import { linearDispatch, threads } from '../../program/grid.ts';
import { dispatching, type Program } from '../../program/program.ts';
import { shader } from '../../program/shader.ts';

const block = 32; // terms of a sum that is then added to the others, so that float sums stay short

const partsShader = shader({
  label: 'squared distance',
  inputs: { x: 'vec4f', y: 'vec4f' },
  outputs: { parts: 'f32' },
  uniforms: { elements: 'u32', row: 'u32' },
  body: `fn difference(i: u32) -> vec4f {
  let inside = vec4u(0, 1, 2, 3) + vec4u(4 * i) < vec4u(p.elements);
  return select(vec4f(), x[i] - y[i], inside);
}
@compute @workgroup_size(${threads})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let units = (p.elements + 3) / 4;
  var total = vec4f();
  for (var begin = id.x; begin < units; begin += ${block}u * p.row) {
    var part = vec4f();
    let stop = min(units, begin + ${block}u * p.row);
    for (var i = begin; i < stop; i += p.row) {
      let d = difference(i);
      part += d * d;
    }
    total += part;
  }
  parts[id.x] = total.x + total.y + (total.z + total.w);
}`,
});

/** [x, y] -> sums of (x - y)^2, as many as the uniform `row` says: at most `most`. */
export function squaredDistanceParts(elements: number, most: number): Program {
  const units = Math.ceil(elements / 4);
  const groups = Math.ceil(Math.min(most, units) / threads);
  return dispatching(partsShader, { workgroups: [groups, 1, 1], uniforms: { elements, row: groups * threads } });
}

const totalShader = shader({
  label: 'squared distance, total',
  inputs: { parts: 'f32' },
  outputs: { total: 'f32' },
  uniforms: { count: 'u32' },
  body: `var<workgroup> sums: array<f32, ${threads}>;
@compute @workgroup_size(${threads})
fn main(@builtin(local_invocation_index) lane: u32) {
  var own = 0.0;
  for (var i = lane; i < p.count; i += ${threads}u) { own += parts[i]; }
  sums[lane] = own;
  workgroupBarrier();
  if (lane > 0) { return; }
  for (var i = 1u; i < ${threads}u; i++) { own += sums[i]; }
  total[0] = own;
}`,
});

/** The sum of the parts, which one workgroup adds. */
export const squaredDistanceTotal = (count: number): Program =>
  dispatching(totalShader, { workgroups: [1, 1, 1], uniforms: { count } });

const gradientShader = shader({
  label: 'squared distance gradient',
  inputs: { x: 'vec4f', y: 'vec4f', dy: 'f32' },
  outputs: { dx: 'vec4f' },
  uniforms: { units: 'u32', row: 'u32' },
  body: `@compute @workgroup_size(${threads})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x + id.y * p.row;
  if (i >= p.units) { return; }
  dx[i] = (x[i] - y[i]) * (2.0 * dy[0]);
}`,
});

/** [x, y, dy] -> 2 dy (x - y). */
export function squaredDistanceGradient(elements: number): Program {
  const units = Math.ceil(elements / 4);
  const { workgroups, row } = linearDispatch(units);
  return dispatching(gradientShader, { workgroups, uniforms: { units, row } });
}
