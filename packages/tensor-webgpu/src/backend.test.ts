import * as tf from '@tensorflow/tfjs-core';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { createWebgpuBackend, type Program, type Shader, shader, useWebgpu, type WebgpuBackend } from './index.ts';

let backend: WebgpuBackend;
beforeEach(async () => {
  backend = await useWebgpu();
});
afterEach(() => backend.dispose());

const values = async (x: tf.Tensor) => Array.from(await x.data());
const ramp = (size: number, from = 0) => Float32Array.from({ length: size }, (_, i) => from + i);
const memory = () => tf.memory() as tf.MemoryInfo & { numBytesInGPU: number; numBytesIdle: number };

/** out[0] = in0[0] + … in WGSL that is right unless a body is given. */
const sum = (
  inputs: number,
  { label = 'a sum', body, ...how }: { label?: string; body?: string } & Partial<Program> = {},
): Program => {
  const names = Array.from({ length: inputs }, (_, i) => `in${i}`);
  const made = shader({
    label,
    inputs: Object.fromEntries(names.map((name) => [name, 'f32'])),
    outputs: { out: 'f32' },
    body:
      body ?? `@compute @workgroup_size(1) fn main() { out[0] = ${names.map((name) => `${name}[0]`).join(' + ')}; }`,
  });
  return { shader: made, workgroups: [1, 1, 1], uniforms: {}, ...how };
};
const sizedParts = {
  inputs: { x: 'f32' },
  outputs: { y: 'f32' },
  uniforms: { size: 'u32', scale: 'f32' },
  body: '@compute @workgroup_size(1) fn main() { for (var i = 0u; i < p.size; i++) { y[i] = p.scale * x[i]; } }',
} as const;
const run = (program: Program, inputs: readonly tf.Tensor[]) =>
  backend.run(program, inputs, [{ shape: [1], dtype: 'float32' }]);

/** The constructors of WebGPU's errors, which Node has not among its globals. */
const gpuGlobals = async () =>
  ('GPUDevice' in globalThis ? globalThis : (await import('webgpu')).globals) as typeof globalThis;

describe('values', () => {
  test.each([1, 3, 64, 65, 257, 40_000])('%i of every dtype go up and come back', async (size) => {
    const floats = tf.tensor1d(ramp(size, -0.5));
    const integers = tf.tensor1d(Int32Array.from(ramp(size, -3)), 'int32');
    const truths = tf.greater(floats, 1);
    expect(await values(tf.neg(floats))).toEqual(Array.from(ramp(size, -0.5), (x) => -x));
    expect(await tf.add(integers, tf.scalar(1, 'int32')).data()).toEqual(Int32Array.from(ramp(size, -2)));
    expect(await truths.data()).toEqual(Uint8Array.from(ramp(size), (i) => (i > 1.5 ? 1 : 0)));
    expect(await values(tf.logicalNot(tf.tensor1d([true, false, true], 'bool')))).toEqual([0, 1, 0]);
  });

  test('nothing at all', async () => {
    const empty = tf.neg(tf.zeros([0, 3]));
    expect(empty.shape).toEqual([0, 3]);
    expect(await empty.data()).toEqual(new Float32Array(0));
  });

  test('small arrays are copied; what is read is the caller’s own', async () => {
    const source = ramp(8);
    const x = tf.tensor1d(source);
    source.fill(9);
    expect(await values(x)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    ((await x.data()) as Float32Array).fill(9);
    expect(await values(tf.mul(x, 2))).toEqual([0, 2, 4, 6, 8, 10, 12, 14]);
  });

  // pages have shared memory only where the server isolates them
  test.skipIf(typeof SharedArrayBuffer === 'undefined')('shared memory', async () => {
    const shared = new Float32Array(new SharedArrayBuffer(400_000)).fill(2);
    expect((await values(tf.sum(tf.tensor1d(shared))))[0]).toBe(200_000);
  });

  test('a window on a larger array', async () => {
    expect(await values(tf.neg(tf.tensor1d(ramp(200).subarray(100, 170))))).toEqual(
      Array.from(ramp(70), (i) => -i - 100),
    );
  });

  test('uploads into reused buffers do not overtake what still reads them', async () => {
    for (const size of [100, 50_000]) {
      const results: tf.Tensor[] = [];
      for (let i = 0; i < 20; i++) results.push(tf.tidy(() => tf.mean(tf.tensor1d(new Float32Array(size).fill(i)))));
      for (let i = 0; i < 20; i++) expect((await values(results[i]!))[0]).toBeCloseTo(i, 4);
    }
  });

  test('later reads take as long as the first ones', async () => {
    const x = tf.tensor1d([1, 2, 3]);
    const times: number[] = [];
    for (let i = 0; i < 600; i++) {
      const y = tf.add(x, i);
      const start = performance.now();
      await y.data();
      times.push(performance.now() - start);
      y.dispose();
    }
    // of the shortest, which other work on the machine does not lengthen: 1; waits that pile up made it 50
    expect(Math.min(...times.slice(-200)) / Math.min(...times.slice(50, 250))).toBeLessThan(8);
  });

  test('a read does not wait for work that is asked for after it', async () => {
    const order: string[] = [];
    const x = tf.tensor2d(ramp(200 * 200), [200, 200]);
    const first = tf.neg(x);
    const early = first.data().then(() => order.push('early'));
    const later = tf.tidy(() => {
      let y: tf.Tensor = x;
      for (let i = 0; i < 30; i++) y = tf.mul(tf.matMul(y, x), 1e-7);
      return y;
    });
    const late = later.data().then(() => order.push('late'));
    await early;
    expect(order).toEqual(['early']);
    await late;
  });

  test('synchronous reads of what is on the GPU are refused with the cure', () => {
    expect(() => tf.sqrt(tf.ones([2])).dataSync()).toThrow('`await tensor.data()`');
  });
});

describe('memory', () => {
  test('views share their data until the last is disposed', async () => {
    const x = tf.neg(tf.tensor1d(ramp(6)));
    const view = tf.reshape(x, [2, 3]);
    expect(backend.refCount(x.dataId)).toBe(2);
    x.dispose();
    expect(await values(view)).toEqual([-0, -1, -2, -3, -4, -5]);
    view.dispose();
    expect(backend.refCount(view.dataId)).toBe(0);
    expect(backend.disposeData(view.dataId)).toBe(true);
  });

  test('a training loop of 100 steps keeps nothing', async () => {
    const optimizer = tf.train.sgd(0.05);
    const weight = tf.variable(tf.ones([4, 1]));
    const target = tf.tensor2d([1, -2, 3, 0.5], [4, 1]);
    let seen = memory();
    let loss = Number.POSITIVE_INFINITY;
    for (let step = 0; step < 100; step++) {
      const x = tf.tensor2d(
        Float32Array.from({ length: 128 }, (_, i) => Math.sin(i * (step + 1))),
        [32, 4],
      );
      const cost = optimizer.minimize(
        () => tf.mean(tf.squaredDifference(tf.matMul(x, weight), tf.matMul(x, target))) as tf.Scalar,
        true,
      )!;
      loss = (await cost.data())[0]!;
      tf.dispose([cost, x]);
      tf.tidy(() => void tf.mul(tf.scalar(step), weight)); // another constant each step
      if (step === 20) seen = memory();
    }
    expect(loss).toBeLessThan(1e-3);
    const { numTensors, numBytesInGPU, numBytesIdle } = memory();
    expect({ numTensors, numBytesInGPU }).toEqual({ numTensors: seen.numTensors, numBytesInGPU: seen.numBytesInGPU });
    expect(numBytesIdle - seen.numBytesIdle).toBeLessThanOrEqual(100 * 256);
    optimizer.dispose();
    weight.dispose();
  });

  test('buffers are reused; constants beyond the cache are not kept', async () => {
    const large = () => tf.tidy(() => void tf.neg(tf.tensor1d(ramp(100_000))));
    large();
    const { numBytesIdle } = memory();
    for (let i = 0; i < 5; i++) large();
    expect(memory().numBytesIdle).toBe(numBytesIdle);
    const kept = tf.scalar(0.1);
    const first = tf.neg(kept);
    for (let i = 0; i < 3000; i++) tf.tidy(() => void tf.neg(tf.scalar(i)));
    expect(memory().numBytesIdle - numBytesIdle).toBeLessThan(3000 * 256);
    expect((await values(tf.add(tf.neg(kept), first)))[0]).toBeCloseTo(-0.2, 6);
  });
});

describe('what goes wrong', () => {
  test('limits are checked before anything is dispatched', () => {
    const x = tf.ones([1]);
    const before = backend.numDataIds();
    expect(() => run(sum(1, { workgroups: [65536, 1, 1] }), [x])).toThrow(
      'a sum: expected at most 65535 workgroups a dimension, got [65536,1,1]',
    );
    const most = backend.device.limits.maxStorageBuffersPerShaderStage;
    const inputs = Array.from({ length: most }, () => x);
    expect(() => run(sum(most), inputs)).toThrow(`a sum: expected at most ${most} inputs and outputs`);
    const elements = backend.facts.maxBindingBytes / 4 + 1;
    expect(() => backend.run(sum(1), [x], [{ shape: [elements], dtype: 'float32' }])).toThrow(
      /a sum: expected tensors of at most \d+ bytes on .*, got \[\d+\] of \d+ bytes; use smaller/,
    );
    expect(backend.numDataIds()).toBe(before);
  });

  test('a shader that does not compile: the next read names it, and says what the compiler says', async () => {
    const wrong = sum(1, { label: 'a wrong kernel', body: 'fn main( {' });
    const [made] = run(wrong, [tf.ones([1])]);
    await expect(backend.read(made!.dataId)).rejects.toThrow(
      /^a wrong kernel: expected a shader .*error: expected '\)'/s,
    );
    await expect(backend.sync()).rejects.toThrow('create the backend again');
    expect(() => tf.neg(tf.ones([2]))).toThrow('a wrong kernel');
  });

  test('tensors and uniforms that do not fit the shader, before anything is dispatched', async () => {
    const [x, n] = [tf.ones([1]), tf.ones([1], 'int32')];
    const before = backend.numDataIds();
    expect(() => run(sum(2), [x])).toThrow('a sum: expected 2 inputs (in0, in1), got 1');
    expect(() => backend.run(sum(1), [x], [])).toThrow('a sum: expected 1 outputs (out), got 0');
    expect(() => run(sum(2), [x, n])).toThrow("a sum: expected 'in1' of f32, got int32 [1]; cast it with tf.cast");
    expect(() => backend.run(sum(1), [x], [{ shape: [1], dtype: 'int32' }])).toThrow("a sum: expected 'out' of f32");
    expect(() => run(sum(1, { uniforms: { size: 1 } }), [x])).toThrow('a sum: expected no uniforms, got size');
    const sized: Shader = shader({ ...sizedParts, label: 'a sized sum' });
    const program = { shader: sized, workgroups: [1, 1, 1] } as const;
    expect(() => run({ ...program, uniforms: { size: 1 } }, [x])).toThrow(
      "a sized sum: expected a number for the uniform 'scale' (f32), got none",
    );
    expect(() => run({ ...program, uniforms: { size: 1, scale: 2, more: 3 } }, [x])).toThrow(
      'a sized sum: expected the uniforms size, scale, got size, scale, more',
    );
    expect(backend.numDataIds()).toBe(before);
    const [made] = run({ ...program, uniforms: { size: 1, scale: 2.5 } }, [x]);
    expect(await backend.read(made!.dataId)).toEqual(Float32Array.of(2.5));
    expect(() => run({ ...program, uniforms: { size: 1, scale: 2, more: 3 } }, [x])).toThrow('got size, scale, more');
  });

  test('a buffer that cannot be made', async () => {
    const x = tf.neg(tf.ones([65]));
    backend.device.createBuffer({ size: 2 ** 45, usage: 0x80 });
    await expect(x.data()).rejects.toThrow(/^webgpu: .*exceeds.*create the backend again/s);
  });

  test('tensors as large as the adapter binds, and one element more', async () => {
    const limit = Math.min(backend.facts.maxBindingBytes, 2 ** 27); // lavapipe's own; SwiftShader's is 1 GiB
    Object.defineProperty(backend, 'facts', { value: { ...backend.facts, maxBindingBytes: limit } });
    const [fits, tooLarge] = [limit / 4, limit / 4 + 1];
    const largest = tf.fill([fits], 3);
    expect(await values(tf.slice(largest, [fits - 1], [1]))).toEqual([3]);
    const before = backend.numDataIds();
    const larger = tf.tensor1d(new Float32Array(tooLarge)); // on the CPU it may exist, and be read
    expect((await larger.data()).length).toBe(tooLarge);
    const message = new RegExp(
      `expected tensors of at most ${limit} bytes on .*, got \\[${tooLarge}\\] of ${limit + 4} bytes; use smaller`,
    );
    expect(() => tf.neg(larger)).toThrow(message);
    const two = tf.ones([2, 1]);
    const half = Math.ceil(tooLarge / 2);
    const row = tf.tidy(() => tf.reshape(tf.slice(largest, [0], [half]), [1, half]));
    expect(() => tf.matMul(two, row)).toThrow(`of ${half * 8} bytes; use smaller`);
    tf.dispose([larger, two, row]);
    expect(backend.numDataIds()).toBe(before);
    expect(await values(tf.neg(tf.tensor1d([1])))).toEqual([-1]); // nothing wrong was dispatched
  });

  test('out of memory: reads under way and later ones tell it, then a new backend', async () => {
    const x = tf.neg(tf.ones([100]));
    const reading = x.data();
    const { GPUOutOfMemoryError: OutOfMemory, GPUUncapturedErrorEvent: Uncaptured } = await gpuGlobals();
    const error = new OutOfMemory('no room for 9 bytes'); // software adapters allocate lazily: a real one would end the process
    backend.device.dispatchEvent(new Uncaptured('uncapturederror', { error, cancelable: true }));
    const told =
      /^webgpu: out of memory with \d+ bytes in tensors and \d+ kept for reuse, .*: no room for 9 bytes; .* create the backend again$/;
    await expect(reading).rejects.toThrow(told);
    expect(() => tf.neg(x)).toThrow(told);
    await expect(backend.sync()).rejects.toThrow(told);
    backend = await useWebgpu();
    expect(await values(tf.neg(tf.ones([2])))).toEqual([-1, -1]);
  });

  /** Refuses the next large buffers: what is made of them cannot be used. */
  async function refuseBuffers(count: number): Promise<void> {
    const { device } = backend;
    const { GPUOutOfMemoryError: OutOfMemory } = await gpuGlobals();
    const { pushErrorScope, popErrorScope, createBuffer } = device;
    const scopes: GPUErrorFilter[] = [];
    let refused = 0;
    device.pushErrorScope = (filter) => {
      scopes.push(filter);
      return pushErrorScope.call(device, filter);
    };
    device.createBuffer = (descriptor) => {
      const buffer = createBuffer.call(device, descriptor);
      if (scopes.at(-1) === 'out-of-memory' && refused < count) buffer.destroy();
      return buffer;
    };
    device.popErrorScope = async () => {
      const refuses = scopes.pop() === 'out-of-memory' && refused++ < count;
      const found = await popErrorScope.call(device);
      return refuses ? new OutOfMemory('no room') : found;
    };
  }
  const large = 2 ** 20 + 64; // floats: more than 4 MiB

  test('no room for a large buffer: idle ones are given back and it is made again, uploads too', async () => {
    const first = tf.tensor1d(ramp(2 * large));
    tf.tidy(() => void tf.neg(first));
    await backend.sync();
    const idle = memory().numBytesIdle;
    expect(idle).toBeGreaterThanOrEqual(8 * large);
    await refuseBuffers(1);
    const sum = tf.add(tf.slice(first, [7], [large]), 1); // the slice is refused at first
    expect((await values(sum)).slice(0, 3)).toEqual([8, 9, 10]);
    expect(memory().numBytesIdle).toBeLessThanOrEqual(idle - 8 * large);
    await refuseBuffers(1);
    const made = tf.neg(tf.tensor1d(ramp(large + 640))); // the upload is
    expect((await values(made)).slice(-1)).toEqual([-(large + 639)]);
    await backend.sync();
  });

  test('no room for it then either: one error with the cure', async () => {
    await refuseBuffers(4); // the upload and the result, twice
    const made = tf.neg(tf.tensor1d(ramp(large)));
    await expect(made.data()).rejects.toThrow(
      /^webgpu: out of memory with \d+ bytes in tensors and \d+ kept for reuse, use smaller .*: no room; /,
    );
    expect(() => tf.neg(tf.ones([3]))).toThrow('out of memory');
  });

  test('a device lost in a warm-up and while it is recorded', async () => {
    const x = tf.ones([100]);
    const warm = backend.warmUp(() => tf.neg(x));
    const stop = backend.record();
    tf.neg(x);
    const times = stop();
    backend.device.destroy();
    await expect(warm).rejects.toThrow('the device was lost');
    await expect(times).rejects.toThrow('the device was lost');
    expect(() => backend.record()).toThrow('the device was lost');
    await expect(backend.warmUp(() => 1)).rejects.toThrow('the device was lost');
  });

  test('a shader that does not compile in a warm-up', async () => {
    const wrong = sum(1, { label: 'a wrong kernel', body: 'fn main( {' });
    await expect(backend.warmUp(() => run(wrong, [tf.ones([1])]))).rejects.toThrow(
      /^a wrong kernel: expected a shader .*error: expected '\)'/s,
    );
  });

  test('a lost device, then a new backend', async () => {
    const x = tf.neg(tf.ones([100]));
    const reading = x.data();
    backend.device.destroy();
    await expect(reading).rejects.toThrow(/the device was lost .*create the backend again/);
    expect(() => tf.neg(x)).toThrow('the device was lost');
    backend = await useWebgpu();
    expect(await values(tf.neg(tf.ones([2])))).toEqual([-1, -1]);
  });
});

describe('dispose', () => {
  test('removes the registration, frees tensors quietly, does nothing the second time', async () => {
    const x = tf.neg(tf.ones([100]));
    const reading = x.data();
    backend.dispose();
    backend.dispose();
    expect(tf.findBackend('slimsam-webgpu')).toBeNull();
    await expect(reading).rejects.toThrow('expected a live backend, got one that was disposed');
    await expect(backend.sync()).rejects.toThrow('disposed');
    expect(() => backend.readSync({})).toThrow('disposed');
    x.dispose();
  });

  test('the same name again disposes the first; other names live side by side', async () => {
    const first = backend;
    backend = await useWebgpu();
    await expect(first.sync()).rejects.toThrow('disposed');
    const other = await useWebgpu({ name: 'other' });
    expect(tf.getBackend()).toBe('other');
    expect(await values(tf.add(tf.ones([3]), 1))).toEqual([2, 2, 2]);
    other.dispose();
    await tf.setBackend('slimsam-webgpu');
    expect(await values(tf.add(tf.ones([3]), 2))).toEqual([3, 3, 3]);
  });

  test('an unregistered backend leaves the registered one alone', async () => {
    const loose = await createWebgpuBackend();
    loose.dispose();
    expect(tf.findBackend('slimsam-webgpu')).toBe(backend);
  });

  test('no adapter: what to do', async () => {
    const gpu = { requestAdapter: async () => null } as Partial<GPU> as GPU;
    await expect(useWebgpu({ gpu })).rejects.toThrow('expected an adapter, got none; install');
  });
});
