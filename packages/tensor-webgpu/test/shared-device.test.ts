import * as tf from '@tensorflow/tfjs-core';
import { expect, test, vi } from 'vitest';
import { create } from 'webgpu';
import { createWebgpuBackend, shader, useWebgpu } from '../src/index.ts';
import { attention } from '../src/ops/index.ts';

const twice = shader({
  label: 'twice',
  inputs: { x: 'f32' },
  outputs: { y: 'f32' },
  body: '@compute @workgroup_size(1) fn main(@builtin(global_invocation_id) id: vec3u) { y[id.x] = 2.0 * x[id.x]; }',
});

test('a device of someone else’s is used beside them, and stays open without a buffer of ours', async () => {
  const owner = await createWebgpuBackend();
  const { device } = owner;
  const theirs = owner.makeTensor(Float32Array.from([1, 2, 3]), [3], 'float32');
  const program = { shader: twice, workgroups: [3, 1, 1], uniforms: {} } as const;
  const run = () => owner.run(program, [theirs], [{ shape: [3], dtype: 'float32' }])[0]!;
  const first = run();

  const create = vi.spyOn(device, 'createBuffer');
  const backend = await useWebgpu({ device, name: 'guest' });
  expect(backend.facts).toEqual(owner.facts);
  const x = tf.variable(
    tf.tensor2d(
      Array.from({ length: 100 }, (_, i) => i / 100),
      [20, 5],
    ),
  );
  tf.train.sgd(1).minimize(() => tf.sum(tf.square(x)) as tf.Scalar);
  const sum = await tf.sum(x).data();
  expect(sum[0]).toBeCloseTo(-49.5, 3); // x - 2 x
  const left = tf.relu(x); // not submitted, not disposed
  const ours = create.mock.results.map(({ value }) => value as GPUBuffer).filter(({ label }) => label !== 'read back');
  const destroyed = ours.map((buffer) => vi.spyOn(buffer, 'destroy'));
  expect(destroyed.length).toBeGreaterThan(5);
  backend.dispose();
  for (const destroy of destroyed) expect(destroy).toHaveBeenCalled();
  create.mockRestore();
  left.dispose();

  for (const result of [first, run()]) expect(await owner.read(result.dataId)).toEqual(Float32Array.from([2, 4, 6]));
  owner.dispose();
});

test('a device with WebGPU’s least limits infers; what cannot train on it says so', async () => {
  const gpu = create([]);
  const device = await (await gpu.requestAdapter())!.requestDevice();
  expect(device.limits.maxStorageBuffersPerShaderStage).toBe(8);
  const backend = await useWebgpu({ device, name: 'least' });
  const [query, key, value] = [1, 2, 3].map((seed) => tf.randomNormal([2, 9, 8], 0, 1, 'float32', seed));
  const bias = { height: tf.zeros([2, 9, 3]), width: tf.zeros([2, 9, 3]) };
  const inputs = { query: query!, key: key!, value: value!, bias };
  const sums = await tf.sum(attention({ ...inputs, value: tf.ones([2, 9, 8]) })).data();
  expect(sums[0]).toBeCloseTo(144, 3); // shares of ones
  expect(() => tf.grad((query) => attention({ ...inputs, query }))(query!)).toThrow(
    /attention: expected an adapter with 1[02] storage buffers a shader, got 8/,
  );
  backend.dispose();
  device.destroy();
});
