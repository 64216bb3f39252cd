import {
  adam,
  averageWeights,
  clipped,
  type FocalOptions,
  type TrainingState,
  type TrainingStep,
  train,
  warmupCosine,
} from '@slimsam/distill';
import { encodeImage, imageNeck, type Sam } from '@slimsam/vit';
import { checkFields, disposeWeights, type Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import type { ViewComposer } from './compose-views.ts';
import type { ObjectPrompts } from './object-prompts.ts';
import { isRefined, type PromptStep, promptLoss, promptStep, refine } from './prompt-step.ts';
import { randomOf } from './random.ts';
import type { StreamCache } from './stream-cache.ts';

/** How to train a SAM on views. */
export interface TrainSamOptions {
  /**
   * `masks`: prompt encoder and mask decoder, on the embeddings, computed once a view; slim versions of the encoder stay valid.
   * `decoder`: these and the neck, on the frozen blocks' streams, computed once a view. `whole`: everything.
   */
  readonly stage: 'masks' | 'decoder' | 'whole';
  readonly composer: ViewComposer;
  readonly steps: number;
  /** The highest learning rate, after `warmup` steps; then it falls along a cosine to 0. */
  readonly rate: number;
  readonly warmup: number;
  /** Views a step. */
  readonly batch: number;
  /** Prompts a view. */
  readonly prompts: number;
  /** The share of boxes among the prompts of every other step; 0.55 unless given: then 60 % of all prompts are one point. */
  readonly boxes?: number;
  /** First steps in which a box alone asks for all that is within it, so that boxes are learned before objects; none unless given. */
  readonly fill?: number;
  /** Views that are made at once, a multiple of `batch`. */
  readonly chunk: number;
  /** How often each view is used, with other prompts, before the next chunk. */
  readonly passes: number;
  /** Chunks after which the views begin anew; all are different unless given. */
  readonly chunks?: number;
  /** Of views, prompts and order. */
  readonly seed: number;
  readonly weightDecay?: number;
  /** Of the gradients' norm. */
  readonly clip?: number;
  /** Of the mean of the weights. */
  readonly decay?: number;
  readonly focal?: FocalOptions;
  /** Keeps the blocks' streams of views, so that a chunk that comes again is not encoded again. */
  readonly cache?: StreamCache | undefined;
  /** The share of the time that is over, in [0, 1]: the cosine then ends with the time, if that comes before the steps. */
  readonly progress?: () => number;
  readonly resume?: SamTrainingState | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** All that is needed to go on: the weights that are trained, their moments and their mean. */
export interface SamTrainingState extends TrainingState {
  readonly average: Weights;
}

/** One step. Tensors are borrowed until the next. */
export interface SamTrainingStep extends Pick<TrainingStep, 'position' | 'loss' | 'parts' | 'learningRate'> {
  readonly state: SamTrainingState;
}

/** Steps between two updates of the mean; the second point's prompts are made with the weights of the step before. */
const averageEvery = 8;

/**
 * Whether training goes on from the state of this step as if it had never stopped: not before there is a mean, nor where the next step's
 * second points were made with the weights before.
 */
export const isResumable = (step: number): boolean => step >= averageEvery && !isRefined(step);

/**
 * A cross entropy instead of SAM's 20 focal (alpha 0.25, gamma 2): from random weights the latter holds every pixel at 'outside'.
 */
const crossEntropy: FocalOptions = { gamma: 0, alpha: 0.5, weight: 4 };

/** Views that are ready to be trained on: a step's batch. */
interface Part {
  /** The embedding [B, C, h, w], the last block's stream [B, h, w, C], or the images [B, 3, S, S], by the stage. */
  readonly input: tf.Tensor4D;
  /** [objects, cells, cells] in [0, 1] */
  readonly targets: tf.Tensor3D;
  readonly prompts: readonly (readonly ObjectPrompts[])[];
}

type Batch = { input: tf.Tensor4D; targets: tf.Tensor3D; step: PromptStep };

/**
 * Trains a SAM by prompts, one optimizer step at a time: AdamW with clipped gradients, a warm-up and one cosine, and an exponential mean of
 * the weights. Goes on from `resume` as if it had never stopped when its step is 8 or more, but none of 15, 23, 31, ….
 *
 * @throws as `train` does, when an option is wrong, or a view cannot be made
 */
export async function* trainSam(sam: Sam, options: TrainSamOptions): AsyncGenerator<SamTrainingStep, void, undefined> {
  checkFields('trainSam', sam, { weights: 'object', config: 'object' });
  checkFields('trainSam', options, { steps: 'number' });
  check(options);
  const { config } = sam;
  const { stage, steps, rate, warmup, seed, chunk, batch, passes, resume, signal } = options;
  const { weightDecay = 0.01, clip = 1, decay = 0.98, focal = crossEntropy } = options;
  const trained = trainedOf(sam.weights, stage);
  const perChunk = (chunk / batch) * passes;
  const rateAt = warmupCosine({ peak: rate, warmup, steps });
  const parts = partsOf(sam, options);
  const embeddingOf = (weights: Weights, input: tf.Tensor4D) => {
    if (stage === 'masks') return tf.clone(input);
    return stage === 'decoder' ? imageNeck(weights, input) : encodeImage(weights, config, input).embedding;
  };
  let latest: Weights = resume?.weights ?? trained;
  const given = latest;
  let average: Weights | undefined = resume && cloned(resume.average);
  try {
    for await (const { position, loss, parts: losses, learningRate, weights, state } of train<Batch>({
      weights: trained,
      trainable: (name) => !name.includes('gaussian'),
      loss: ({ weights, batch: { input, step, targets } }) =>
        promptLoss(weights, config, { embedding: embeddingOf(weights, input), step, targets, focal }),
      optimizer: clipped(adam({ weightDecay }), { norm: clip }),
      learningRate: ({ step }) => {
        const late = step < warmup ? 0 : Math.floor((options.progress?.() ?? 0) * steps);
        return rateAt({ step: Math.max(step, late) });
      },
      epochs: Math.ceil(steps / perChunk),
      async *batches(epoch, startBatch) {
        const ready = await parts.of(epoch);
        const order = orderOf(ready.length, { passes, seed, epoch });
        for (let i = startBatch; i < perChunk && epoch * perChunk + i < steps; i++) {
          const number = epoch * perChunk + i;
          const { input, targets, prompts } = ready[order[i]!]!;
          const how = { prompts: options.prompts, boxes: options.boxes, fill: options.fill, side: config.imageSize };
          let step = promptStep(prompts, { step: number, seed, ...how });
          if (isRefined(number)) {
            const embedding = tf.tidy(() => embeddingOf(latest, input));
            step = refine(latest, config, { embedding, step, targets, seed: seed + number });
            embedding.dispose();
          }
          yield { input: tf.clone(input), targets: tf.clone(targets), step };
        }
      },
      resume,
      signal,
    })) {
      latest = weights;
      if (position.step % averageEvery === 0 || position.step === steps)
        average = averageWeights(average, weights, { decay: Math.min(decay, position.step / (position.step + 64)) });
      yield { position, loss, parts: losses, learningRate, state: { ...state, average: average ?? weights } };
    }
  } finally {
    parts.dispose();
    if (average) disposeWeights(average);
    if (latest !== given) disposeWeights(latest); // a loop's last weights are its caller's
  }
}

function trainedOf(weights: Weights, stage: TrainSamOptions['stage']): Weights {
  const frozen = { masks: /^image_encoder\./, decoder: /^image_encoder\.(?!neck\.)/, whole: /^$/ }[stage];
  return Object.fromEntries(Object.entries(weights).filter(([name]) => !frozen.test(name)));
}

function cloned(weights: Weights): Weights {
  return Object.fromEntries(Object.entries(weights).map(([name, weight]) => [name, tf.clone(weight)]));
}

/** The parts of a chunk in `passes` random orders, one after another. */
function orderOf(count: number, options: { passes: number; seed: number; epoch: number }): number[] {
  const random = randomOf(options.seed, options.epoch, 2);
  return Array.from({ length: options.passes }, () => {
    const order = Array.from({ length: count }, (_, i) => i);
    for (let i = count - 1; i > 0; i--) {
      const j = random.integer(0, i);
      [order[i], order[j]] = [order[j]!, order[i]!];
    }
    return order;
  }).flat();
}

/** Makes chunks ready one after another; while one is trained on, the views of the next are made. */
function partsOf(
  { weights, config }: Sam,
  { stage, composer, chunk, chunks = Number.POSITIVE_INFINITY, batch, cache }: TrainSamOptions,
): { of: (epoch: number) => Promise<readonly Part[]>; dispose: () => void } {
  const tap = `blocks.${depthOf(weights) - 1}`;
  let ready: Part[] = [];
  let next: { index: number; views: ReturnType<ViewComposer['compose']> } | undefined;
  const start = (index: number) => {
    const views = composer.compose(index * chunk, chunk);
    views.catch(() => {}); // it is awaited later
    return { index, views };
  };
  const dispose = () => {
    for (const { input, targets } of ready) tf.dispose([input, targets]);
    ready = [];
  };
  const streamsOf = async (images: tf.Tensor4D, name: string): Promise<tf.Tensor4D> => {
    const known = await cache?.read(name);
    if (known) return known;
    const { embedding, taps } = encodeImage(weights, config, images, { taps: [tap] });
    const stream = taps[tap] as tf.Tensor4D;
    const [streams, unused] = stage === 'masks' ? [embedding, stream] : [stream, embedding];
    unused.dispose();
    if (!cache) return streams;
    await cache.write(name, streams);
    streams.dispose();
    return (await cache.read(name))!; // as they will be read the next time, in half precision
  };
  return {
    dispose,
    async of(epoch) {
      const index = epoch % chunks;
      const views = await (next?.index === index ? next : start(index)).views;
      dispose();
      const S = config.imageSize;
      for (let at = 0; at < chunk; at += batch) {
        const some = views.slice(at, at + batch);
        const images = tf.tensor4d(joined(some.map(({ pixels }) => pixels)), [batch, 3, S, S]);
        const shares = joined(some.map(({ targets }) => Float32Array.from(targets, (share) => share / 255)));
        const cells = (4 * S) / config.patchSize;
        const targets = tf.tensor3d(shares, [shares.length / cells ** 2, cells, cells]);
        const prompts = some.map((view) => view.prompts);
        if (stage === 'whole') ready.push({ input: images, targets, prompts });
        else {
          ready.push({ input: await streamsOf(images, `${index}-${at / batch}`), targets, prompts });
          images.dispose();
        }
      }
      const following = (epoch + 1) % chunks;
      next = following === index ? { index, views: Promise.resolve(views) } : start(following);
      return ready;
    },
  };
}

function depthOf(weights: Weights): number {
  let depth = 0;
  while (`image_encoder.blocks.${depth}.norm1.weight` in weights) depth++;
  return depth;
}

function joined(arrays: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(arrays.reduce((length, array) => length + array.length, 0));
  let end = 0;
  for (const array of arrays) {
    all.set(array, end);
    end += array.length;
  }
  return all;
}

/** @throws when a number is not what it should be */
function check(options: TrainSamOptions): void {
  for (const name of ['steps', 'batch', 'prompts', 'chunk', 'passes'] as const) {
    const value = options[name];
    if (!Number.isSafeInteger(value) || value < 1)
      throw new Error(`trainSam: expected ${name} to be 1, 2, …, got ${value}`);
  }
  if (options.chunk % options.batch !== 0)
    throw new Error(
      `trainSam: expected chunk to be a multiple of batch, got ${options.chunk} and ${options.batch}; every step takes a whole batch`,
    );
  if (!(options.rate > 0)) throw new Error(`trainSam: expected rate above 0, got ${options.rate}`);
}
