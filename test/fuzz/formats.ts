import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { loadTraining } from '@slimsam/distill';
import {
  initSam,
  initVit,
  loadEmbedding,
  loadSam,
  loadVit,
  parseSamConfig,
  parseVitConfig,
  type SamConfig,
  samPresets,
} from '@slimsam/vit';
import { disposeWeights, openTensors, serializeSafetensors, type Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import {
  call,
  instance,
  type Python,
  pickleOf,
  tensorOf,
  torchFile,
  zipOf,
} from '../../packages/weights/test/pytorch-files.ts';
import { dataFormats } from './data-formats.ts';
import { type Format, json, ramp, utf8 } from './format.ts';
import type { Random } from './random.ts';

const product = (shape: readonly number[]) => shape.reduce((size, length) => size * length, 1);
const shapeOf = (random: Random, rank = random(4)) => Array.from({ length: rank }, () => random(5));
const flag = (random: Random) => random(2) === 0;

/** Names as files have them, and ones that are properties of every object. */
function nameOf(random: Random, i: number): string {
  const names = ['weight', 'blocks.0.attn.qkv.weight', '__proto__', 'constructor', 'ünïcödé 🦊', 'a b', 'model:x', ''];
  return flag(random) ? `${names[random(names.length)]}${i}` : names[i % names.length]!;
}

async function readAll(bytes: Uint8Array): Promise<void> {
  const file = await openTensors(bytes);
  for (const name of Object.keys(file.tensors)) await file.read(name);
  await file.close();
}

function safetensors(random: Random): Uint8Array {
  const dtypes = ['F32', 'F16', 'BF16', 'F64', 'I32', 'U8', 'BOOL', 'I64'] as const;
  const tensors = Array.from({ length: random(7) }, (_, i) => {
    const [dtype, shape] = [dtypes[random(dtypes.length)]!, shapeOf(random)];
    const size = product(shape);
    const data =
      dtype === 'U8' || dtype === 'BOOL'
        ? Uint8Array.from({ length: size }, () => random(2))
        : dtype === 'I32' || dtype === 'I64'
          ? Int32Array.from({ length: size }, () => random(2 ** 31) - 2 ** 30)
          : ramp(size);
    return [nameOf(random, i), { dtype, shape, data }] as const;
  });
  const notes = Array.from({ length: random(3) }, (_, i) => [nameOf(random, i), 'x\n"\u2028'] as const);
  return serializeSafetensors(Object.fromEntries(tensors), Object.fromEntries(notes));
}

function torch(random: Random): Uint8Array {
  const storages: Record<string, ArrayBufferView> = {};
  const tensors = Array.from({ length: 1 + random(5) }, (_, i): [string, Python] => {
    const shape = shapeOf(random, random(3)).map((length) => Math.max(1, length));
    const offset = random(3);
    const kinds = [
      ['FloatStorage', Float32Array],
      ['DoubleStorage', Float64Array],
      ['IntStorage', Int32Array],
      ['ByteStorage', Uint8Array],
      ['HalfStorage', Uint16Array],
    ] as const;
    const [type, Values] = kinds[random(kinds.length)]!;
    const length = offset + product(shape) + random(3);
    storages[i] = new Values(length).fill(1);
    const transposed = shape.length === 2 && flag(random) ? { strides: [1, shape[0]!] } : {};
    return [`layer${i}.weight`, tensorOf(String(i), shape, { type, length, offset, ...transposed })];
  });
  const dict = new Map<string, Python>(tensors);
  const more: [string, Python][] = [
    ['args', instance('argparse', 'Namespace', new Map<string, Python>([['lr', 1]]))],
    ['device', call('torch', 'device', ['cuda', 0])],
    ['epoch', random(100)],
  ];
  const kinds: Python[] = [
    dict,
    new Map<string, Python>([['model', dict], ...more.slice(0, random(4))]),
    instance('torch.nn.modules.linear', 'Linear', new Map<string, Python>([['_parameters', dict]])),
  ];
  const pickle = pickleOf(kinds[random(kinds.length)]!);
  if (flag(random)) return torchFile(pickle, storages);
  const data = Object.entries(storages).map(([key, { buffer, byteLength }]): [string, Uint8Array] => [
    `archive/data/${key}`,
    new Uint8Array(buffer as ArrayBuffer, 0, byteLength),
  ]);
  return zipOf({ 'archive/data.pkl': pickle, ...Object.fromEntries(data) }, { wide: flag(random), crc: flag(random) });
}

async function fileOf(weights: Weights, random: Random, metadata: Record<string, string> = {}): Promise<Uint8Array> {
  const dtype = flag(random) ? 'F16' : 'F32';
  const tensors = Object.fromEntries(
    await Promise.all(
      Object.entries(weights).map(
        async ([name, tensor]) => [name, { dtype, shape: tensor.shape, data: await tensor.data<'float32'>() }] as const,
      ),
    ),
  );
  disposeWeights(weights);
  return serializeSafetensors(tensors, metadata);
}

/** A SAM with narrow layers, its config known or to be told from the shapes. */
function tinySam(random: Random): Promise<Uint8Array> {
  const { sizes, config } = samPresets.tiny;
  const [heads, headWidth, depth] = [1 + random(2), 4 * (1 + random(2)), 1 + random(2)];
  const globalBlocks = Array.from({ length: depth }, (_, i) => i).filter(() => flag(random));
  const its: SamConfig = { ...config, heads, headWidth, globalBlocks };
  const weights = initSam(
    its,
    { ...sizes, width: heads * headWidth, depth, mlpWidth: 4 + random(9) },
    { seed: 1 + random(99) },
  );
  return fileOf(weights, random, { sam_config: JSON.stringify(its) });
}

function tinyVit(random: Random): Promise<Uint8Array> {
  const config = parseVitConfig({ imageSize: [8, 8], heads: 2, headWidth: 4 });
  const sizes = { depth: 1 + random(2), mlpWidth: 4 + random(9), patchSize: flag(random) ? 4 : 2 };
  return fileOf(initVit(config, sizes, { seed: 1 + random(99) }), random);
}

function trainingState(random: Random): Uint8Array {
  const tensor = () => {
    const shape = shapeOf(random);
    return { dtype: 'F32' as const, shape, data: ramp(product(shape)) };
  };
  const names = new Set(Array.from({ length: 1 + random(3) }, (_, i) => nameOf(random, i)));
  const withBest = flag(random);
  const kinds = ['weight', 'm', 'v', ...(withBest ? ['best'] : [])];
  const tables = [...names].flatMap((name) => {
    const of = tensor();
    return kinds.map((kind) => [`${kind}:${name}`, of]);
  });
  const training = {
    ...{ format: 'slimsam-training', position: { epoch: random(9), batch: random(9), step: random(99) } },
    ...{ optimizerStep: random(99), bestMetric: withBest ? 0.5 : null, plateau: null },
    notes: { curve: [[1, 0.5]] },
  };
  return serializeSafetensors(Object.fromEntries(tables), { training: JSON.stringify(training) });
}

function samConfig(random: Random) {
  const patchSize = 1 + random(16);
  return {
    ...samPresets.tiny.config,
    ...{ patchSize, imageSize: patchSize * (1 + random(64)), heads: 1 + random(16), windowSize: 1 + random(20) },
    globalBlocks: Array.from({ length: random(4) }, (_, i) => 2 * i),
    ...(flag(random) && { epsilon: 1e-5, pixelMean: [0, 1, 2.5] }),
  };
}

function vitConfig(random: Random) {
  const size = flag(random) ? { shortest: 1 + random(500) } : { height: 1 + random(500), width: 1 + random(500) };
  const resample = flag(random) ? 'bicubic' : 'bilinear';
  return {
    ...{ imageSize: [1 + random(500), 1 + random(500)], heads: 1 + random(16), headWidth: 1 + random(64) },
    ...(flag(random) && { processing: { size, resample } }),
    ...(flag(random) && { activation: 'quick-gelu', epsilon: 1e-5 }),
  };
}

/** Every kind of file and JSON that the packages read. */
export const formats: Readonly<Record<string, Format>> = {
  safetensors: { valid: async (random) => safetensors(random), read: readAll },
  'PyTorch zip and pickle': { valid: async (random) => torch(random), read: readAll },
  'SAM checkpoint': {
    valid: tinySam,
    read: async (bytes) => {
      const { weights } = await loadSam(bytes, { config: { decoderHeads: samPresets.tiny.config.decoderHeads } });
      disposeWeights(weights);
    },
  },
  'plain ViT checkpoint': {
    valid: tinyVit,
    read: async (bytes) => disposeWeights((await loadVit(bytes, { config: { heads: 2 } })).weights),
  },
  'training state': {
    valid: async (random) => trainingState(random),
    read: async (bytes, folder) => {
      const path = join(folder, 'state.safetensors');
      await writeFile(path, bytes);
      const { state, best } = await loadTraining(path);
      for (const table of [state.weights, state.optimizer.m, state.optimizer.v, best?.weights ?? {}])
        disposeWeights(table);
    },
  },
  'image embedding': {
    valid: async (random) => {
      const shape = [1, 1 + random(4), 1 + random(4), 1 + random(4)];
      const sizes = { original_size: `[${1 + random(900)}, ${1 + random(900)}]`, input_size: '[48, 64]' };
      return serializeSafetensors({ embedding: { dtype: 'F32', shape, data: ramp(product(shape)) } }, sizes);
    },
    read: async (bytes) => (await loadEmbedding(bytes)).dispose(),
  },
  'SAM config': {
    valid: async (random) => utf8(samConfig(random)),
    read: async (bytes) => void parseSamConfig(json(bytes)),
  },
  'ViT config': {
    valid: async (random) => utf8(vitConfig(random)),
    read: async (bytes) => void parseVitConfig(json(bytes)),
  },
  ...dataFormats,
};

/** What must not stay behind. */
export function liveTensors(): number {
  return tf.memory().numTensors;
}
