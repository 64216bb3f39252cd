import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { disposeWeights, serializeSafetensors } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  createPredictor,
  loadEmbedding,
  loadSam,
  type Sam,
  saveEmbedding,
  saveSam,
  serializeEmbedding,
} from '../src/index.ts';
import { fixturePath, imageOf, readSlimsamObject, readTiny, tinyConfig, withWebgpu } from './support.ts';

withWebgpu();
let folder: string;
let tiny: Sam;
let image: ReturnType<typeof imageOf>;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'vit-'));
  const fixture = await readTiny();
  tiny = { weights: fixture.weights, config: tinyConfig };
  image = imageOf(fixture);
});
afterAll(() => rm(folder, { recursive: true }));

describe('an embedding', () => {
  it('is the same after a file, and after bytes', async () => {
    const before = tf.memory().numTensors;
    const embedded = createPredictor(tiny.weights, tinyConfig).embed(image);
    const path = join(folder, 'image.safetensors');
    await saveEmbedding(path, embedded);
    for (const source of [path, await serializeEmbedding(embedded)]) {
      const loaded = await loadEmbedding(source);
      expect(loaded).toMatchObject({ originalSize: [90, 117], inputSize: [98, 128] });
      expect(loaded.embedding.shape).toEqual([1, 32, 8, 8]);
      expect(await loaded.embedding.data()).toEqual(await embedded.embedding.data());
      loaded.embedding.dispose();
    }
    embedded.embedding.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });

  it('in F16 takes half the bytes and answers nearly the same', async () => {
    const predictor = createPredictor(tiny.weights, tinyConfig);
    const embedded = predictor.embed(image);
    const [whole, half] = [await serializeEmbedding(embedded), await serializeEmbedding(embedded, { dtype: 'F16' })];
    expect(whole.length - half.length).toBe(2 * embedded.embedding.size);
    const prompts = { boxes: [10, 20, 80, 70] };
    const one = { multimask: false };
    const [exact, rounded] = [
      await predictor.predict(embedded, prompts, one),
      await predictor.predict(await loadEmbedding(half), prompts, one),
    ];
    expect(rounded.scores[0]![0]).toBeCloseTo(exact.scores[0]![0]!, 2); // F16 has three digits
  });

  it('is refused when it is none, cut off, or without its sizes', async () => {
    const before = tf.memory().numTensors;
    const bytes = await serializeEmbedding({
      embedding: tf.zeros([1, 2, 3, 3]),
      originalSize: [5, 6],
      inputSize: [40, 48],
    });
    await expect(loadEmbedding(bytes.subarray(0, 90))).rejects.toThrow();
    await expect(loadEmbedding(join(folder, 'none.safetensors'))).rejects.toThrow('none.safetensors');
    await expect(loadEmbedding(fixturePath('sam-tiny/io.safetensors'))).rejects.toThrow(
      /expected 'embedding' \[1, C, h, w\] in .*io.safetensors, got .*; saveEmbedding writes one/,
    );
    const raw = { dtype: 'F32' as const, data: new Float32Array(18) };
    const withShape = (shape: number[], metadata = {}) =>
      serializeSafetensors({ embedding: { ...raw, shape } }, metadata);
    await expect(loadEmbedding(withShape([2, 1, 3, 3]))).rejects.toThrow(
      '[1, C, h, w] in the given bytes, got [2, 1, 3, 3]',
    );
    for (const text of ['', '[5]', '[0, 6]', '[5.5,6]', '["5",6]', '[5,6,7]']) {
      const metadata = { original_size: text, input_size: '[40,48]' };
      await expect(loadEmbedding(withShape([1, 2, 3, 3], metadata))).rejects.toThrow(
        `expected original_size in the metadata of the given bytes as [height, width], got '${text}'`,
      );
    }
    expect(tf.memory().numTensors).toBe(before + 1); // the zeros above
  });
});

describe('encoder and decoder apart', () => {
  it.each(['sam-tiny', 'slimsam-object'])('answer as together: %s', async (name) => {
    const sam = name === 'sam-tiny' ? tiny : await readSlimsamObject();
    const whole = createPredictor(sam.weights, sam.config);
    const prompt = { points: [[50, 40]] };
    const wanted = await whole.predict(whole.embed(image), prompt);

    const [encoderFile, decoderFile] = ['encoder', 'decoder'].map((part) =>
      join(folder, `${name}-${part}.safetensors`),
    );
    await saveSam(encoderFile!, sam, { part: 'encoder' });
    await saveSam(decoderFile!, sam, { part: 'decoder' });
    const before = tf.memory().numTensors;
    const server = await loadSam(encoderFile!, { part: 'encoder' });
    const browser = await loadSam(decoderFile!, { part: 'decoder' });
    expect(server.config).toEqual(sam.config);
    expect(browser.config).toEqual(sam.config);
    const names = [...Object.keys(server.weights), ...Object.keys(browser.weights)];
    expect(names.sort()).toEqual(Object.keys(sam.weights).sort());

    const sent = createPredictor(server.weights, server.config).embed(image);
    const received = await loadEmbedding(await serializeEmbedding(sent));
    const found = await createPredictor(browser.weights, browser.config).predict(received, prompt);
    expect(found.masks).toEqual(wanted.masks);
    expect(found.scores).toEqual(wanted.scores);
    expect(await found.lowRes.data()).toEqual(await wanted.lowRes.data());
    tf.dispose([sent.embedding, received.embedding, found.lowRes]);
    disposeWeights(server.weights);
    disposeWeights(browser.weights);
    expect(tf.memory().numTensors).toBe(before);
  });

  it('are read from a whole file too, the decoder without a byte of the encoder', async () => {
    const source = fixturePath('sam-tiny/model.safetensors');
    const read: number[] = [];
    const options = { config: tinyConfig, onProgress: ({ loaded }: { loaded: number }) => read.push(loaded) };
    const decoder = await loadSam(source, { ...options, part: 'decoder' });
    const { length } = await readFile(source);
    const bytes = Object.values(decoder.weights).reduce((sum, { size }) => sum + 4 * size, 0);
    expect(Object.keys(decoder.weights).some((name) => name.startsWith('image_encoder'))).toBe(false);
    expect(decoder.config).toEqual(tinyConfig);
    expect(Math.max(...read)).toBeLessThan(bytes + length / 10); // the header besides
    disposeWeights(decoder.weights);
  });

  it('are told apart', async () => {
    const path = join(folder, 'decoder-alone.safetensors');
    await saveSam(path, tiny, { part: 'decoder' });
    await expect(loadSam(path)).rejects.toThrow(/image_encoder/);
    await expect(loadSam(path, { part: 'encoder' })).rejects.toThrow(/image_encoder/);
    const { weights, config } = await loadSam(path, { part: 'decoder' });
    const predictor = createPredictor(weights, config);
    const before = tf.memory().numTensors;
    expect(() => predictor.embed(image)).toThrow("expected weight 'image_encoder.");
    expect(tf.memory().numTensors).toBe(before);
    await expect(saveSam(folder, tiny, { part: 'decoder', names: 'hugging-face' })).rejects.toThrow(
      "got part: 'decoder'",
    );
    await writeFile(path, 'not a model');
    await expect(loadSam(path, { part: 'decoder' })).rejects.toThrow('decoder-alone.safetensors');
  });
});
