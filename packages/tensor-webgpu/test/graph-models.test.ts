/** Models of the npm package @vladmandic/human through tf.loadGraphModel, which reads constants synchronously, against tfjs-backend-cpu. */
import { readFile } from 'node:fs/promises';
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import { type GraphModel, loadGraphModel } from '@tensorflow/tfjs-converter';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { useWebgpu, type WebgpuBackend } from '../src/index.ts';

let backend: WebgpuBackend;
beforeAll(async () => {
  backend = await useWebgpu();
});
afterAll(() => backend.dispose());

const models = new URL('../../../node_modules/@vladmandic/human/models/', import.meta.url);

async function open(name: string): Promise<GraphModel> {
  const { weightsManifest, ...json } = JSON.parse(await readFile(new URL(`${name}.json`, models), 'utf8'));
  const weightSpecs = weightsManifest.flatMap(({ weights }: { weights: object[] }) => weights);
  const weightData = new Uint8Array(await readFile(new URL(`${name}.bin`, models))).buffer;
  const artifacts: tf.io.ModelArtifacts = { ...json, weightSpecs, weightData };
  return loadGraphModel({ load: async () => artifacts });
}

interface Output {
  readonly shape: number[];
  readonly data: Float32Array;
}

/** All outputs of a model, on an input by formula. */
async function run(name: string): Promise<Output[]> {
  const model = await open(name);
  const { shape, dtype } = model.inputs[0]!;
  const sizes = shape!.map((size) => Math.max(1, size));
  const values = Float32Array.from(
    { length: tf.util.sizeFromShape(sizes) },
    (_, k) => 0.5 + 0.5 * Math.sin(k * 0.7 + (k >> 7) * 0.13),
  );
  const input = tf.tidy(() => tf.cast(tf.tensor(values, sizes), dtype as 'float32'));
  const found = [model.execute(input)].flat();
  const outputs: Output[] = [];
  for (const output of found) outputs.push({ shape: output.shape, data: await output.data<'float32'>() });
  tf.dispose([input, found]);
  model.dispose();
  return outputs;
}

describe('graph models', () => {
  // depthwise and fused convolutions, pools, dense layers, softmax, prelu, concatenations; the rest was run once: see the README
  it.each(['liveness', 'emotion', 'antispoof', 'iris'])(
    '%s gives what tfjs-backend-cpu gives, and leaks nothing',
    async (name) => {
      await tf.setBackend('cpu');
      const expected = await run(name);
      await tf.setBackend('slimsam-webgpu');
      const before = tf.memory().numTensors;
      const found = await run(name);
      expect(tf.memory().numTensors).toBe(before);
      expect(found.map(({ shape }) => shape)).toEqual(expected.map(({ shape }) => shape));
      expected.forEach(({ data }, i) => {
        const range = data.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
        const difference = data.reduce((most, value, k) => Math.max(most, Math.abs(value - found[i]!.data[k]!)), 0);
        expect(range).toBeGreaterThan(0);
        expect(difference / range).toBeLessThan(5e-6); // two orders of float32 sums
      });
    },
  );
});

describe('dataSync', () => {
  it('gives what is on the CPU, and says how to read the rest', async () => {
    const large = tf.range(0, 1000);
    const small = tf.tensor1d([1, 2, 3]);
    expect(large.dataSync()).toHaveLength(1000);
    const sum = tf.add(large, tf.slice(small, 0, 1));
    expect(Array.from(small.dataSync())).toEqual([1, 2, 3]); // also after a kernel took it
    expect(tf.complex([1, 2], [3, 4]).dataSync()).toEqual(Float32Array.of(1, 3, 2, 4));
    expect(tf.tensor(['a', 'b']).dataSync()).toEqual(['a', 'b']);
    expect(tf.zeros([0, 3]).dataSync()).toEqual(new Float32Array(0));
    expect(() => sum.dataSync()).toThrow('expected an asynchronous read of values that are on the GPU');
    const total = tf.sum(sum);
    expect((await total.data())[0]).toBe(1000 + 499_500);
    expect(total.dataSync()[0]).toBe(500_500); // few values that were read once
  });

  it('sizes computed from sizes stay readable: slices, joins, gathers, products, whatever their number', () => {
    const shape = tf.tensor1d([2, 3, 4, 5], 'int32');
    const cut = tf.stridedSlice(shape, [0], [4], [2]);
    expect(Array.from(cut.dataSync())).toEqual([2, 4]);
    expect(Array.from(tf.concat([shape, cut]).dataSync())).toEqual([2, 3, 4, 5, 2, 4]);
    const table = tf.reshape(tf.tensor1d([...Array(12).keys()], 'int32'), [2, 3, 2]);
    expect(Array.from(tf.gather(table, tf.tensor1d([2, 0], 'int32'), 1).dataSync())).toEqual([
      4, 5, 0, 1, 10, 11, 6, 7,
    ]);
    expect(Array.from(tf.concat([table, table], 1).dataSync()).slice(0, 8)).toEqual([0, 1, 2, 3, 4, 5, 0, 1]);
    expect(Array.from(tf.transpose(table, [2, 0, 1]).dataSync())).toEqual([0, 2, 4, 6, 8, 10, 1, 3, 5, 7, 9, 11]);
    expect(Array.from(tf.stack([tf.prod(shape), tf.max(shape)]).dataSync())).toEqual([120, 5]);
    expect(Array.from(tf.sum(table, [0, 2]).dataSync())).toEqual([0 + 1 + 6 + 7, 2 + 3 + 8 + 9, 4 + 5 + 10 + 11]);
    expect(Array.from(tf.floorDiv(tf.sub(tf.zerosLike(shape), shape), tf.scalar(2, 'int32')).dataSync())).toEqual([
      -1, -2, -2, -3,
    ]);
    expect(Array.from(tf.mul(shape, tf.scalar(2 ** 30, 'int32')).dataSync())).toEqual([
      -(2 ** 31),
      -(2 ** 30),
      0,
      2 ** 30,
    ]);
    expect(Array.from(tf.maximum(tf.mod(shape, tf.scalar(3, 'int32')), tf.scalar(1, 'int32')).dataSync())).toEqual([
      2, 1, 1, 2,
    ]);
    expect(Array.from(tf.cast(tf.tensor1d([2.9, -2.9]), 'int32').dataSync())).toEqual([2, -2]);
    const long = tf.tensor1d([...Array(65).keys()], 'int32'); // too many to be kept
    expect(() => tf.add(long, long).dataSync()).toThrow('on the GPU');
  });
});
