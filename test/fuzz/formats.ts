import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { loadTraining } from '@slimsam/distill';
import { decodeRle } from '@slimsam/eval';
import { formatPlan, parsePlan, plan } from '@slimsam/prune';
import {
  decodeImage,
  initSam,
  loadEmbedding,
  loadSam,
  loadVit,
  parseSamConfig,
  parseVitConfig,
  samPresets,
} from '@slimsam/vit';
import { disposeWeights, linear, openTensors, serializeSafetensors } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import sharp from 'sharp';
import {
  call,
  instance,
  type Python,
  pickleOf,
  tensorOf,
  torchFile,
} from '../../packages/weights/test/pytorch-files.ts';

/** A kind of input from outside: valid small ones, and the call that reads them. */
export interface Format {
  /** Valid inputs, made by a generator. */
  readonly seeds: () => Promise<Uint8Array[]>;
  /** Reads one, in a folder of its own. Throws for what is wrong. */
  readonly read: (bytes: Uint8Array, folder: string) => Promise<void>;
}

const utf8 = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));
const json = (bytes: Uint8Array): unknown => {
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    throw new Error('JSON.parse: expected JSON, got other text'); // the caller's own reading
  }
};
const ramp = (length: number) => Float32Array.from({ length }, (_, i) => Math.sin(i));

async function readAll(bytes: Uint8Array): Promise<void> {
  const file = await openTensors(bytes);
  for (const name of Object.keys(file.tensors)) await file.read(name);
  await file.close();
}

const state = (): [Python, Record<string, ArrayBufferView>] => [
  new Map<string, Python>([
    [
      'model',
      new Map<string, Python>([
        ['a', tensorOf('0', [2, 3])],
        ['b', tensorOf('0', [3, 2], { strides: [1, 3] })],
      ]),
    ],
    ['args', instance('argparse', 'Namespace', new Map<string, Python>([['lr', 1]]))],
    ['device', call('torch', 'device', ['cuda', 0])],
    ['step', tensorOf('1', [], { type: 'LongStorage' })],
  ]),
  { 0: ramp(6), 1: BigInt64Array.of(7n) },
];

async function tinySam(metadata: Record<string, string> = {}): Promise<Uint8Array> {
  const { config, sizes } = samPresets.tiny;
  const weights = initSam(config, sizes, { seed: 1 });
  const tensors = Object.fromEntries(
    await Promise.all(
      Object.entries(weights).map(async ([name, tensor]) => {
        const data = await tensor.data<'float32'>();
        return [name, { dtype: 'F16' as const, shape: tensor.shape, data: data.map((value) => value) }] as const;
      }),
    ),
  );
  disposeWeights(weights);
  return serializeSafetensors(tensors, metadata);
}

const pixels = () =>
  sharp(Buffer.from(Array.from({ length: 9 * 7 * 3 }, (_, i) => (i * 37) & 255)), {
    raw: { width: 9, height: 7, channels: 3 },
  });

/** Every kind of file and JSON that the packages read. */
export const formats: Readonly<Record<string, Format>> = {
  safetensors: {
    seeds: async () => [
      serializeSafetensors(
        {
          a: { dtype: 'F32', shape: [2, 3], data: ramp(6) },
          b: { dtype: 'F16', shape: [4], data: ramp(4) },
          c: { dtype: 'I64', shape: [], data: Int32Array.of(3) },
        },
        { format: 'pt', note: 'x' },
      ),
    ],
    read: readAll,
  },
  'PyTorch zip and pickle': {
    seeds: async () => [
      torchFile(pickleOf(state()[0]), state()[1]),
      torchFile(
        pickleOf(
          instance(
            'torch.nn.modules.linear',
            'Linear',
            new Map<string, Python>([['_parameters', new Map([['w', tensorOf('0', [6])]])]]),
          ),
        ),
        { 0: ramp(6) },
      ),
    ],
    read: readAll,
  },
  'SAM checkpoint': {
    seeds: async () => [await tinySam(), await tinySam({ sam_config: JSON.stringify(samPresets.tiny.config) })],
    read: async (bytes) => {
      const { weights } = await loadSam(bytes, { config: { decoderHeads: samPresets.tiny.config.decoderHeads } });
      disposeWeights(weights);
    },
  },
  'plain ViT checkpoint': {
    seeds: async () => {
      const shapes = {
        cls_token: [1, 1, 8],
        pos_embed: [1, 5, 8],
        'patch_embed.proj.weight': [8, 3, 2, 2],
        'patch_embed.proj.bias': [8],
        ...Object.fromEntries(
          ['norm1', 'norm2'].flatMap((name) => [
            [`blocks.0.${name}.weight`, [8]],
            [`blocks.0.${name}.bias`, [8]],
          ]),
        ),
        'blocks.0.attn.qkv.weight': [24, 8],
        'blocks.0.attn.qkv.bias': [24],
        'blocks.0.attn.proj.weight': [8, 8],
        'blocks.0.attn.proj.bias': [8],
        'blocks.0.mlp.fc1.weight': [16, 8],
        'blocks.0.mlp.fc1.bias': [16],
        'blocks.0.mlp.fc2.weight': [8, 16],
        'blocks.0.mlp.fc2.bias': [8],
        'norm.weight': [8],
        'norm.bias': [8],
      };
      const tensors = Object.entries(shapes).map(([name, shape]) => {
        const sizes = shape as number[];
        return [name, { dtype: 'F32' as const, shape: sizes, data: ramp(sizes.reduce((a, b) => a * b, 1)) }] as const;
      });
      return [serializeSafetensors(Object.fromEntries(tensors))];
    },
    read: async (bytes) => disposeWeights((await loadVit(bytes, { config: { heads: 2 } })).weights),
  },
  'training state': {
    seeds: async () => {
      const training = {
        format: 'slimsam-training',
        position: { epoch: 1, batch: 0, step: 3 },
        optimizerStep: 3,
        bestMetric: null,
        plateau: null,
        notes: { curve: [[1, 0.5]] },
      };
      const tensor = { dtype: 'F32' as const, shape: [2], data: ramp(2) };
      return [
        serializeSafetensors(
          { 'weight:a': tensor, 'm:a': tensor, 'v:a': tensor },
          { training: JSON.stringify(training) },
        ),
      ];
    },
    read: async (bytes, folder) => {
      const path = join(folder, 'state.safetensors');
      await writeFile(path, bytes);
      const { state } = await loadTraining(path);
      for (const table of [state.weights, state.optimizer.m, state.optimizer.v]) disposeWeights(table);
    },
  },
  'image embedding': {
    seeds: async () => [
      serializeSafetensors(
        { embedding: { dtype: 'F32', shape: [1, 2, 2, 2], data: ramp(8) } },
        { original_size: '[30, 40]', input_size: '[48, 64]' },
      ),
    ],
    read: async (bytes) => (await loadEmbedding(bytes)).dispose(),
  },
  'SAM config': {
    seeds: async () => [utf8(samPresets.tiny.config)],
    read: async (bytes) => void parseSamConfig(json(bytes)),
  },
  'ViT config': {
    seeds: async () => [
      utf8({ imageSize: [8, 8], heads: 2, headWidth: 4, processing: { size: { shortest: 9 }, resample: 'bicubic' } }),
    ],
    read: async (bytes) => void parseVitConfig(json(bytes)),
  },
  'pruning plan': {
    seeds: async () => {
      const weights = { 'a.weight': { shape: [4, 2] }, 'a.bias': { shape: [4] }, 'b.weight': { shape: [3, 4] } };
      const axes = { ...linear('a', 'hidden', null), 'b.weight': [null, 'hidden'] };
      const importance = { hidden: Float32Array.of(1, 4, 2, 3) };
      const made = await plan({ weights, axes, importance, ratio: 0.5, ranking: 'local', normalise: 'mean' });
      return [new TextEncoder().encode(formatPlan(made))];
    },
    read: async (bytes) => void parsePlan(new TextDecoder().decode(bytes)),
  },
  RLE: {
    seeds: async () => [utf8({ size: [3, 4], counts: [2, 5, 5] }), utf8({ size: [10, 10], counts: '25m2' })],
    read: async (bytes) => void decodeRle(json(bytes) as Parameters<typeof decodeRle>[0]),
  },
  JPEG: { seeds: async () => [await pixels().jpeg().toBuffer()], read: decode },
  PNG: {
    seeds: async () => [await pixels().png().toBuffer(), await pixels().png({ palette: true }).toBuffer()],
    read: decode,
  },
  'WebP, GIF, TIFF': {
    seeds: async () => [
      await pixels().webp().toBuffer(),
      await pixels().gif().toBuffer(),
      await pixels().tiff().toBuffer(),
    ],
    read: decode,
  },
};

async function decode(bytes: Uint8Array): Promise<void> {
  await decodeImage(bytes);
}

/** What must not stay behind. */
export function liveTensors(): number {
  return tf.memory().numTensors;
}
