import { expect, test } from 'vitest';
import { memoised } from './memoised.ts';
import { shader } from './shader.ts';

test('the head of a text is made of its bindings and uniforms, and every line lies at the depth of its braces', () => {
  const made = shader({
    label: 'scale',
    inputs: { x: 'vec4<f16>', n: 'i32' },
    outputs: { y: 'vec4f' },
    uniforms: { units: 'u32', factor: 'f32' },
    enable: ['subgroups'],
    body: `@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
if (id.x >= p.units) { return; } // a brace in a comment: {

y[id.x] = vec4f(
x[id.x]
) * p.factor;
}`,
  });
  expect(made.wgsl).toBe(`enable f16;
enable subgroups;
struct Uniforms {
  units: u32,
  factor: f32,
}
@group(0) @binding(0) var<storage, read> x: array<vec4<f16>>;
@group(0) @binding(1) var<storage, read> n: array<i32>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(3) var<uniform> p: Uniforms;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x >= p.units) { return; } // a brace in a comment: {
  y[id.x] = vec4f(
    x[id.x]
  ) * p.factor;
}
`);
  expect(made.inputs.map(({ name, half, float }) => ({ name, half, float }))).toEqual([
    { name: 'x', half: true, float: true },
    { name: 'n', half: false, float: false },
  ]);
});

test('without uniforms there is no struct', () => {
  const { wgsl } = shader({ label: 'copy', inputs: { x: 'f32' }, outputs: { y: 'f32' }, body: 'fn main() {}' });
  expect(wgsl).not.toContain('Uniforms');
});

test('equal specs are made once, whatever the order of their fields', () => {
  const specs: object[] = [];
  const make = memoised((spec: { a: number; b: string; c: boolean | undefined }) => specs.push(spec));
  expect(make({ a: 1, b: 'x', c: true })).toBe(1);
  expect(make({ b: 'x', c: true, a: 1 })).toBe(1);
  expect(make({ a: 1, b: 'x', c: undefined })).toBe(2);
  expect(make({ a: 11, b: 'x', c: true })).toBe(3);
  expect(specs).toHaveLength(3);
});
