import * as tf from '@tensorflow/tfjs-core';
import { expect, test, vi } from 'vitest';
import { create } from 'webgpu';
import { createWebgpuBackend, shader, useWebgpu } from '../src/index.ts';
import { attention, attentionReference } from '../src/ops/index.ts';

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

test('a device with WebGPU’s least limits infers and trains', async () => {
  const gpu = create([]);
  const device = await (await gpu.requestAdapter())!.requestDevice();
  expect(device.limits.maxStorageBuffersPerShaderStage).toBe(8);
  const backend = await useWebgpu({ device, name: 'least' });
  const random = (width: number, seed: number) => tf.randomNormal([2, 9, width], 0, 1, 'float32', seed);
  const [query, key, value, height, width] = [random(8, 1), random(8, 2), random(8, 3), random(3, 4), random(3, 5)];
  const sums = await tf.sum(attention({ query, key, value: tf.ones([2, 9, 8]), bias: { height, width } })).data();
  expect(sums[0]).toBeCloseTo(144, 3); // shares of ones
  const gradients = (op: typeof attention) =>
    tf.grads((query: tf.Tensor, key: tf.Tensor, value: tf.Tensor, height: tf.Tensor, width: tf.Tensor) =>
      tf.sum(tf.square(op({ query, key, value, bias: { height, width } }))),
    )([query, key, value, height, width]);
  const [ours, composed] = [gradients(attention), gradients(attentionReference)];
  for (const [i, gradient] of ours.entries()) {
    const difference = await tf.max(tf.abs(tf.sub(gradient, composed[i]!))).data();
    expect(difference[0]).toBeLessThan(1e-5); // values of about 1, sums of at most 9 x 8
  }
  backend.dispose();
  device.destroy();
});
