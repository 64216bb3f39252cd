/**
 * What kernels read must be what was written: the same work on a device whose buffers hold NaN before they are used, with Dawn's clearing of
 * buffers and workgroup memory, and its bounds checks, off, gives the same bits.
 */
import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import { create } from 'webgpu';
import { useWebgpu, type WebgpuBackend } from '../src/index.ts';
import { attention } from '../src/ops/index.ts';
import { asGpu } from './ops-testing.ts';

const storage = 0x80; // GPUBufferUsage.STORAGE

/** All that the dispatches of `work` write, in order. */
async function written(backend: WebgpuBackend, work: () => void): Promise<{ label: string; words: Uint32Array }[]> {
  const made: { label: string; dataId: tf.DataId }[] = [];
  const run = backend.run.bind(backend);
  backend.run = (program, inputs, outputs) => {
    const results = run(program, inputs, outputs);
    for (const { dataId } of results) {
      backend.incRef(dataId);
      made.push({ label: program.shader.label, dataId });
    }
    return results;
  };
  tf.tidy(work);
  const found: { label: string; words: Uint32Array }[] = [];
  for (const { label, dataId } of made) {
    const values = (await backend.read(dataId)) as Float32Array | Int32Array | Uint8Array;
    found.push({ label, words: new Uint32Array(Float64Array.from(values).buffer) });
    backend.disposeData(dataId, true);
  }
  backend.run = run;
  return found;
}

/** A backend each buffer of which is new and full of NaN (or -1), without what Dawn does to hide that. */
async function poisonedBackend(): Promise<WebgpuBackend> {
  const off = 'lazy_clear_resource_on_first_use,timestamp_quantization';
  const gpu = create([
    `disable-dawn-features=${off}`,
    'enable-dawn-features=disable_workgroup_init,disable_robustness',
  ]);
  const backend = await useWebgpu({ gpu });
  const { device } = backend;
  const createBuffer = device.createBuffer.bind(device);
  device.createBuffer = (descriptor) => {
    const buffer = createBuffer(descriptor);
    if (descriptor.usage & storage && !descriptor.mappedAtCreation)
      device.queue.writeBuffer(buffer, 0, new Uint32Array(descriptor.size / 4).fill(0xffffffff));
    return buffer;
  };
  return backend;
}

/** Shapes around the edges of tiles and panels; few, for without bounds checks every text is compiled anew. */
function edges(): void {
  const values = (...shape: number[]) => tf.reshape(tf.sin(tf.range(0, tf.util.sizeFromShape(shape))), shape);
  tf.matMul(values(2, 70, 33), values(2, 33, 66));
  const [query, key, value] = [1, 2, 3].map(() => values(2, 9, 14) as tf.Tensor3D) as [
    tf.Tensor3D,
    tf.Tensor3D,
    tf.Tensor3D,
  ];
  attention({ query, key, value, scale: 0.5 });
  tf.softmax(values(3, 65));
  tf.sum(values(3000, 5), 0);
  tf.cumsum(values(2, 4001), 1);
  tf.topk(values(2, 1025), 257);
}

test.each([false, true])('by the kernels of GPUs: %s', async (gpu) => {
  const on = async (backend: WebgpuBackend) => {
    const run = () => written(backend, edges);
    const found = await (gpu ? asGpu(backend, run) : run());
    backend.dispose();
    return found;
  };
  const expected = await on(await useWebgpu());
  const actual = await on(await poisonedBackend());
  expect(actual.map(({ label }) => label)).toEqual(expected.map(({ label }) => label));
  expect(expected.length).toBeGreaterThan(10);
  const wrong = expected.filter(
    ({ words }, i) => !Buffer.from(words.buffer).equals(Buffer.from(actual[i]!.words.buffer)),
  );
  expect([...new Set(wrong.map(({ label }) => label))]).toEqual([]);
});
