import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generateScenes } from '@slimsam/scenes';
import { initVit, loadSam, parseVitConfig, saveVit } from '@slimsam/vit';
import { disposeWeights, saveWeights } from '@slimsam/weights';
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import sharp from 'sharp';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { runProgram } from '../src/cli/program.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'whole-way-'));
  await tf.setBackend('cpu');
  await generateScenes({ folder: join(folder, 'photos'), count: 5, seed: 4, size: 64 });
  const config = parseVitConfig({ imageSize: [56, 56], heads: 2, headWidth: 8 });
  const weights = initVit(config, { depth: 2, mlpWidth: 32, patchSize: 14, layerScale: 1 }, { seed: 1 });
  await saveVit(join(folder, 'vit.safetensors'), { config, weights });
  disposeWeights(weights);
});
afterAll(() => rm(folder, { recursive: true }));

const run = (line: string) =>
  runProgram(
    [...line.split(' ').map((word) => (word.startsWith('@') ? join(folder, word.slice(1)) : word)), '--backend', 'cpu'],
    new AbortController().signal,
  );

it('from a plain ViT to a slim SAM by commands, as the model cards have it: trained, slimmed, measured, through ONNX', async () => {
  const views = '--batch 2 --prompts 2 --chunk 2 --passes 2 --threads 0 --boxes 0.5';
  expect(
    await run(`train --vit @vit.safetensors --size 56 --width 32 --images @photos --steps 3 ${views} --run @sam`),
  ).toBe(0);
  const small =
    '--small 28 --reconstruct 3 --own-size-epochs 1 --epochs 1 --steps 2 --batch 2 --sample 2 --held 1 --rate 1e-3 --rounding 1 --recipe rotated --relative --warmup 1 --own-size-rate 1e-3';
  expect(await run(`compress @sam/model.safetensors --images @photos --ratio 0.5 ${small} --run @slim`)).toBe(0);
  expect(await run('segment @photos/sa_1.jpg --model @slim/slim.safetensors --point 20,30 --out @mask.png')).toBe(0);
  expect(await sharp(join(folder, 'mask.png')).metadata()).toMatchObject({ width: 64, height: 64 });
  const [whole, slim] = [await loadSam(join(folder, 'sam')), await loadSam(join(folder, 'slim', 'slim.safetensors'))];
  const widthOf = ({ weights }: typeof whole) => weights['image_encoder.blocks.1.mlp.lin1.weight']!.shape;
  expect(widthOf(whole)).toEqual([32, 16]);
  const [mlp, embed] = widthOf(slim);
  expect([mlp! < 32, embed]).toEqual([true, 8]);
  expect(slim.config).toEqual(whole.config);
  const { curve, facts } = JSON.parse(await readFile(join(folder, 'sam', 'training.json'), 'utf8'));
  expect([curve.at(-1).step, facts.boxes]).toEqual([3, 0.5]);

  expect(await run('export @slim/slim.safetensors --onnx @onnx')).toBe(0);
  const miou = async (model: string, out: string): Promise<number> => {
    expect(await run(`evaluate ${model} --data @photos --protocol points --out ${out}`)).toBe(0);
    const summary = JSON.parse(await readFile(join(folder, out.slice(1), 'summary.json'), 'utf8'));
    expect(summary.masks).toBeGreaterThan(5);
    return summary.miou;
  };
  expect(await miou('@onnx', '@by-onnx')).toBeCloseTo(await miou('@slim/slim.safetensors', '@by-us'), 2);

  // a slim model goes on to be aligned: the mean of runs of one plan
  const more = 'compress @sam/model.safetensors --images @photos --epochs 1 --steps 1 --batch 2 --held 1 --rate 1e-12';
  expect(await run(`${more} --recipe align --start @slim @slim --run @more`)).toBe(0);
  const further = await loadSam(join(folder, 'more', 'slim.safetensors'));
  expect(Object.keys(further.weights).sort()).toEqual(Object.keys(slim.weights).sort());
  for (const name of ['image_encoder.blocks.1.mlp.lin1.weight', 'mask_decoder.iou_token.weight']) {
    const wanted = await slim.weights[name]!.data();
    (await further.weights[name]!.data()).forEach((value, i) => {
      expect(value, name).toBeCloseTo(wanted[i]!, 6);
    });
  }
  const planOf = (name: string) => readFile(join(folder, name, 'slim.plan.json'), 'utf8');
  expect(await planOf('more')).toBe(await planOf('slim'));
  for (const wrong of [
    '--recipe align',
    '--start @slim',
    '--recipe align --start @sam',
    '--recipe align --start @slim --ratio 0.3',
  ])
    expect(await run(`${more} ${wrong} --run @wrong`), wrong).toBe(1);
  const ofSlim = more.replace('@sam/model', '@slim/slim'); // it was not made of itself
  expect(await run(`${ofSlim} --recipe align --start @slim --run @wrong`)).toBe(1);

  // two runs that began alike, together; a decoder's heads anew
  const token = 'mask_decoder.iou_token.weight';
  for (const [name, value] of Object.entries({ one: 1, three: 3 }))
    await saveWeights(join(folder, `${name}.safetensors`), { [token]: tf.fill([1, 32], value) });
  const again = `train --sam @sam/model.safetensors --stage masks --images @photos --steps 1 --rate 1e-9 ${views}`;
  expect(await run(`${again} --start @one.safetensors @three.safetensors --sides --run @mean`)).toBe(0);
  const mean = await loadSam(join(folder, 'mean'));
  expect(await mean.weights[token]!.data()).toEqual(new Float32Array(32).fill(2));
  const heads = 'mask_decoder.transformer.layers.1.cross_attn_image_to_token.q_proj.weight';
  const used = async ({ weights }: typeof mean) => (await weights[heads]!.data()).filter((value) => value !== 0).length;
  expect(await used(mean)).toBe(16); // each channel reads one frequency, as before training
  expect(await used(whole)).toBeGreaterThan(16);
  const frozen = again.replace('--sam @sam/model.safetensors', '--vit @vit.safetensors --size 56 --width 32');
  expect(await run(`${frozen} --start @one.safetensors --run @neckless`)).toBe(1); // its random neck would stay random
  await saveWeights(join(folder, 'three.safetensors'), { [token]: tf.fill([1, 16], 3) });
  expect(await run(`${again} --start @one.safetensors @three.safetensors --run @differ`)).toBe(1);
}, 120_000);
