import { type ImageIou, type MeanIouOptions, meanIou, measureLatency } from '@slimsam/eval';
import { countMacs, countParameters } from '@slimsam/prune';
import { createPredictor, decodeImage, encoderCosts, type Sam } from '@slimsam/vit';
import { checkFields } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';

/** What is reported of a SAM. */
export interface Evaluation {
  /** Of the image encoder. */
  readonly params: number;
  /** Of all of the SAM. */
  readonly wholeParams: number;
  /** Of the image encoder: linear and convolution layers, and the products of attention too. */
  readonly macs: number;
  readonly macsWithAttention: number;
  /** With one point an object; undefined without labelled images. */
  readonly miou: number | undefined;
  /** The encoder's median for one image, milliseconds; undefined unless measured. */
  readonly latencyMs: number | undefined;
}

export interface EvaluateOptions {
  /** Measures the encoder's latency on a blank image; true unless given. */
  readonly latency?: boolean;
  readonly onImage?: (image: ImageIou) => void;
  readonly signal?: AbortSignal;
}

/**
 * Costs and quality of a SAM: parameters, MACs, latency, and mIoU with one point (the paper's protocol, see `meanIou`).
 *
 * @param images labelled ones, such as `readSa1b` gives
 * @throws as `meanIou` does
 */
export async function evaluateSam(
  sam: Sam,
  images?: MeanIouOptions['images'],
  options: EvaluateOptions = {},
): Promise<Evaluation> {
  checkFields('evaluateSam', sam, { weights: 'object', config: 'object' });
  const { onImage, signal } = options;
  const { weights, config } = sam;
  const quality =
    images &&
    (await meanIou({
      images,
      predict: (imagePath, points) => masksAt(sam, { imagePath, points }),
      ...(onImage && { onImage }),
      ...(signal && { signal }),
    }));
  const { macs, macsWithAttention } = countMacs(weights, encoderCosts(weights, config));
  return {
    params: countParameters(weights, { prefix: 'image_encoder.' }),
    wholeParams: countParameters(weights),
    ...{ macs, macsWithAttention },
    miou: quality?.miou,
    latencyMs: options.latency === false ? undefined : await latencyOf(sam, signal),
  };
}

/** Milliseconds: of an encoder slower than this one run after the first is enough. */
const slow = 2000;

async function latencyOf({ weights, config }: Sam, signal: AbortSignal | undefined): Promise<number> {
  const predictor = createPredictor(weights, config);
  const side = config.imageSize;
  const image = { width: side, height: side, data: new Uint8Array(side * side * 3) };
  const embed = async () => {
    const { embedding } = predictor.embed(image);
    await embedding.data();
    embedding.dispose();
  };
  const { median: first } = await measureLatency(embed, { warmup: 1, repeats: 1, ...(signal && { signal }) });
  if (first > slow) return first;
  const { median } = await measureLatency(embed, { warmup: 1, repeats: 9, ...(signal && { signal }) });
  return median;
}

/** One mask [height * width] for each point, in the image's size. */
async function masksAt(
  { weights, config }: Sam,
  prompt: { readonly imagePath: string; readonly points: readonly (readonly [number, number])[] },
): Promise<Uint8Array[]> {
  const predictor = createPredictor(weights, config);
  const embedded = predictor.embed(await decodeImage(prompt.imagePath));
  try {
    const points = prompt.points.map((point) => [[...point]]);
    const { masks, lowRes } = await predictor.predict(embedded, { points }, { multimask: false });
    lowRes.dispose();
    return masks.map(([mask]) => mask!);
  } finally {
    tf.dispose(embedded.embedding);
  }
}
