import {
  adam,
  bottleneckAligning,
  bottleneckWeight,
  type DistillOptions,
  distill,
  embeddingAligning,
  embeddingWeight,
  keepBest,
  plateau,
  shuffledBatches,
} from '@slimsam/distill';
import { accumulateGradients, disturbedLoss, importance, noise, prune, select } from '@slimsam/prune';
import { adamStep } from '@slimsam/tensor-webgpu/ops';
import { bottleneckTaps, embeddingTaps, encodeImage, encoderAxes, type SamConfig } from '@slimsam/vit';
import { disposeWeights, type Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';

/** How to compress. */
export interface CompressOptions {
  readonly config: SamConfig;
  /** Preprocessed images, [3 * S * S] each. */
  readonly images: readonly Float32Array[];
  /** The share of channels to remove in each half of the structure. */
  readonly ratio: number;
  /** Of each stage. */
  readonly epochs: number;
  readonly seed: number;
  readonly signal: AbortSignal;
  /** Hears of every training step. */
  readonly onStep: (step: {
    readonly stage: 1 | 2;
    readonly step: number;
    readonly steps: number;
    readonly loss: number;
  }) => void;
}

const batchSize = 4;

/** SlimSAM: prune the embedding, align the bottleneck, prune the bottleneck, align the embedding. The result is the caller's. */
export async function compressSam(teacher: Weights, options: CompressOptions): Promise<Weights> {
  const { config, epochs } = options;
  const forward = (weights: Weights, images: tf.Tensor4D, taps: readonly string[] = []) =>
    encodeImage(weights, config, images, { taps });
  const original = { forward, weights: teacher };

  const narrow = await pruneEmbedding(teacher, options);
  const bottleneck = bottleneckTaps(teacher, config);
  const stage1 = await align(1, options, {
    student: { forward, weights: narrow },
    teachers: { original },
    taps: ({ epoch }) => (bottleneckWeight(epoch, epochs) > 0 ? Object.values(bottleneck).flat() : []),
    loss: (student, teachers, { epoch }) =>
      bottleneckAligning({ student, teacher: teachers.original, taps: bottleneck, a: bottleneckWeight(epoch, epochs) }),
  });

  const slim = await pruneBottleneck(stage1, options);
  const stream = embeddingTaps(teacher);
  const stage2 = await align(2, options, {
    student: { forward, weights: slim },
    teachers: { original, previous: { forward, weights: stage1 } },
    taps: ({ epoch }) => (embeddingWeight(epoch, epochs) > 0 ? stream : []),
    loss: (student, { original: first, previous }, { epoch }) => {
      const taps = embeddingWeight(epoch, epochs) > 0 ? stream : [];
      return embeddingAligning({ student, teacher: first, previous, taps, a: embeddingWeight(epoch, epochs) });
    },
  });
  for (const weights of [narrow, stage1, slim]) disposeWeights(weights);
  return stage2;
}

/** Removes channels of the residual stream, ranked by disturbed Taylor importance. */
export async function pruneEmbedding(weights: Weights, options: CompressOptions): Promise<Weights> {
  return pruneBy(weights, options, { dimensions: [['embed']], ranking: 'local', normalise: 'mean' });
}

/** Removes channels of heads and MLPs, each kind ranked over all blocks. */
export async function pruneBottleneck(weights: Weights, options: CompressOptions): Promise<Weights> {
  const blocks = bottleneckTaps(weights, options.config).mlpHidden.map((_, i) => i);
  const dimensions = [blocks.map((i) => `blocks.${i}.head`), blocks.map((i) => `blocks.${i}.mlp`)];
  return pruneBy(weights, options, { dimensions, ranking: 'global', normalise: 'standard' });
}

async function pruneBy(
  weights: Weights,
  { config, images, ratio, seed, signal }: CompressOptions,
  how: { dimensions: string[][]; ranking: 'local' | 'global'; normalise: 'mean' | 'standard' },
): Promise<Weights> {
  const encoder = Object.fromEntries(Object.entries(weights).filter(([name]) => name.startsWith('image_encoder.')));
  let draw = seed * 1_000_003;
  const loss = (w: Weights, batch: tf.Tensor4D) => {
    const { embedding } = encodeImage(w, config, batch);
    return disturbedLoss(embedding, noise(embedding.shape, { seed: draw++ }));
  };
  const { gradients } = await accumulateGradients({
    loss,
    weights: encoder,
    batches: each(images.slice(0, 64), config),
    signal,
  });
  const axes = encoderAxes(weights, config);
  const keep: Record<string, number[]> = {};
  for (const dimensions of how.dimensions) {
    const scores = await importance({ criterion: 'disturbed-taylor', weights, axes, dimensions, gradients });
    Object.assign(keep, select({ importance: scores, ratio, ranking: how.ranking, normalise: how.normalise }));
  }
  disposeWeights(gradients);
  return prune(weights, axes, keep);
}

/** Trains the encoder on all images but every eighth, which tell the learning rate and the best epoch. */
async function align<T extends string>(
  stage: 1 | 2,
  { config, images, epochs, seed, signal, onStep }: CompressOptions,
  models: Pick<DistillOptions<T>, 'student' | 'teachers' | 'taps' | 'loss'>,
): Promise<Weights> {
  const held = images.filter((_, i) => i % 8 === 7);
  const seen = images.filter((_, i) => i % 8 !== 7);
  const steps = epochs * Math.ceil(seen.length / batchSize);
  const rate = plateau({ learningRate: 1e-3, patience: stage === 1 ? 3 : 4 });
  const keeper = keepBest();
  try {
    for await (const { position, epochDone, loss, weights } of distill({
      ...models,
      trainable: (name) => name.startsWith('image_encoder.'),
      optimizer: adam({ step: adamStep }),
      learningRate: rate,
      *batches(epoch, startBatch) {
        for (const order of shuffledBatches(seen.length, { batchSize, seed: seed + stage, epoch, startBatch })) {
          yield stacked(
            order.map((i) => seen[i]!),
            config,
          );
        }
      },
      epochs,
      signal,
    })) {
      onStep({ stage, step: position.step, steps, loss });
      if (!epochDone) continue;
      const metric = -(await embeddingError(
        weights,
        models.teachers['original' as T].weights,
        held.length > 0 ? held : seen,
        config,
      ));
      rate.feed(metric);
      keeper.offer(metric, weights);
    }
    return Object.fromEntries(Object.entries(keeper.best!.weights).map(([name, weight]) => [name, tf.clone(weight)]));
  } finally {
    keeper.dispose();
  }
}

/** Mean squared error of the image embedding. */
async function embeddingError(
  student: Weights,
  teacher: Weights,
  images: readonly Float32Array[],
  config: SamConfig,
): Promise<number> {
  let total = 0;
  for (const batch of each(images, config)) {
    const error = tf.tidy(() =>
      tf.losses.meanSquaredError(
        encodeImage(teacher, config, batch).embedding,
        encodeImage(student, config, batch).embedding,
      ),
    );
    total += (await error.data())[0]!;
    error.dispose();
  }
  return total / images.length;
}

function* each(images: readonly Float32Array[], config: SamConfig): Generator<tf.Tensor4D> {
  for (const image of images) {
    const batch = stacked([image], config);
    yield batch;
    batch.dispose();
  }
}

function stacked(images: readonly Float32Array[], { imageSize }: SamConfig): tf.Tensor4D {
  const values = new Float32Array(images.length * 3 * imageSize * imageSize);
  images.forEach((image, i) => {
    values.set(image, i * image.length);
  });
  return tf.tensor4d(values, [images.length, 3, imageSize, imageSize]);
}
