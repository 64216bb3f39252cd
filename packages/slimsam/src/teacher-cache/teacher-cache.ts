import type { FeatureSource, Features, Model } from '@slimsam/distill';
import { parseSafetensors, serializeSafetensors } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';

/** Where a teacher's embeddings are kept between epochs and runs. `openTeacherCache` of `slimsam/node` keeps them on disk. */
export interface TeacherCache {
  /** What was kept of a photograph of this name, if it is there. */
  get(name: string): Promise<Uint8Array | undefined>;
  /** Keeps it, whole or not at all; a cache that is full does not. */
  put(name: string, bytes: Uint8Array): Promise<void>;
}

/** Images [B, 3, H, W] and the names of their photographs. */
export type NamedImages = { readonly images: tf.Tensor4D; readonly names: string[] };

/**
 * A teacher that runs once a photograph. Where a step wants no taps of it, its embeddings come from the cache, and are those of half
 * precision whether they are found there or made now, so that a run that is broken off and goes on is the same as one that is not. Where
 * it wants taps, the teacher runs, and its embeddings are kept for the epochs that want none.
 */
export function cachedTeacher({ forward, weights }: Model, cache: TeacherCache): FeatureSource<NamedImages> {
  const run = (images: tf.Tensor4D, taps: readonly string[]): Features =>
    tf.tidy(() => {
      const { embedding, taps: tapped } = forward(weights, images, taps);
      return { embedding, taps: { ...tapped } };
    });
  return {
    async features({ images, names }, taps) {
      const keep = async (embedding: tf.Tensor): Promise<Uint8Array[]> => {
        const bytes = await encoded(embedding);
        await Promise.all(names.map((name, i) => cache.put(name, bytes[i]!)));
        return bytes;
      };
      if (taps.length > 0) {
        const features = run(images, taps);
        const known = await Promise.all(names.map((name) => cache.get(name)));
        if (known.includes(undefined)) await keep(features.embedding);
        return features;
      }
      const found = await Promise.all(names.map(async (name) => decoded(await cache.get(name))));
      if (found.some((one) => one === undefined)) {
        const { embedding } = run(images, []);
        const bytes = await keep(embedding).finally(() => embedding.dispose());
        for (const [i, one] of bytes.entries()) found[i] = decoded(one);
      }
      const embedding = tf.tidy(() => tf.concat(found.map((one) => tf.tensor(one!.data, one!.shape))));
      return { embedding, taps: {} };
    },
  };
}

const embeddingName = 'embedding';

/** An embedding [B, …] as one file for each image, in half precision. */
async function encoded(embedding: tf.Tensor): Promise<Uint8Array[]> {
  const [B, ...rest] = embedding.shape as [number, ...number[]];
  const values = (await embedding.data()) as Float32Array;
  const size = values.length / B;
  return Array.from({ length: B }, (_, i) => {
    const data = values.subarray(i * size, (i + 1) * size);
    return serializeSafetensors({ [embeddingName]: { dtype: 'F16', shape: [1, ...rest], data } });
  });
}

/** An embedding [1, …]; none where the bytes are not a file of one. */
function decoded(bytes: Uint8Array | undefined): { data: Float32Array; shape: number[] } | undefined {
  if (!bytes) return undefined;
  try {
    const tensor = parseSafetensors(bytes, 'the cache of embeddings').tensors[embeddingName];
    return tensor && { data: Float32Array.from(tensor.data), shape: [...tensor.shape] };
  } catch {
    return undefined; // it is made again
  }
}
