import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readSafetensors, serializeSafetensors } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  initVit,
  loadVit,
  parseVitConfig,
  preprocessVit,
  saveVit,
  type VitConfig,
  vitAxes,
  vitFeatures,
  vitHead,
} from '../src/index.ts';
import { checkpoints, fileOf, randomTensors, type Shapes, tiny } from './plain-checkpoints.ts';
import { fixturePath, withWebgpu } from './support.ts';

withWebgpu();
let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'plain-vit-'));
});
afterEach(() => rm(folder, { recursive: true }));

const config: Partial<VitConfig> = { heads: 3, activation: 'gelu' };

it.each(Object.keys(checkpoints))('%s is written back as it was read', async (name) => {
  const tensors = randomTensors(checkpoints[name]!(tiny));
  const path = join(folder, 'vit.safetensors');
  const before = tf.memory().numTensors;
  const vit = await loadVit(serializeSafetensors(tensors), { config });
  expect(Object.keys(vitAxes(vit.weights, vit.config)).sort()).toEqual(Object.keys(vit.weights).sort());
  await saveVit(path, vit);
  const written = (await readSafetensors(path)).tensors;
  expect([...Object.keys(written), ...vit.ignored].sort()).toEqual(Object.keys(tensors).sort());
  for (const [name, tensor] of Object.entries(written)) expect(tensor, name).toEqual(tensors[name]);
  const again = await loadVit(path);
  expect({ config: again.config, origins: again.origins }).toEqual({
    config: vit.config,
    origins: Object.fromEntries(Object.entries(again.origins).map(([name]) => [name, vit.origins[name]])),
  });
  for (const [name, weight] of Object.entries(vit.weights)) {
    expect(again.weights[name]!.shape).toEqual(weight.shape);
    expect(await again.weights[name]!.data()).toEqual(await weight.data());
  }
  tf.dispose([vit.weights, again.weights]);
  expect(tf.memory().numTensors).toBe(before);
});

it('refuses to save a weight that has no place in the file', async () => {
  const vit = await loadVit(fileOf(checkpoints.ViTModel!(tiny)), { config });
  const more = { ...vit, weights: { ...vit.weights, 'head.weight': tf.zeros([2, 24]) } };
  await expect(saveVit(join(folder, 'x'), more)).rejects.toThrow(/got none for 'head.weight'; leave origins out/);
  expect(await readdir(folder)).toEqual([]);
  const { origins: _, ...under } = more;
  await saveVit(join(folder, 'x'), under);
  expect(Object.keys((await loadVit(join(folder, 'x'))).weights).sort()).toEqual(Object.keys(more.weights).sort());
});

it('lists what does not belong to the ViT', async () => {
  const { ignored } = await loadVit(fileOf(checkpoints.CLIPModel!(tiny)), { config });
  expect(ignored).toHaveLength(4);
  expect(ignored).toContain('text_projection.weight');
});

it('finds weights below the prefix of a trainer', async () => {
  const shapes = Object.entries(checkpoints['Meta DINOv2']!(tiny));
  const vit = await loadVit(
    fileOf(Object.fromEntries(shapes.map(([name, shape]) => [`teacher.backbone.${name}`, shape]))),
    {
      config,
    },
  );
  expect(Object.keys(vit.weights).sort()).toEqual(shapes.map(([name]) => name).sort());
  expect(vit.origins.norm).toBeUndefined();
  expect(vit.origins['norm.weight']!.names).toEqual(['teacher.backbone.norm.weight']);
});

describe('the config', () => {
  const half = [127.5, 127.5, 127.5];
  const imageNet = [123.675, 116.28, 103.53];
  const cases: [string, Record<string, unknown> | undefined, Partial<VitConfig>][] = [
    [
      'timm ViT',
      undefined,
      { heads: 2, headWidth: 64, epsilon: 1e-6, antialias: true, pixelMean: [127.5, 127.5, 127.5] },
    ],
    [
      'timm ViT',
      {
        architecture: 'deit_tiny_patch16_224',
        pretrained_cfg: { input_size: [3, 12, 12], mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] },
      },
      { heads: 2, activation: 'gelu', pixelMean: [123.675, 116.28, 103.53], pixelStd: [58.395, 57.12, 57.375] },
    ],
    ['timm CLIP', { architecture: 'vit_base_patch32_clip_quickgelu_224' }, { activation: 'quick-gelu', epsilon: 1e-5 }],
    ['timm CLIP', { architecture: 'vit_base_patch32_clip_224' }, { activation: 'gelu' }],
    ['Meta DINOv2', undefined, { antialias: false, pixelMean: [123.675, 116.28, 103.53] }],
    ['ViTModel', undefined, { heads: 2, epsilon: 1e-12, antialias: false, imageSize: [12, 12] }],
    [
      'ViTForImageClassification',
      { num_attention_heads: 4, layer_norm_eps: 1e-3, hidden_act: 'gelu', image_size: 12 },
      { heads: 4, headWidth: 32, epsilon: 1e-3 },
    ],
    [
      'Dinov2WithRegistersModel',
      { num_attention_heads: 8, image_size: 12 },
      { heads: 8, headWidth: 16, epsilon: 1e-6, antialias: true },
    ],
    [
      'CLIPVisionModel',
      { num_attention_heads: 4, hidden_act: 'gelu' },
      { heads: 4, activation: 'gelu', epsilon: 1e-5 },
    ],
    [
      'CLIPModel',
      { vision_config: { num_attention_heads: 4, hidden_act: 'quick_gelu', image_size: 12 }, text_config: {} },
      { heads: 4, activation: 'quick-gelu', epsilon: 1e-5 },
    ],
  ];
  it.each(cases)('of a %s is read from %j and the shapes', async (name, json, expected) => {
    await writeFile(join(folder, 'model.safetensors'), fileOf(checkpoints[name]!({ ...tiny, width: 128 })));
    if (json) await writeFile(join(folder, 'config.json'), JSON.stringify(json));
    expect((await loadVit(folder)).config).toMatchObject(expected);
  });

  it('takes the pixels from preprocessor_config.json', async () => {
    await writeFile(join(folder, 'model.safetensors'), fileOf(checkpoints.ViTModel!(tiny)));
    await writeFile(join(folder, 'config.json'), JSON.stringify({ num_attention_heads: 3 }));
    const processor = { image_mean: [0.485, 0.456, 0.406], image_std: [0.5, 0.5, 0.5], size: 12 };
    await writeFile(join(folder, 'preprocessor_config.json'), JSON.stringify(processor));
    expect((await loadVit(folder)).config).toMatchObject({ heads: 3, pixelMean: imageNet, pixelStd: half });
  });

  it('honours or refuses every key of an image processor that changes pixels, also inside processor_config.json', async () => {
    await writeFile(join(folder, 'model.safetensors'), fileOf(checkpoints.ViTModel!(tiny)));
    await writeFile(join(folder, 'config.json'), JSON.stringify({ num_attention_heads: 3 }));
    const load = async (processor: object) => {
      await writeFile(join(folder, 'processor_config.json'), JSON.stringify({ image_processor: processor }));
      const loaded = await loadVit(folder);
      tf.dispose(loaded.weights);
      return loaded.config;
    };
    const mean = [0.485, 0.456, 0.406];
    expect(await load({ image_mean: mean })).toMatchObject({ pixelMean: imageNet });
    expect(await load({ image_mean: mean, do_normalize: false })).toMatchObject({
      pixelMean: [0, 0, 0],
      pixelStd: [255, 255, 255],
    });
    expect(await load({ image_mean: mean, rescale_factor: 1 })).toMatchObject({ pixelMean: mean });
    expect(await load({ image_mean: mean, image_std: [2, 2, 2], do_rescale: false })).toMatchObject({
      pixelMean: mean,
      pixelStd: [2, 2, 2],
    });
    const dinov2 = { size: { shortest_edge: 20 }, crop_size: { height: 12, width: 12 }, resample: 3 };
    expect((await load({ ...dinov2, do_center_crop: true })).processing).toEqual({
      size: { shortest: 20 },
      crop: { height: 12, width: 12 },
      resample: 'bicubic',
    });
    expect((await load({ size: 20, crop_size: 12, do_center_crop: true })).processing).toMatchObject({
      size: { shortest: 20 },
    });
    expect((await load({ size: 20 })).processing).toEqual({ size: { height: 20, width: 20 }, resample: 'bilinear' });
    await expect(load({ do_resize: false })).rejects.toThrow(
      'got do_resize false; such preprocessing is not done here',
    );
    await expect(load({ size: { longest_edge: 12 } })).rejects.toThrow('got size by its longest edge');
    await expect(load({ size: { longest_edge: 12, shortest_edge: 3 } })).rejects.toThrow('expected size both sides');
    await expect(load({ resample: 1 })).rejects.toThrow('expected resample 2 (bilinear) or 3 (bicubic) in processor_');
    await expect(load({ offset: true })).rejects.toThrow('expected offset false');
    await expect(load({ image_mean: 'x' })).rejects.toThrow("'image_mean'");
  });

  it('saves and reads how pictures are processed', async () => {
    const vit = await loadVit(fileOf(checkpoints.ViTModel!(tiny)), {
      config: {
        ...config,
        processing: { size: { shortest: 20 }, crop: { height: 12, width: 12 }, resample: 'bicubic' },
      },
    });
    const path = join(folder, 'vit.safetensors');
    await saveVit(path, vit);
    expect((await loadVit(path)).config).toEqual(vit.config);
  });
});

/** The checkpoint of a ViTModel, changed. */
const changed = (change: (shapes: Shapes) => Shapes, name = 'ViTModel') => fileOf(change(checkpoints[name]!(tiny)));
const without = (left: string, name?: string) =>
  changed((shapes) => Object.fromEntries(Object.entries(shapes).filter(([name]) => name !== left)), name);
const query = 'encoder.layer.1.attention.attention.query.weight';

const refused: [string, () => Uint8Array, Partial<VitConfig>, RegExp][] = [
  [
    'no ViT',
    () => fileOf({ 'fc.weight': [2, 2], 'fc.bias': [2] }),
    {},
    /a CLIP vision tower in the given bytes, got 2 tensors \('fc.bias', 'fc.weight'…\)/,
  ],
  ['a missing weight', () => without('layernorm.bias'), config, /expected 'norm.bias' \(timm's names\) in/],
  [
    'a block without a part',
    () => without('blocks.1.ls2.gamma', 'Meta DINOv2'),
    config,
    /expected 'blocks.1.ls2.gamma' /,
  ],
  ['no class token', () => without('cls_token', 'timm ViT'), config, /expected 'cls_token' .* without a class token/],
  [
    'a missing q',
    () => without(query),
    config,
    /expected q, k and v of one shape .*'blocks.1.attn.q.weight' none, 'blocks.1.attn.k.weight' \[24, 24\]/,
  ],
  [
    'a narrower q',
    () => changed((shapes) => ({ ...shapes, [query]: [21, 24] })),
    config,
    /'blocks.1.attn.q.weight' \[21, 24\], 'blocks.1.attn.k/,
  ],
  [
    'unknown parts',
    () => changed((shapes) => ({ ...shapes, 'blocks.0.attn.q_norm.weight': [8] }), 'timm ViT'),
    config,
    /got 'blocks.0.attn.q_norm.weight' too/,
  ],
  [
    'a misshapen weight',
    () => changed((shapes) => ({ ...shapes, 'layernorm.weight': [25] })),
    config,
    /misshapen weights .*axis 0 of 'norm.weight' to be \[embed\] = 24 .*got 25/,
  ],
  [
    'an MLP that does not fit',
    () => changed((shapes) => ({ ...shapes, 'encoder.layer.0.output.dense.weight': [24, 39] })),
    config,
    /'blocks.0.mlp.fc2.weight' .*got 39/,
  ],
  [
    'heads that do not fit',
    () => changed((shapes) => shapes),
    { heads: 5 },
    /multiple of 3 x 5 rows for 5 heads, got 72/,
  ],
  [
    'heads that nothing tells',
    () => changed((shapes) => shapes),
    {},
    /to tell heads, got nothing that does; give config: \{ heads: n \}/,
  ],
  [
    'an activation that nothing tells',
    () => changed((shapes) => shapes, 'timm CLIP'),
    { heads: 3 },
    /to tell activation, .*config: \{ activation/,
  ],
  [
    'a size that the positions do not have',
    () => changed((shapes) => shapes),
    { ...config, imageSize: [12, 16] },
    /'pos_embed' of 12 or 13 positions for images of 12 x 16 .*got 10/,
  ],
  [
    'a size that the patches do not divide',
    () => changed((shapes) => shapes),
    { ...config, imageSize: [12, 15] },
    /multiples of the patch, 4 x 4, got \[1,3,12,15\]/,
  ],
  [
    'positions that are no square',
    () => fileOf(checkpoints['timm ViT']!({ ...tiny, grid: [2, 3] })),
    config,
    /to tell imageSize/,
  ],
];
it.each(refused)('refuses %s', async (_, file, config, message) => {
  const before = tf.memory().numTensors;
  await expect(loadVit(file(), { config })).rejects.toThrow(message);
  expect(tf.memory().numTensors).toBe(before);
});

it('refuses a SAM, integers and wrong configs', async () => {
  await expect(loadVit(fixturePath('sam-tiny/model.safetensors'))).rejects.toThrow(/of a SAM; loadSam loads it/);
  const tensors = randomTensors(checkpoints.ViTModel!(tiny));
  const quantised: typeof tensors = {
    ...tensors,
    'layernorm.bias': { dtype: 'I32', shape: [24], data: new Int32Array(24) },
  };
  await expect(loadVit(serializeSafetensors(quantised), { config })).rejects.toThrow(
    /'layernorm.bias' .* as floats, got I32/,
  );
  await writeFile(join(folder, 'model.safetensors'), fileOf(checkpoints.ViTModel!(tiny)));
  await writeFile(join(folder, 'config.json'), JSON.stringify({ hidden_act: 'gelu_new' }));
  await expect(loadVit(folder)).rejects.toThrow(/expected a ViT's config in .*'hidden_act'/);
  const own = serializeSafetensors(tensors, { vit_config: '{' });
  await expect(loadVit(own)).rejects.toThrow(/expected JSON as vit_config/);
  expect(() => parseVitConfig({ imageSize: [4, 4], heads: 0, headWidth: 8, extra: 1 })).toThrow(/heads.*extra/);
  expect(await readdir(folder)).toHaveLength(2);
});

describe('vitFeatures', () => {
  const image = (...shape: [number, number, number, number]) => tf.zeros<tf.Rank.R4>(shape);
  it('names what does not fit', async () => {
    const { weights, config: own } = await loadVit(fileOf(checkpoints['Meta DINOv2']!(tiny)), { config });
    const before = tf.memory().numTensors;
    const images = [image(1, 3, 12, 14), image(1, 1, 12, 12), image(1, 3, 12, 12)] as const;
    expect(() => vitFeatures(weights, own, images[0])).toThrow(
      /expected image \[B, 3, H, W\] with H and W multiples of the patch, 4 x 4, got \[1,3,12,14\]/,
    );
    expect(() => vitFeatures(weights, own, images[1])).toThrow(/got \[1,1,12,12\]/);
    expect(() => vitFeatures(weights, { ...own, heads: 7 }, images[2])).toThrow(/3 x 7 rows for 7 heads, got 72/);
    expect(() => vitFeatures(weights, { ...own, imageSize: [16, 16] }, images[2])).toThrow(
      /'pos_embed' \[1, 16 or one/,
    );
    expect(() => vitFeatures(weights, own, images[2], { taps: ['blocks.2'] })).toThrow(
      /patch_embed, blocks.0.*'blocks.2'/,
    );
    const { 'norm.bias': _, ...rest } = weights;
    expect(() => vitFeatures(rest, own, images[2])).toThrow(/expected weight 'norm.bias', got none/);
    const features = vitFeatures(weights, own, images[2]);
    expect(() => vitHead(weights, features)).toThrow(/expected weight 'head.weight', got none/);
    expect(() => vitHead({ 'head.weight': tf.zeros([2, 20]) }, features)).toThrow(
      /\[O, 24\] or \[O, 48\], got \[2,20\]/,
    );
    const { tokens, classToken, embedding } = features;
    tf.dispose([...images, tokens, classToken, embedding]);
    expect(tf.memory().numTensors).toBe(before + 1); // the head
  });
});

describe('initVit and preprocessVit', () => {
  const own = parseVitConfig({
    imageSize: [8, 12],
    heads: 2,
    headWidth: 4,
    pixelMean: [10, 20, 30],
    pixelStd: [2, 4, 5],
  });
  it('gives a ViT that is a function of the seed, and survives a file under its own names', async () => {
    const sizes = { depth: 1, mlpWidth: 16, patchSize: 4, registers: 2, layerScale: 0.5 };
    const [a, b, c] = [1, 1, 2].map((seed) => initVit(own, sizes, { seed }));
    expect(await a!.pos_embed!.data()).toEqual(await b!.pos_embed!.data());
    expect(await a!.pos_embed!.data()).not.toEqual(await c!.pos_embed!.data());
    const path = join(folder, 'new.safetensors');
    await saveVit(path, { weights: a!, config: own }, { dtype: 'F16' });
    const loaded = await loadVit(path);
    expect(loaded.config).toEqual(own);
    expect(Object.keys(loaded.weights).sort()).toEqual(Object.keys(a!).sort());
    const half = (await loaded.weights.pos_embed!.data()) as Float32Array;
    (await a!.pos_embed!.data()).forEach((value, i) => {
      expect(Math.abs(half[i]! - value)).toBeLessThan(Math.abs(value) / 2 ** 10 + 1e-7);
    });
    const { tokens, embedding } = vitFeatures(loaded.weights, own, tf.ones([2, 3, 8, 12]));
    expect([tokens.shape, embedding.shape]).toEqual([
      [2, 1 + 2 + 6, 8],
      [2, 8, 2, 3],
    ]);
  });
  it('normalises pixels, and squeezes other images to the size', async () => {
    const data = Uint8Array.from({ length: 8 * 12 * 3 }, (_, i) => (i * 7) % 256);
    const pixels = preprocessVit({ width: 12, height: 8, data }, own);
    expect(pixels.shape).toEqual([1, 3, 8, 12]);
    const values = await pixels.data();
    for (const [y, x, channel] of [
      [0, 0, 0],
      [3, 5, 1],
      [7, 11, 2],
    ] as const) {
      const byte = data[(y * 12 + x) * 3 + channel]!;
      expect(values[(channel * 8 + y) * 12 + x]).toBeCloseTo((byte - [10, 20, 30][channel]!) / [2, 4, 5][channel]!, 5);
    }
    const grey = preprocessVit({ width: 30, height: 5, data: new Uint8Array(450).fill(50) }, own);
    const wanted = [20, 7.5, 4].flatMap((value) => Array(96).fill(value));
    expect(Array.from(await grey.data())).toEqual(wanted);
  });
});
