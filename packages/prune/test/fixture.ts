import { readFileSync } from 'node:fs';
import { encodeImage, parseSamConfig } from '@slimsam/vit';
import { type Axes, linear, type Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { accumulateGradients, disturbedLoss, type Gradients, prune } from '../src/index.ts';

interface Kept {
  q: number[];
  k: number[];
  v: number[];
  mlp: number[];
}

interface Expected {
  stage1: Record<'disturbed_taylor' | 'magnitude', { keptEmbedding: number[] }>;
  prunedSha256: Record<string, string>;
  stage2: Record<'global' | 'uniform', { kept: Record<string, Kept> }>;
}

export const depth = 4;
export const heads = 4;
export const config = parseSamConfig({
  imageSize: 64,
  patchSize: 8,
  heads,
  headWidth: 12,
  windowSize: 3,
  globalBlocks: [1, 3],
  decoderHeads: 4,
});

function fixtureBytes(name: string): Buffer {
  return readFileSync(new URL(`fixtures/${name}`, import.meta.url));
}

export const expected: Expected = JSON.parse(fixtureBytes('prune-tiny.expected.json').toString('utf8'));

/** All float32 arrays of the fixture by name; only what this file needs (the header is trusted). */
const arrays: Record<string, { shape: number[]; values: Float32Array }> = (() => {
  const bytes = fixtureBytes('prune-tiny.safetensors');
  const start = 8 + Number(bytes.readBigUInt64LE(0));
  const header: Record<string, { shape: number[]; data_offsets: [number, number] }> = JSON.parse(
    bytes.toString('utf8', 8, start),
  );
  return Object.fromEntries(
    Object.entries(header).map(([name, { shape, data_offsets: at }]) => {
      const data = new Uint8Array(bytes.subarray(start + at[0], start + at[1]));
      return [name, { shape, values: new Float32Array(data.buffer) }];
    }),
  );
})();

export function values(name: string): Float32Array {
  return arrays[name]!.values;
}

/** New tensors of every array whose name starts with the prefix, without the prefix. */
export function tensors(prefix: string): Record<string, tf.Tensor> {
  const names = Object.keys(arrays).filter((name) => name.startsWith(prefix));
  return Object.fromEntries(
    names.map((name) => [name.slice(prefix.length), tf.tensor(arrays[name]!.values, arrays[name]!.shape)]),
  );
}

/**
 * The reference's encoder keeps q, k and v as three layers: another architecture is another table. Its attention dimension is the
 * plain [heads * headWidth], so that heads are tied by `averageHeads`, as in the reference.
 */
export function splitAxes(): Axes {
  const blocks = Array.from({ length: depth }, (_, i) => {
    const b = `blocks.${i}`;
    return {
      ...norm(`${b}.norm1`),
      ...linear(`${b}.attn.q`, `${b}.attn`, 'embed'),
      ...linear(`${b}.attn.k`, `${b}.attn`, 'embed'),
      ...linear(`${b}.attn.v`, `${b}.attn`, 'embed'),
      ...linear(`${b}.attn.proj`, 'embed', `${b}.attn`),
      ...norm(`${b}.norm2`),
      ...linear(`${b}.mlp.lin1`, `${b}.mlp`, 'embed'),
      ...linear(`${b}.mlp.lin2`, 'embed', `${b}.mlp`),
    };
  });
  return Object.assign(
    {
      'patch_embed.proj.weight': ['embed', null, null, null],
      'patch_embed.proj.bias': ['embed'],
      pos_embed: [null, null, null, 'embed'],
      'neck.0.weight': [null, 'embed', null, null],
    },
    ...blocks,
  );
}

function norm(name: string): Axes {
  return { [`${name}.weight`]: ['embed'], [`${name}.bias`]: ['embed'] };
}

/** Meta's names with fused q/k/v for the same values: new tensors. */
function fuse(weights: Weights): Weights {
  const fused: Record<string, tf.Tensor> = {};
  for (const [name, tensor] of Object.entries(weights)) {
    const part = /^(.*\.attn)\.([qkv])\.(weight|bias)$/.exec(name);
    if (part === null) fused[`image_encoder.${name}`] = tf.clone(tensor);
    else if (part[2] === 'q') {
      const three = ['q', 'k', 'v'].map((layer) => weights[`${part[1]}.${layer}.${part[3]}`]!);
      fused[`image_encoder.${part[1]}.qkv.${part[3]}`] = tf.concat(three, 0);
    }
  }
  return fused;
}

/** The inverse of `fuse`: new tensors. */
function split(fused: Weights): Weights {
  const layers: Record<string, tf.Tensor> = {};
  for (const [name, tensor] of Object.entries(fused)) {
    const short = name.replace('image_encoder.', '');
    if (!short.includes('attn.qkv.')) layers[short] = tf.clone(tensor);
    else
      tf.split(tensor, 3).forEach((part, i) => {
        layers[short.replace('qkv', 'qkv'[i]!)] = part;
      });
  }
  return layers;
}

export type Stage = 'stage1' | 'stage2';

/** The model of a stage, q, k and v fused: the original, or the pruned one with the fixture's relative positions. */
export function modelOf(stage: Stage): Weights {
  return tf.tidy(() => fuse(splitModelOf(stage)));
}

/** The same with q, k and v split. */
export function splitModelOf(stage: Stage): Weights {
  return tf.tidy(() => {
    const teacher = tensors('teacher.');
    if (stage === 'stage1') return teacher;
    const student = prune(teacher, splitAxes(), { embed: expected.stage1.disturbed_taylor.keptEmbedding });
    return { ...student, ...tensors('student.') };
  });
}

/** Image i of the fixture, [1, 3, 64, 64]. */
export function image(i: number): tf.Tensor4D {
  return tf.tensor4d(values('images').subarray(i * 12288, (i + 1) * 12288), [1, 3, 64, 64]);
}

/** The loss of image i, with the fixture's noise. */
function loss(weights: Weights, i: number): tf.Scalar {
  const noise = tf.tensor4d(values('noise').subarray(i * 1024, (i + 1) * 1024), [1, 16, 8, 8]);
  return disturbedLoss(encodeImage(weights, config, image(i)).embedding, noise);
}

/** Our gradients of a stage's model over the four images, q, k and v split, and the sum of the losses. */
export async function gradientsOf(stage: Stage): Promise<Gradients> {
  const weights = modelOf(stage);
  const fused = await accumulateGradients({ loss, weights, batches: [0, 1, 2, 3], mode: 'signed' });
  const sums = tf.tidy(() => split(fused.sums));
  tf.dispose([weights, fused.sums]);
  return { ...fused, sums };
}

/** The largest |got - expected|, relative to the largest |expected|. */
export function relativeError(got: ArrayLike<number>, wanted: ArrayLike<number>): number {
  if (got.length !== wanted.length) throw new Error(`expected ${wanted.length} values, got ${got.length}`);
  let error = 0;
  let scale = 0;
  for (let i = 0; i < wanted.length; i++) {
    error = Math.max(error, Math.abs(got[i]! - wanted[i]!));
    scale = Math.max(scale, Math.abs(wanted[i]!));
  }
  return error / scale;
}
