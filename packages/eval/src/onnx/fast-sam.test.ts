import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ImageToSegment, Prompt } from '../protocols/segment.ts';
import { type OnnxModel, openFastSam, openOnnxPath } from './index.ts';

/**
 * A model of 64 x 64 pixels whose outputs are fixed: five boxes, of which one is a duplicate and one not confident, and four maps. The
 * areas below are NumPy's, of an image of 48 x 36: masks A, B and C with confidences 0.9, 0.8 and 0.6.
 */
const file = fileURLToPath(new URL('../../test/fixtures/fast-sam-tiny.onnx', import.meta.url));
const [width, height] = [48, 36];
const pixels = { width, height, data: new Uint8Array(3 * width * height).fill(50) };
const image: ImageToSegment = {
  ...{ id: 1, name: 'plain', width, height, bytes: async () => new Uint8Array(), pixels: async () => pixels },
};

let model: OnnxModel;
beforeAll(async () => {
  model = await openFastSam({ model: file });
});
afterAll(() => model.close());

const area = (mask: Uint8Array) => mask.reduce((sum, inside) => sum + inside, 0);
async function answer(prompt: Partial<Prompt>) {
  const [found] = await model.segment(image, [{ multimask: false, ...prompt }]);
  return { areas: found!.masks.map(area), scores: found!.scores.map((score) => Math.round(score * 100) / 100) };
}

test('a point: all masks that have it, united; a point outside takes masks away', async () => {
  expect(await answer({ points: [[14, 18]], labels: [1] })).toEqual({ areas: [1308], scores: [0.9] });
  const points = [
    [14, 18],
    [34, 18],
  ] as const;
  expect(await answer({ points, labels: [1, 0] })).toEqual({ areas: [426], scores: [0.9] });
  expect(await answer({ points: [[1, 1]], labels: [1] })).toEqual({ areas: [0], scores: [0] });
});

test('a box: the mask of the highest IoU with it', async () => {
  expect(await answer({ box: [25, 9, 19, 18] })).toEqual({ areas: [256], scores: [0.8] });
  expect(await answer({ box: [0, 6, 28, 24] })).toEqual({ areas: [448], scores: [0.9] });
});

test('several masks for a point: the most confident that have it', async () => {
  expect(await answer({ points: [[24, 18]], labels: [1], multimask: true })).toEqual({
    areas: [448, 256, 1308],
    scores: [0.9, 0.8, 0.6],
  });
});

test('thresholds, and files that are none', async () => {
  const few = await openOnnxPath(file);
  expect(few.files).toEqual([file]);
  await few.close();
  const strict = await openFastSam({ model: file, confidence: 0.85 });
  const [only] = await strict.segment(image, [{ points: [[34, 18]], labels: [1], multimask: false }]);
  expect(only!.scores).toEqual([0]);
  await strict.close();
  await expect(openOnnxPath('nowhere.onnx')).rejects.toThrow("expected ONNX files at 'nowhere.onnx', got ENOENT");
  await expect(openOnnxPath(fileURLToPath(new URL('.', import.meta.url)))).rejects.toThrow(
    /expected files named …encoder….onnx and …decoder….onnx/,
  );
});
