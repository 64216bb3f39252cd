import { fileURLToPath } from 'node:url';
import { encodeImage, parseSamConfig, type SamConfig } from '@slimsam/vit';
import { loadWeights, type RawTensor, readSafetensors, type Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import type { Forward } from '../src/index.ts';

/**
 * The paper's code on a small image encoder, with fused q/k/v: `student.*`, a teacher with random perturbations; the losses of
 * both on one image; `grad.*`, every 7th element of the stage-1 loss's gradients. Teacher and image are in packages/prune.
 */
const own = fileURLToPath(new URL('fixtures/perturbed.safetensors', import.meta.url));
const shared = fileURLToPath(new URL('../../prune/test/fixtures/prune-tiny.safetensors', import.meta.url));

export const config: SamConfig = parseSamConfig({
  imageSize: 64,
  patchSize: 8,
  heads: 4,
  headWidth: 12,
  windowSize: 3,
  globalBlocks: [1, 3],
  decoderHeads: 4,
});

export const forward: Forward = (weights, images, taps) => encodeImage(weights, config, images, { taps });

export interface Fixture {
  readonly teacher: Weights;
  readonly student: Weights;
  /** [1, 3, 64, 64] */
  readonly image: tf.Tensor4D;
  readonly raw: Readonly<Record<string, RawTensor>>;
}

export async function readFixture(): Promise<Fixture> {
  const raw = (await readSafetensors(own)).tensors;
  const { weights } = await loadWeights(shared);
  const perturbed = Object.entries(raw).filter(([name]) => name.startsWith('student.'));
  return {
    teacher: fuse(under(weights, 'teacher.')),
    student: Object.fromEntries(
      perturbed.map(([name, { data, shape }]) => [name.slice('student.'.length), tf.tensor(data, shape)]),
    ),
    image: tf.slice(weights.images as tf.Tensor4D, 0, 1),
    raw,
  };
}

function under(weights: Weights, prefix: string): Weights {
  const entries = Object.entries(weights).filter(([name]) => name.startsWith(prefix));
  return Object.fromEntries(entries.map(([name, weight]) => [name.slice(prefix.length), weight]));
}

/** Meta's names and fused q/k/v, of the paper's code's three layers. */
function fuse(split: Weights): Weights {
  const fused: Record<string, tf.Tensor> = {};
  for (const [name, weight] of Object.entries(split)) {
    if (/attn\.[kv]\./.test(name)) continue;
    const layers = ['q', 'k', 'v'].map((layer) => split[name.replace('attn.q.', `attn.${layer}.`)]!);
    const target = `image_encoder.${name.replace('attn.q.', 'attn.qkv.')}`;
    fused[target] = name.includes('attn.q.') ? tf.concat(layers, 0) : tf.clone(weight);
  }
  return fused;
}
