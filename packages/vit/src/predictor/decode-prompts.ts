import * as tf from '@tensorflow/tfjs-core';
import type { Sam } from '../checkpoint/load-sam.ts';
import { batchSizes } from '../masks/batch-sizes.ts';
import { decodeMasks } from '../sam/mask-decoder.ts';
import { encodePrompts, type Prompts } from '../sam/prompt-encoder.ts';
import type { ImageEmbedding } from './image-embedding.ts';
import type { Prompt } from './image-prompts.ts';

/** Prompts about one image. */
export interface ImageRequest {
  readonly image: ImageEmbedding;
  readonly prompts: readonly Prompt[];
}

export interface DecodeOptions {
  readonly multimask: boolean;
  /** Bytes. */
  readonly memoryLimit: number;
  readonly signal: AbortSignal | undefined;
}

/** What the decoder says to the N prompts of an image. */
export interface Decoded {
  /** [N, M, 4h, 4w] */
  readonly lowRes: tf.Tensor4D;
  /** [N][M] */
  readonly scores: number[][];
}

/** A prompt and the request that it is from. */
interface Task {
  readonly request: ImageRequest;
  readonly prompt: Prompt;
}

/**
 * Decodes the prompts of several images together. Prompts of equally many points, with or without box and mask, go through the decoder at
 * once, whatever their image; others do not, since the decoder attends to padding too and would give other masks.
 *
 * @throws when a weight is missing or the signal aborts
 */
export async function decodePrompts(
  sam: Sam,
  requests: readonly ImageRequest[],
  options: DecodeOptions,
): Promise<Decoded[]> {
  const tasks = requests.flatMap((request) => request.prompts.map((prompt): Task => ({ request, prompt })));
  const { embedding } = requests[0]!.image;
  const { prompts: atOnce } = batchSizes(sam.config, {
    embeddingSize: embedding.size,
    maskPixels: 0,
    memoryLimit: options.memoryLimit,
  });
  const order: number[] = []; // of the tasks, as they are decoded
  const scores: number[][] = []; // as the tasks
  const chunks: tf.Tensor4D[] = [];
  try {
    for (const group of groups(tasks)) {
      for (let at = 0; at < group.length; at += atOnce) {
        options.signal?.throwIfAborted();
        const chunk = group.slice(at, at + atOnce);
        const decoded = decodeChunk(
          sam,
          chunk.map((index) => tasks[index]!),
          options,
        );
        chunks.push(decoded.masks);
        const values = await decoded.scores.data().finally(() => decoded.scores.dispose());
        const M = decoded.masks.shape[1];
        chunk.forEach((task, i) => {
          scores[task] = Array.from(values.subarray(i * M, (i + 1) * M));
        });
        order.push(...chunk);
      }
    }
    const all = tf.concat(chunks, 0);
    chunks.splice(0, chunks.length, all).forEach((chunk) => {
      chunk.dispose();
    });
    return byImage(requests, { all, order, scores });
  } finally {
    tf.dispose(chunks);
  }
}

/** Of each prompt's masks the one with the highest score. `lowRes` is freed for a new one [N, 1, 4h, 4w]. */
export function bestOf({ lowRes, scores }: Decoded): Decoded {
  const [N, M, h, w] = lowRes.shape;
  const places = scores.map((own) => Math.max(0, own.indexOf(Math.max(...own)))); // where all are NaN, the first
  const best = tf.tidy(() => {
    const flat = tf.reshape(lowRes, [N * M, h, w]);
    const rows = tf.tensor1d(
      places.map((place, n) => n * M + place),
      'int32',
    );
    return tf.reshape(tf.gather(flat, rows), [N, 1, h, w]) as tf.Tensor4D;
  });
  lowRes.dispose();
  return { lowRes: best, scores: scores.map((own, n) => [own[places[n]!]!]) };
}

/** Places of the tasks that can be decoded together. */
function groups(tasks: readonly Task[]): number[][] {
  const found = new Map<string, number[]>();
  tasks.forEach(({ prompt: { points, box, mask } }, index) => {
    const layout = `${points.length} ${box !== undefined} ${mask !== undefined}`;
    const group = found.get(layout);
    if (group) group.push(index);
    else found.set(layout, [index]);
  });
  return [...found.values()];
}

function decodeChunk(
  { weights, config }: Sam,
  tasks: readonly Task[],
  { multimask }: DecodeOptions,
): { masks: tf.Tensor4D; scores: tf.Tensor2D } {
  return tf.tidy(() => {
    const byRequest = [...new Set(tasks.map(({ request }) => request))].map((request) => ({
      ...request,
      tasks: tasks.filter((task) => task.request === request), // neighbours
    }));
    const embeddings = byRequest.map(({ image: { embedding }, tasks: { length } }) =>
      byRequest.length === 1 ? embedding : tf.tile(embedding, [length, 1, 1, 1]),
    );
    const masks = tasks[0]!.prompt.mask && tf.concat(byRequest.map((own) => masksOf(own.tasks)));
    const prompts = encodePrompts(weights, config, { ...toTensors(tasks), masks });
    const decoded = decodeMasks(weights, config, { embedding: tf.concat(embeddings, 0), ...prompts, multimask });
    return { masks: decoded.masks, scores: decoded.scores };
  });
}

/** `maskInput` of one image, for some of its prompts: [n, 1, 4h, 4w] */
function masksOf(tasks: readonly Task[]): tf.Tensor {
  const places = tasks.map(({ prompt }) => prompt.index);
  return tf.gather(tasks[0]!.prompt.mask!, tf.tensor1d(places, 'int32'));
}

/** Prompts of one layout, in pixels of their resized images. */
function toTensors(tasks: readonly Task[]): Pick<Prompts, 'points' | 'labels' | 'boxes'> {
  const [N, P] = [tasks.length, tasks[0]!.prompt.points.length];
  const resized = ({ request: { image } }: Task, pixels: readonly number[]) =>
    pixels.map((value, i) => (value * image.inputSize[1 - (i % 2)]!) / image.originalSize[1 - (i % 2)]!); // x y x y
  const points = tasks.flatMap((task) => task.prompt.points.flatMap((point) => resized(task, point)));
  const labels = tasks.flatMap(({ prompt }) => prompt.labels);
  const boxes = tasks.flatMap((task) => resized(task, task.prompt.box ?? []));
  return {
    ...(P > 0 && { points: tf.tensor3d(points, [N, P, 2]), labels: tf.tensor2d(labels, [N, P]) }),
    ...(boxes.length > 0 && { boxes: tf.tensor2d(boxes, [N, 4]) }),
  };
}

/** Takes the masks of all tasks, given in the order in which they were decoded, apart by image. */
function byImage(
  requests: readonly ImageRequest[],
  { all, order, scores }: { all: tf.Tensor4D; order: readonly number[]; scores: readonly number[][] },
): Decoded[] {
  const place: number[] = [];
  order.forEach((task, i) => {
    place[task] = i;
  });
  let end = 0;
  return requests.map(({ prompts }) => {
    const start = end;
    end += prompts.length;
    const lowRes = tf.tidy(() => tf.gather(all, tf.tensor1d(place.slice(start, end), 'int32')));
    return { lowRes, scores: scores.slice(start, end) };
  });
}
