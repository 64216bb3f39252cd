import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { generateScene } from '@slimsam/scenes';
import { initSam, samPresets } from '@slimsam/vit';
import { resizeBilinear } from '@slimsam/vit/images';
import { exportOnnx } from '@slimsam/vit/onnx';
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ImageToSegment, Prompt } from '../protocols/segment.ts';
import { conventionOf } from './conventions.ts';
import { onnxConventions, openOnnx, openOnnxPath } from './index.ts';

let work = '';
beforeAll(async () => {
  await tf.setBackend('cpu');
  work = await mkdtemp(path.join(tmpdir(), 'slimsam-onnx-'));
  const { config, sizes } = samPresets.tiny;
  const sam = { weights: initSam(config, sizes, { seed: 3 }), config };
  await exportOnnx(path.join(work, 'a'), sam);
  await exportOnnx(path.join(work, 'b'), sam, { convention: 'transformers.js' });
  const blind = Object.entries(sam.weights).map(([name, weight]) => {
    const isCorner = /point_embeddings\.[23]/.test(name);
    return [name, isCorner ? tf.zerosLike(weight) : weight] as const;
  });
  await exportOnnx(path.join(work, 'blind'), { ...sam, weights: Object.fromEntries(blind) });
});
afterAll(() => rm(work, { recursive: true, force: true }));

const { image: pixels } = generateScene(5, { width: 60, height: 45 });
const image: ImageToSegment = {
  ...{ id: 1, name: 'scene', width: 60, height: 45, bytes: async () => new Uint8Array(), pixels: async () => pixels },
};
const prompts: readonly Prompt[] = [
  { points: [[20, 30]], labels: [1], multimask: true },
  { box: [10, 5, 30, 20], multimask: true },
  {
    points: [
      [20, 30],
      [50, 10],
    ],
    labels: [1, 0],
    multimask: true,
  },
];

test('both conventions of one model give the same masks and scores', async () => {
  const a = await openOnnx({
    encoder: path.join(work, 'a/encoder.onnx'),
    decoder: path.join(work, 'a/decoder.onnx'),
    convention: onnxConventions['segment-anything'],
    resize: resizeBilinear,
  });
  const b = await openOnnx({
    encoder: path.join(work, 'b/onnx/vision_encoder.onnx'),
    decoder: path.join(work, 'b/onnx/prompt_encoder_mask_decoder.onnx'),
    convention: onnxConventions['transformers.js'],
    resize: resizeBilinear,
  });
  const [one, other] = [await a.segment(image, prompts), await b.segment(image, prompts)];
  expect(one.map(({ masks }) => masks.length)).toEqual([3, 3, 3]);
  one.forEach(({ masks, scores }, i) => {
    scores.forEach((score, k) => {
      expect(other[i]!.scores[k]).toBeCloseTo(score, 4);
    });
    masks.forEach((mask, k) => {
      const differ = mask.filter((inside, at) => inside !== other[i]!.masks[k]![at]).length;
      expect(differ).toBeLessThan(mask.length * 0.005); // logits next to 0
    });
  });
  const [single] = await a.segment(image, [{ ...prompts[0]!, multimask: false }]);
  expect(single!.masks).toHaveLength(1);
  const [next] = await a.segment(image, [{ ...prompts[2]!, multimask: false, previous: single! }]);
  const [without] = await a.segment(image, [{ ...prompts[2]!, multimask: false }]);
  expect(next!.scores).not.toEqual(without!.scores); // the answer before is an input
  await a.close();
  await b.close();
});

test('files that are missing or of another convention are refused', async () => {
  const files = { encoder: path.join(work, 'a/encoder.onnx'), decoder: path.join(work, 'a/decoder.onnx') };
  await expect(openOnnx({ ...files, convention: onnxConventions['transformers.js'] })).rejects.toThrow(
    'expected the inputs pixel_values, got image; take another convention',
  );
  await expect(
    openOnnx({ ...files, encoder: 'nowhere.onnx', convention: onnxConventions['segment-anything'] }),
  ).rejects.toThrow("'nowhere.onnx': expected an ONNX model");
});

test('the convention is told by the names of the inputs', async () => {
  const { segment, close, files } = await openOnnxPath(path.join(work, 'b'), { resize: resizeBilinear });
  expect(files.map((file) => path.basename(file))).toEqual(['vision_encoder.onnx', 'prompt_encoder_mask_decoder.onnx']);
  expect(await segment(image, prompts)).toHaveLength(3); // a box too: this decoder knows its corners
  await close();
  for (const convention of ['segment-anything', 'edge-sam', 'efficient-sam', 'transformers.js'] as const) {
    const { image: how, prompt } = onnxConventions[convention];
    const extras = { none: [], size: ['orig_im_size'], 'masks-and-size': ['mask_input', 'has_mask_input'] }[
      prompt.extras
    ];
    const names = [how.input, ...how.embeddings, prompt.points, prompt.labels, ...extras];
    expect(conventionOf(new Set(names))).toBe(onnxConventions[convention]);
  }
  expect(conventionOf(new Set(['images', 'points']))).toBeUndefined();
});

test('a decoder that does not know the corners of a box is found out', async () => {
  // corners of this convention have labels that the decoder gives no embedding of their own, as transformers' export
  const convention = onnxConventions['segment-anything'];
  const model = await openOnnx({
    ...{ encoder: path.join(work, 'a/encoder.onnx'), decoder: path.join(work, 'blind/decoder.onnx') },
    convention: { ...convention, prompt: { ...convention.prompt, corners: 'some files' } },
    resize: resizeBilinear,
  });
  await expect(model.segment(image, [prompts[1]!])).rejects.toThrow(
    'expected a decoder that knows the corners of a box',
  );
  expect(await model.segment(image, [prompts[0]!])).toHaveLength(1);
  await model.close();
});
