import { existsSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { useWebgpu } from '@slimsam/tensor-webgpu';
import { bottleneckTaps, encodeImage, initSam, parseSamConfig } from '@slimsam/vit';
import type { Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import {
  adam,
  bottleneckAligning,
  bottleneckAlpha,
  distill,
  type Forward,
  keepBest,
  loadTraining,
  plateau,
  saveTraining,
  shuffledBatches,
  type TrainingState,
  type TrainingStep,
} from '../src/index.ts';

const config = parseSamConfig({
  imageSize: 64,
  patchSize: 16,
  heads: 2,
  headWidth: 8,
  windowSize: 2,
  globalBlocks: [1],
  decoderHeads: 2,
});
const sizes = { depth: 2, mlpWidth: 32, promptWidth: 16, maskChannels: 4, decoderMlpWidth: 32, iouHiddenWidth: 16 };
const forward: Forward = (weights, images, taps) => encodeImage(weights, config, images, { taps });

const images = 10;
/** Noise as images [B, 3, 64, 64]: a function of the indices. */
const batch = (indices: readonly number[]): tf.Tensor4D =>
  tf.tidy(
    () => tf.concat(indices.map((i) => tf.randomNormal([1, 3, 64, 64], 0, 1, 'float32', 1000 + i))) as tf.Tensor4D,
  );

/** An encoder of half the width learns from a teacher: five steps an epoch. */
export function tinyRun(options: {
  readonly epochs: number;
  readonly resume?: TrainingState | undefined;
  readonly learningRate: Parameters<typeof distill>[0]['learningRate'];
}): { steps: AsyncGenerator<TrainingStep, void, undefined>; models: readonly Weights[] } {
  const teacher = initSam(config, { ...sizes, width: 16 }, { seed: 1 });
  const student = initSam(config, { ...sizes, width: 8 }, { seed: 2 });
  const taps = bottleneckTaps(teacher, config);
  const steps = distill({
    ...options,
    student: { forward, weights: student },
    teachers: { teacher: { forward, weights: teacher } },
    taps: () => Object.values(taps).flat(),
    loss: (features, { teacher }, { epoch }) =>
      bottleneckAligning({ student: features, teacher, taps, a: bottleneckAlpha(epoch, options.epochs) }),
    optimizer: adam(),
    trainable: (name) => name.startsWith('image_encoder.'),
    *batches(epoch, startBatch) {
      for (const indices of shuffledBatches(images, { batchSize: 2, seed: 3, epoch, startBatch })) yield batch(indices);
    },
  });
  return { steps, models: [teacher, student] };
}

/** Runs three epochs, with a file written after every step, from where that file is. */
export async function runWithFile(path: string, onStep: (step: TrainingStep) => void = () => {}): Promise<void> {
  const saved = existsSync(path) ? await loadTraining(path) : undefined;
  const rate = plateau({ learningRate: 0.01, patience: 0, from: saved?.plateau });
  const keeper = keepBest(saved?.best);
  for await (const step of tinyRun({ epochs: 3, resume: saved?.state, learningRate: rate }).steps) {
    if (step.epochDone) {
      const metric = [0.5, 0.25, 0.75][step.position.epoch - 1]!;
      rate.feed(metric);
      keeper.offer(metric, step.weights);
    }
    await saveTraining(path, step.state, { best: keeper.best, plateau: rate.state(), notes: 'seed 3' });
    onStep(step);
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const backend = await useWebgpu();
  await runWithFile(process.argv[2]!, ({ position }) => console.log(position.step));
  backend.dispose();
}
