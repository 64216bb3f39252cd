import { adam, bottleneckAligning, distill } from '@slimsam/distill';
import { countMacs, importance, prune, select } from '@slimsam/prune';
import { bottleneckTaps, encodeImage, encoderAxes, encoderCosts, initSam, type SamPreset } from '@slimsam/vit';
import { disposeWeights, type Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';

/** Images of about a normal distribution: [batch, 3, size, size], the same on every run. */
export const imagesOf = ({ config }: SamPreset, batch = 1): tf.Tensor4D =>
  tf.randomNormal([batch, 3, config.imageSize, config.imageSize], 0, 1, 'float32', 5) as tf.Tensor4D;

/** Random weights of a preset whose names begin so; the rest of the model is freed. */
export function presetWeights({ config, sizes }: SamPreset, prefix: string): Weights {
  const all = Object.entries(initSam(config, sizes, { seed: 3 }));
  const [kept, rest] = [true, false].map((wanted) => all.filter(([name]) => name.startsWith(prefix) === wanted));
  disposeWeights(Object.fromEntries(rest!));
  return Object.fromEntries(kept!);
}

/** Operations of an encode of one image. */
export const encodeFlops = (weights: Weights, { config }: SamPreset): number =>
  2 * countMacs(weights, encoderCosts(weights, config)).macsWithAttention;

/** A student at half the width and its teacher, ready to run steps of SlimSAM's stage 1. */
export interface StageOne {
  /** Operations of a step with one image: the teacher's features, the student's, and its gradients. */
  readonly flops: number;
  /** Runs steps, each with its features, loss, gradients and Adam, and gives the loss of each when it is read: the step is done then. */
  steps(count: number, batch: number): AsyncGenerator<number>;
  free(): void;
}

/** @throws from `steps` when a loss is not finite */
export async function stageOne(preset: SamPreset): Promise<StageOne> {
  const { config } = preset;
  const teacher = presetWeights(preset, 'image_encoder.');
  const axes = encoderAxes(teacher, config);
  const scores = await importance({ criterion: 'magnitude', weights: teacher, axes, dimensions: ['embed'] });
  const { keep } = select({ importance: scores, ratio: 0.5, ranking: 'local', normalise: 'mean' });
  const student = prune(teacher, axes, keep);
  const taps = bottleneckTaps(teacher, config);
  const forward = (weights: Weights, images: tf.Tensor4D, names: readonly string[]) =>
    encodeImage(weights, config, images, { taps: names });
  return {
    flops: encodeFlops(teacher, preset) + 3 * encodeFlops(student, preset),
    async *steps(count, batch) {
      const steps = distill({
        student: { forward, weights: student },
        teachers: { original: { forward, weights: teacher } },
        taps: () => Object.values(taps).flat(),
        loss: (features, { original }) => bottleneckAligning({ student: features, teacher: original, taps, a: 0.5 }),
        optimizer: adam(),
        learningRate: 1e-4,
        epochs: 1,
        batches: () => Array.from({ length: count }, () => imagesOf(preset, batch)),
      });
      for await (const { loss } of steps) {
        if (!Number.isFinite(loss)) throw new Error(`bench: expected a finite loss, got ${loss}`);
        yield loss;
      }
    },
    free() {
      disposeWeights(teacher);
      disposeWeights(student);
    },
  };
}
