/** Prunes heads and MLPs of a plain ViT by disturbed Taylor importance on a folder of images, aligns it with the original, and saves it. */
import { adam, type DistillOptions, distill, embeddingAligning, shuffledBatches } from '@slimsam/distill';
import { accumulateGradients, countParameters, disturbedLoss, importance, noise, prune, select } from '@slimsam/prune';
import {
  decodeImage,
  initVit,
  loadVit,
  parseVitConfig,
  preprocessVit,
  saveVit,
  type Vit,
  vitAxes,
  vitFeatures,
  vitTaps,
} from '@slimsam/vit';
import type { Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import pc from 'picocolors';
import { openBackend } from './backend.ts';
import { pruneVitOptions } from './prune-vit-options.ts';
import { findImages } from './recipe.ts';

const options = pruneVitOptions();
let close = () => {};
try {
  ({ close } = await openBackend(options.backend));
  const vit = options.checkpoint ? await loadVit(options.checkpoint) : smallVit();
  const { images } = await findImages(options.images, { strict: false, signal: new AbortController().signal });
  const read = async (paths: readonly string[]) => {
    const decoded = await Promise.all(paths.map(decodeImage));
    return tf.tidy(() => tf.concat(decoded.map((image) => preprocessVit(image, vit.config))) as tf.Tensor4D);
  };
  const batches: DistillOptions<string>['batches'] = async function* (epoch, startBatch) {
    for (const order of shuffledBatches(images.length, { batchSize: 4, seed: 1, epoch, startBatch })) {
      const batch = await read(order.map((i) => images[i]!));
      yield batch;
      batch.dispose();
    }
  };

  // which channels matter when the tokens are disturbed?
  const gradients = await accumulateGradients({
    weights: vit.weights,
    batches: batches(0, 0),
    loss: (weights, batch, { index }) => {
      const { tokens } = vitFeatures(weights, vit.config, batch);
      return disturbedLoss(tokens, noise(tokens.shape, { seed: index }));
    },
  });
  const axes = vitAxes(vit.weights, vit.config);
  const keep: Record<string, number[]> = {};
  for (const kind of ['head', 'mlp']) {
    const dimensions = vitTaps(vit.weights).bottleneck.mlpHidden.map((_, i) => `blocks.${i}.${kind}`);
    const scores = await importance({ criterion: 'taylor', ...vit, axes, dimensions, gradients });
    const how = { ratio: options.ratio, ranking: 'global', normalise: 'standard' } as const;
    Object.assign(keep, select({ importance: scores, ...how }).keep);
  }
  const pruned = prune(vit.weights, axes, keep);
  console.log(`${countParameters(vit.weights)} parameters -> ${countParameters(pruned)}`);

  // the tokens and the residual stream are as wide as before, so they can be aligned with the original's
  const stream = vitTaps(pruned).embedding;
  const forward = (weights: Weights, batch: tf.Tensor4D, taps: readonly string[]) => {
    const { tokens, taps: tapped } = vitFeatures(weights, vit.config, batch, { taps });
    return { embedding: tokens, taps: tapped };
  };
  const training = distill({
    student: { forward, weights: pruned },
    teachers: { original: { forward, weights: vit.weights } },
    taps: () => stream,
    loss: (student, { original }) =>
      embeddingAligning({ student, teacher: original, previous: original, taps: stream, a: 0.5 }),
    ...{ optimizer: adam(), learningRate: 1e-3, batches, epochs: options.epochs },
  });
  for await (const { position, epochDone, loss, weights } of training) {
    console.log(`step ${position.step}: loss ${loss.toExponential(3)}`);
    if (epochDone) await saveVit(options.out, { ...vit, weights });
  }
  console.log(`saved: ${options.out}`);
} catch (error) {
  console.error(pc.red((error as Error).message));
  process.exitCode = 1;
} finally {
  close();
}

function smallVit(): Vit {
  const config = parseVitConfig({ imageSize: [64, 64], heads: 3, headWidth: 16 });
  return { config, weights: initVit(config, { depth: 4, mlpWidth: 192, patchSize: 8 }, { seed: 1 }) };
}
