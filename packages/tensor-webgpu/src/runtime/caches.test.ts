import { expect, test, vi } from 'vitest';
import { openedBackend } from '../../test/both-backends.ts';
import type { Program } from '../program/program.ts';
import { shader } from '../program/shader.ts';
import { BindGroups } from './bind-groups.ts';
import { BufferPool } from './buffer-pool.ts';
import { CommandQueue } from './command-queue.ts';
import { PipelineCache } from './pipeline-cache.ts';
import { UniformCache } from './uniform-cache.ts';

const backend = openedBackend();

const parts = {
  inputs: { x: 'f32' },
  outputs: { y: 'f32' },
  uniforms: { size: 'u32', factor: 'f32' },
  body: '@compute @workgroup_size(1) fn main() { y[0] = x[0] * p.factor * f32(p.size); }',
} as const;
const copy = shader({ ...parts, label: 'copy' });
const program = (size: number, factor: number): Program => ({
  shader: copy,
  workgroups: [1, 1, 1],
  uniforms: { size, factor },
});

test('equal numbers share a uniform; those that nobody used lately are freed once their work is submitted', () => {
  const cache: UniformCache = new UniformCache(backend().device, { half: 4, flush: () => cache.submitted() });
  const first = cache.get(program(1, 0.5))!;
  const destroy = vi.spyOn(first.gpu, 'destroy');
  expect(cache.get(program(1, 0.5))).toBe(first);
  expect(cache.get(program(1, 0.25))).not.toBe(first);
  expect(cache.get(program(1065353216, 0))).not.toBe(cache.get(program(1, 1))); // 1 as a float has those bits
  for (let size = 2; size < 5; size++) cache.get(program(size, 0.5));
  expect(cache.get(program(1, 0.5))).toBe(first); // used, so it stays
  expect(destroy).not.toHaveBeenCalled();
  for (let size = 5; size < 13; size++) cache.get(program(size, 0.5));
  expect(destroy).toHaveBeenCalledOnce();
  expect(cache.get(program(1, 0.5))).not.toBe(first);
});

test('a bind group is kept from the second time on', () => {
  const { device } = backend();
  const pool: BufferPool = new BufferPool(device, {
    spareBytes: () => 0,
    flush: () => pool.submitted(),
    ...{ doubt: () => undefined, refused: () => undefined },
  });
  const pipeline = new PipelineCache(device, () => {}).make(copy, { ahead: false });
  const uniform = new UniformCache(device, { half: 4, flush: () => {} }).get(program(1, 1))!;
  const [x, y, z] = [0, 1, 2].map(() => pool.acquire(256, 'test')) as [typeof uniform, typeof uniform, typeof uniform];
  const groups = new BindGroups(device);
  const [first, second, third] = [0, 1, 2].map(() => groups.get(pipeline, [x, y, uniform], 'copy'));
  expect(second).not.toBe(first);
  expect(third).toBe(second);
  expect(groups.get(pipeline, [x, z, uniform], 'copy')).not.toBe(second);
  for (const buffer of [x, y, z]) pool.release(buffer);
  expect(pool.acquire(256, 'test')).toBe(x); // the lowest first, in whatever order they came back
  for (const { gpu } of [x, y, z, uniform]) gpu.destroy();
});

test('a pipeline that the driver refuses, though its text is right: by its label, and no other is forgotten', async () => {
  const { device } = backend();
  const refused: string[] = [];
  const pipelines = new PipelineCache(device, (message) => refused.push(message));
  const kept = pipelines.make(shader({ ...parts, label: 'kept' }), { ahead: false });
  await pipelines.checked();
  const pop = vi.spyOn(device, 'popErrorScope');
  pop.mockImplementationOnce(async () => null); // of validation
  pop.mockImplementationOnce(async () => ({ message: 'no registers are left' }) as GPUInternalError);
  const other = shader({ ...parts, label: 'refused', uniforms: { size: 'u32', factor: 'f32', unused: 'f32' } });
  pipelines.make(other, { ahead: false });
  await pipelines.checked();
  pop.mockRestore();
  expect(refused).toEqual(['refused: expected a shader that compiles, got no registers are left']);
  expect(pipelines.find(other)).toBeUndefined();
  expect(pipelines.make(shader({ ...parts, label: 'again' }), { ahead: false })).toBe(kept);
  expect(pipelines.size).toBe(1);
});

test('nothing counts as submitted while a kept dispatch waits for its pipeline', async () => {
  const { device } = backend();
  let submits = 0;
  const queue = new CommandQueue(device, { afterSubmit: () => submits++ });
  const pipelines = new PipelineCache(device, () => {});
  const made = pipelines.make(copy, { ahead: false });
  let compiled = () => {};
  const ready = new Promise<void>((resolve) => {
    compiled = resolve;
  });
  queue.hold();
  const before = submits;
  queue.dispatch({ pipeline: { ...made, pipeline: undefined, ready }, group: () => expect.fail(), ...noWork });
  const drained = queue.drain();
  for (let i = 0; i < 9; i++) await Promise.resolve(); // it is the one under way by now
  queue.hold();
  expect(submits).toBe(before); // else what the dispatch uses would be freed
  compiled();
  await drained;
  expect(submits).toBe(before + 1);
  await Promise.all([queue.release(), queue.release()]);
});
const noWork = { workgroups: [1, 1, 1], flops: 0, cost: undefined } as const;
