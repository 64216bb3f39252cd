import * as tf from '@tensorflow/tfjs-core';
import type { Model, Network } from '../models/network.ts';
import { type Augment, variationOf } from '../photographs/augment.ts';
import type { Photograph, Photographs, ReadPhotographs } from '../photographs/photographs.ts';
import type { NamedImages, TeacherCache } from '../teacher-cache/teacher-cache.ts';
import type { PartScorer } from './part-scorer.ts';

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
  /** Who scores in place of this process, and the model whose weights change. */
  readonly scorer?: { readonly score: PartScorer; readonly model: Model } | undefined;
  readonly signal: AbortSignal | undefined;
}

/** Photographs one by one as normalised pixels [1, 3, H, W], disposed when the next is asked for. */
export async function* pixelsOf(
  { network, photographs, signal }: Pick<Context, 'network' | 'photographs' | 'signal'>,
  indices: readonly number[],
): AsyncGenerator<{
  readonly index: number;
  readonly name: string;
  readonly pixels: tf.Tensor4D;
  readonly content: Size;
}> {
  for await (const { index, name, image } of photographs.read(indices, readOptions(network, { signal }))) {
    const pixels = network.pixels(image);
    try {
      yield { index, name, pixels, content: [image.width, image.height] };
    } finally {
      pixels.dispose();
    }
  }
}

/** Width and height, pixels. */
type Size = [width: number, height: number];

/** A batch [B, 3, H, W] and what it was made of. */
export type PhotographBatch = NamedImages & { /** Of the photographs within their images. */ readonly sizes: Size[] };

/** The order of an epoch, and where to begin in it. */
export interface Epoch {
  /** Indices of photographs. */
  readonly order: readonly number[];
  readonly startBatch: number;
  /** How they vary in this epoch. */
  readonly augment?: Augment | undefined;
}

/**
 * Batches [B, 3, H, W] of an epoch with their photographs' names. A photograph that cannot be read is left out of its batch; a batch of
 * which none can is made of the next photograph in the order that can, so that the number of batches does not depend on it.
 *
 * @throws when no photograph of the order can be read
 */
export async function* batchesOf(
  context: Context,
  { order, startBatch, augment }: Epoch,
): AsyncGenerator<PhotographBatch> {
  const { network, photographs, signal, batch: size } = context;
  const options = readOptions(network, { signal, augment });
  const reader = photographs.read(order.slice(startBatch * size), options);
  let next = await reader.next();
  try {
    for (let start = startBatch * size; start < order.length; start += size) {
      const wanted = new Set(order.slice(start, start + size));
      const images: tf.Tensor4D[] = [];
      const names: string[] = [];
      const sizes: Size[] = [];
      const add = ({ name, image }: Photograph) => {
        images.push(network.pixels(image));
        names.push(augment ? `${name} ${JSON.stringify(variationOf(augment, name))}` : name);
        sizes.push([image.width, image.height]);
      };
      while (!next.done && wanted.has(next.value.index)) {
        add(next.value);
        next = await reader.next();
      }
      if (images.length === 0) {
        const around = [...order.slice(start + size), ...order.slice(0, start)];
        for await (const photograph of photographs.read(around, options)) {
          add(photograph);
          break;
        }
      }
      if (images.length === 0) throw unreadable(photographs);
      yield { images: images.length === 1 ? images[0]! : joined(images), names, sizes };
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

function readOptions(
  { size, fit }: Network,
  { signal, augment }: { signal: AbortSignal | undefined; augment?: Augment | undefined },
): ReadPhotographs {
  return { size, fit, ...(augment && { augment }), ...(signal && { signal }) };
}
