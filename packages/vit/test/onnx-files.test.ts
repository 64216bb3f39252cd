import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Sam } from '../src/index.ts';
import { createGraph } from '../src/onnx/graph.ts';
import { type ExportOnnxOptions, exportOnnx } from '../src/onnx/index.ts';
import { decoderOf, encoderOf } from '../src/onnx/segment-anything.ts';
import { inputOf, runModel, withFolder } from './onnx-support.ts';
import { type Fixture, readTiny, tinyConfig } from './support.ts';

/** What exportOnnx writes, and what it refuses. */
const folder = withFolder('onnx-files-');
let tiny: Fixture;
let sam: Sam;
beforeAll(async () => {
  tiny = await readTiny();
  sam = { weights: tiny.weights, config: tinyConfig };
});

it('names nodes and weights as the checkpoint does, each weight once', () => {
  const encoder = encoderOf(sam.weights, sam.config, 'F32');
  const decoder = decoderOf(sam.weights, sam.config, { float: 'F32', singleMask: false });
  const weights = [...encoder.initializers.keys(), ...decoder.initializers.keys()].filter(
    (name) => name in sam.weights,
  );
  expect(weights.sort()).toEqual(Object.keys(sam.weights).sort());
  for (const { initializers } of [encoder, decoder]) {
    for (const [name, { shape }] of initializers) {
      if (name in sam.weights) expect(shape).toEqual(sam.weights[name]!.shape);
    }
  }
  const nodes = new Map([...encoder.nodes, ...decoder.nodes].map((node) => [node.name, node]));
  for (const name of weights.filter((name) => /blocks.*(qkv|proj|lin\d)\.weight$|_proj\.weight$/.test(name))) {
    const layer = name.replace(/\.weight$/, '');
    expect(nodes.get(layer)).toMatchObject({ op: 'Gemm', attributes: { transB: 1 } });
    expect(nodes.get(layer)!.inputs.slice(1)).toEqual([name, `${layer}.bias`]);
  }
});

it('refuses two values of one name', () => {
  const graph = createGraph('g', {}, 'F32');
  graph.node('Relu', 'a', [graph.input('x', [1])]);
  expect(() => graph.node('Relu', 'a', ['x'])).toThrow("expected a new name in 'g', got 'a' again");
  expect(() => graph.weight('w')).toThrow("expected weight 'w', got none");
});

describe('external data', () => {
  it('stands beside the model, where it can be mapped, and gives the same values', async () => {
    const [inside, beside] = [join(folder(), 'inside'), join(folder(), 'beside')];
    await exportOnnx(inside, sam);
    const before = tf.memory().numTensors;
    const files = await exportOnnx(beside, sam, { externalDataFrom: 300_000 });
    expect(tf.memory().numTensors).toBe(before);
    expect(files).toEqual(['encoder.onnx_data', 'encoder.onnx', 'decoder.onnx'].map((name) => join(beside, name)));
    expect((await readdir(beside)).sort()).toEqual(['decoder.onnx', 'encoder.onnx', 'encoder.onnx_data']);
    const size = async (path: string) => (await stat(path)).size;
    expect(await size(join(beside, 'encoder.onnx'))).toBeLessThan(80_000);
    const data = await readFile(join(beside, 'encoder.onnx_data'));
    const { buffer, byteOffset, byteLength } = await sam.weights['image_encoder.blocks.2.attn.qkv.weight']!.data();
    const qkv = Buffer.from(buffer, byteOffset, byteLength);
    expect(data.indexOf(qkv)).toBeGreaterThan(0);
    expect(data.indexOf(qkv) % 4096).toBe(0);
    const image = inputOf(tiny, 'preprocessed');
    const [a, b] = await Promise.all([inside, beside].map((path) => runModel(join(path, 'encoder.onnx'), { image })));
    expect(a!.image_embeddings!.data).toEqual(b!.image_embeddings!.data);
  });
});

it('carries the config, and half the bytes in F16', async () => {
  const path = join(folder(), 'sizes');
  const [whole] = await exportOnnx(path, sam);
  const [half] = await exportOnnx(path, sam, { dtype: 'F16' });
  const [f32, f16] = await Promise.all([readFile(whole!), readFile(half!)]);
  expect(f32.includes(JSON.stringify(sam.config))).toBe(true);
  const parameters = Object.entries(sam.weights)
    .filter(([name]) => name.startsWith('image_encoder.'))
    .reduce((sum, [, { size }]) => sum + size, 0);
  // the rest is nodes and names: the same but for the constants
  expect(f32.length - f16.length - 2 * parameters).toBeGreaterThan(-1000);
  expect(f32.length - f16.length - 2 * parameters).toBeLessThan(1000);
});

describe('refuses, and leaves nothing behind:', () => {
  const changed = (name: string, weight: tf.Tensor): Sam => ({ ...sam, weights: { ...sam.weights, [name]: weight } });
  const without = (name: string): Sam => ({
    ...sam,
    weights: Object.fromEntries(Object.entries(sam.weights).filter(([key]) => key !== name)),
  });
  const lin1 = 'image_encoder.blocks.1.mlp.lin1.weight';
  const cases: [string, () => Sam, object, string][] = [
    [
      'another convention',
      () => sam,
      { convention: 'onnx' },
      "convention 'segment-anything' or 'transformers.js', got 'onnx'",
    ],
    ['another dtype', () => sam, { dtype: 'fp16' }, "dtype 'F32' or 'F16', got 'fp16'"],
    ['one mask for transformers.js', () => sam, { convention: 'transformers.js', singleMask: true }, 'singleMask with'],
    [
      'more than protobuf holds',
      () => sam,
      { externalDataFrom: 2 ** 31 },
      'from 0 to 2147483647 bytes, got 2147483648',
    ],
    ['a limit that is no number', () => sam, { externalDataFrom: Number.NaN }, 'bytes, got NaN'],
    ['a missing weight', () => without(lin1), {}, `'${lin1}' [192, 48], got none`],
    ['a misshapen weight', () => changed(lin1, tf.zeros([192, 47])), {}, `'${lin1}' [192, 48], got [192, 47]`],
    ['no weights', () => ({ ...sam, weights: {} }), {}, 'got none'],
    [
      'a config of other windows',
      () => ({ ...sam, config: { ...tinyConfig, windowSize: 4 } }),
      {},
      'block 0 for windows of 4',
    ],
    ['a config of other heads', () => ({ ...sam, config: { ...tinyConfig, heads: 3 } }), {}, 'q of block 0 of 36'],
    ['a config of another image', () => ({ ...sam, config: { ...tinyConfig, imageSize: 256 } }), {}, 'a grid of 16'],
    [
      'decoder heads that do not divide',
      () => ({ ...sam, config: { ...tinyConfig, decoderHeads: 5 } }),
      {},
      'decoderHeads',
    ],
    ['half a config', () => ({ ...sam, config: { heads: 4 } as never }), {}, 'SAM config: expected'],
    ['what F16 cannot hold', () => changed(lin1, tf.fill([192, 48], 7e4)), { dtype: 'F16' }, `F16 values of '${lin1}'`],
  ];
  it.each(cases)('%s', async (_, make, options, message) => {
    const path = join(folder(), 'refused', 'deep');
    await expect(exportOnnx(path, make(), options as ExportOnnxOptions)).rejects.toThrow(message);
    expect(await readdir(folder())).not.toContain('refused');
  });

  it('a folder that is a file, or lies in one', async () => {
    const file = join(folder(), 'file');
    await writeFile(file, 'text');
    await expect(exportOnnx(file, sam)).rejects.toThrow(
      `makeFolder: expected '${file}' to be a folder or to become one, got a file there`,
    );
    await expect(exportOnnx(join(file, 'x'), sam)).rejects.toThrow('got a file where a folder should be');
    expect(await readFile(file, 'utf8')).toBe('text');
  });

  it('and an older export stays', async () => {
    const path = join(folder(), 'older');
    await mkdir(path);
    await writeFile(join(path, 'encoder_fp16.onnx'), 'older');
    const broken = changed(lin1, tf.fill([192, 48], 7e4));
    await expect(exportOnnx(path, broken, { dtype: 'F16' })).rejects.toThrow('write F32');
    expect(await readdir(path)).toEqual(['encoder_fp16.onnx']);
    expect(await readFile(join(path, 'encoder_fp16.onnx'), 'utf8')).toBe('older');
  });
});
