import { fileURLToPath } from 'node:url';
import { generateScene } from '@slimsam/scenes';
import { encodeImage, loadSam, preprocess } from '@slimsam/vit';
import { disposeWeights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import { iouOf, objectsOf } from '../src/compress/teacher-objects.ts';
import { type CompressEvent, compress, photographsInMemory, slimSam } from '../src/index.ts';
import { tinyVit, withWebgpu } from './tiny.ts';

withWebgpu();
const teacher = () => loadSam(fileURLToPath(new URL('../../../examples/teacher/', import.meta.url)));
const pictures = Array.from({ length: 5 }, (_, i) => generateScene(900 + i, { width: 128, height: 96 }));
const photographs = photographsInMemory(pictures.map(({ image }, i) => ({ name: `scene ${i}`, image })));

test("objects are the original's masks within the photograph, each once, with points inside and outside of them", async () => {
  const sam = await teacher();
  const { imageSize } = sam.config;
  const picture = pictures[0]!.image;
  const content = [imageSize, Math.round((imageSize * picture.height) / picture.width)];
  const { pixels } = preprocess(picture, sam.config);
  const { embedding } = encodeImage(sam.weights, sam.config, pixels);
  const before = tf.memory().numTensors;
  const objects = await objectsOf(sam, embedding as tf.Tensor4D, { content, seed: 3 });
  expect(await objectsOf(sam, embedding as tf.Tensor4D, { content, seed: 3 })).toEqual(objects);
  expect(tf.memory().numTensors).toBe(before);
  expect(objects.length).toBeGreaterThan(1);
  const cells = Math.sqrt(objects[0]!.mask.length);
  const cell = imageSize / cells;
  const at = (mask: Uint8Array, [x, y]: readonly [number, number]) =>
    mask[Math.floor((y + 0.5) / cell) * cells + Math.floor((x + 0.5) / cell)];
  for (const [i, { mask, prompts }] of objects.entries()) {
    for (const point of prompts.inside) expect(at(mask, point)).toBe(1);
    for (const point of prompts.outside) expect(at(mask, point)).toBe(0);
    expect(mask.subarray(Math.ceil(content[1]! / cell) * cells).every((inside) => inside === 0)).toBe(true);
    for (const other of objects.slice(i + 1)) expect(iouOf(mask, other.mask)).toBeLessThan(0.7);
  }
  tf.dispose([pixels, embedding]);
  disposeWeights(sam.weights);
});

test('a third stage with prompts in the loop agrees better with the original, leaves the decoder, leaks nothing', async () => {
  const sam = await teacher();
  const before = tf.memory().numTensors;
  const how = { ratio: 0.25, epochs: 1, stepsPerEpoch: 1, criterion: 'magnitude' as const, learningRate: 3e-4 };
  const { steps } = slimSam({ ...how, promptEpochs: 2 });
  expect(steps.at(-1)).toMatchObject({ kind: 'align', name: 'align by prompts', loss: 'prompts', epochs: 2 });
  const recipe = { name: 'prompts', steps: [steps[2]!, { ...steps[4]!, stepsPerEpoch: 4 }] };
  const events: CompressEvent[] = [];
  for await (const event of compress(sam, { photographs, recipe, batch: 1, held: 1 })) events.push(event);
  const validations = events.filter((event) => event.type === 'validation');
  expect(validations.map(({ epoch }) => epoch)).toEqual([0, 1, 2]);
  const agreements = validations.map(({ agreement }) => agreement!);
  expect(Math.max(...agreements.slice(1))).toBeGreaterThan(agreements[0]!);
  expect(Math.max(...agreements)).toBeLessThanOrEqual(1);
  const losses = events.filter((event) => event.type === 'step');
  expect(losses).toHaveLength(8); // the eighth asks a second point
  expect(Object.keys(losses[0]!.parts)).toEqual(['focal', 'dice', 'iou', 'embedding']);
  const done = events.find((event) => event.type === 'done')!;
  expect(done.result.validation!.agreement).toBe(Math.max(...agreements));
  const { weights } = done.result.model;
  const name = 'mask_decoder.iou_token.weight';
  expect(await weights[name]!.data()).toEqual(await sam.weights[name]!.data());
  disposeWeights(weights);
  expect(tf.memory().numTensors).toBe(before);
  disposeWeights(sam.weights);
});

test('a plain ViT has no masks to ask for', async () => {
  const recipe = slimSam({ ratio: 0.5, epochs: 1, sample: 1, promptEpochs: 1 });
  await expect(compress(tinyVit(), { photographs, recipe }).next()).rejects.toThrow(
    "expected a SAM for 'align by prompts', got a plain ViT",
  );
});
