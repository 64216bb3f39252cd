import { meanIou, measureLatency, readSa1b } from '@slimsam/eval';
import { countMacs, countParameters } from '@slimsam/prune';
import { createPredictor, decodeImage, encoderCosts, type SamConfig } from '@slimsam/vit';
import type { Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';

/** What is reported of a model. Parameters, MACs and latency are the image encoder's. */
export interface Evaluation {
  readonly params: number;
  readonly macs: number;
  readonly macsWithAttention: number;
  readonly miou: number;
  readonly latencyMs: number;
}

/** mIoU with one point an object, on a folder in SA-1B's format, with costs and latency of the image encoder. */
export async function evaluate(
  weights: Weights,
  config: SamConfig,
  options: { folder: string; signal: AbortSignal; onImage: () => void },
): Promise<Evaluation> {
  const { miou } = await meanIou({
    images: readSa1b(options.folder, { signal: options.signal }),
    predict: async (imagePath, points) => masksAt(weights, config, { imagePath, points }),
    signal: options.signal,
    onImage: options.onImage,
  });
  const predictor = createPredictor(weights, config);
  const side = config.imageSize;
  const image = { width: side, height: side, data: new Uint8Array(side * side * 3) };
  const { median } = await measureLatency(
    async () => {
      const { embedding } = predictor.embed(image);
      await embedding.data();
      embedding.dispose();
    },
    { warmup: 2, repeats: 9, signal: options.signal },
  );
  const params = countParameters(weights, { prefix: 'image_encoder.' });
  return { params, ...countMacs(weights, encoderCosts(weights, config)), miou, latencyMs: median };
}

/** One mask for each point, in the image's size. */
export async function masksAt(
  weights: Weights,
  config: SamConfig,
  prompt: { imagePath: string; points: readonly (readonly [number, number])[] },
): Promise<Uint8Array[]> {
  const predictor = createPredictor(weights, config);
  const embedded = predictor.embed(await decodeImage(prompt.imagePath));
  const { masks, lowRes } = await predictor.predict(embedded, {
    points: prompt.points.map((point) => [[...point]]),
    multimask: false,
  });
  tf.dispose([embedded.embedding, lowRes]);
  return masks.map((list) => list[0]!);
}
