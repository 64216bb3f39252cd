import * as tf from '@tensorflow/tfjs-core';
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';
import type { Network } from '../models/network.ts';
import type { Photographs } from '../photographs/photographs.ts';
import type { NamedImages, TeacherCache } from '../teacher-cache/teacher-cache.ts';

/** What all steps of a run share. */
export interface Context {
  readonly network: Network;
  readonly photographs: Photographs;
  /** Indices of the photographs that score and train. */
  readonly seen: readonly number[];
  /** Indices of those that are held back for validation. */
  readonly held: readonly number[];
  readonly seed: number;
  readonly batch: number;
  readonly accumulate: number;
  readonly recompute: boolean;
  readonly teacherCache?: TeacherCache | undefined;
  readonly halfTeacher?: boolean | undefined;
  readonly signal: AbortSignal | undefined;
}

/** The numbers 0 … count - 1 in a seeded order. */
export function shuffled(count: number, seed: number): number[] {
  const random = xoroshiro128plus(Math.imul(seed + 1, 0x9e3779b9) | 0);
  for (let i = 0; i < 8; i++) random.next(); // a 32-bit seed fills a quarter of the state: the first outputs are poor
  const order = Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = uniformInt(random, 0, i);
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}

/** Holds a seeded choice of the photographs back; without any, those that train also validate. */
export function split(count: number, { seed, held }: { seed: number; held: number }): Pick<Context, 'seen' | 'held'> {
  const order = shuffled(count, seed);
  const ascending = (indices: number[]) => indices.sort((a, b) => a - b);
  const seen = ascending(order.slice(held));
  return { seen, held: held > 0 ? ascending(order.slice(0, held)) : seen };
}

/** Photographs one by one as normalised pixels [1, 3, H, W], disposed when the next is asked for. */
export async function* pixelsOf(
  { network, photographs, signal }: Context,
  indices: readonly number[],
): AsyncGenerator<{ readonly index: number; readonly pixels: tf.Tensor4D }> {
  for await (const { index, image } of photographs.read(indices, readOptions(network, signal))) {
    const pixels = network.pixels(image);
    try {
      yield { index, pixels };
    } finally {
      pixels.dispose();
    }
  }
}

/**
 * Batches [B, 3, H, W] with their photographs' names, of an epoch's order from `startBatch` on. A photograph that cannot be read is left out of its batch; a batch of
 * which none can is made of the next photograph in the order that can, so that the number of batches does not depend on it.
 *
 * @throws when no photograph of the order can be read
 */
export async function* batchesOf(
  context: Context,
  order: readonly number[],
  startBatch: number,
): AsyncGenerator<NamedImages> {
  const { network, photographs, signal, batch: size } = context;
  const options = readOptions(network, signal);
  const reader = photographs.read(order.slice(startBatch * size), options);
  let next = await reader.next();
  try {
    for (let start = startBatch * size; start < order.length; start += size) {
      const wanted = new Set(order.slice(start, start + size));
      const images: tf.Tensor4D[] = [];
      const names: string[] = [];
      while (!next.done && wanted.has(next.value.index)) {
        images.push(network.pixels(next.value.image));
        names.push(next.value.name);
        next = await reader.next();
      }
      if (images.length === 0) {
        const around = [...order.slice(start + size), ...order.slice(0, start)];
        for await (const { name, image } of photographs.read(around, options)) {
          images.push(network.pixels(image));
          names.push(name);
          break;
        }
      }
      if (images.length === 0) throw unreadable(photographs);
      yield { images: images.length === 1 ? images[0]! : joined(images), names };
    }
  } finally {
    await reader.return(undefined);
  }
}

/** None of the photographs asked for could be read. */
export function unreadable({ names, skipped }: Photographs): Error {
  const first = skipped[0] ? `; '${skipped[0].name}': ${skipped[0].reason}` : '';
  return new Error(`compress: expected photographs that can be read, got none of ${names.length}${first}`);
}

function joined(images: tf.Tensor4D[]): tf.Tensor4D {
  const batch = tf.concat(images);
  tf.dispose(images);
  return batch;
}

function readOptions(network: Network, signal: AbortSignal | undefined) {
  return { size: network.size, fit: network.fit, ...(signal && { signal }) };
}
