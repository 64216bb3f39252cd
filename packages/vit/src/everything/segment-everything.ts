import { checkFields, type Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import type { Sam } from '../checkpoint/load-sam.ts';
import { decodeImage } from '../images/image.ts';
import { type ImagePixels, toRgb } from '../images/image-pixels.ts';
import { type ImageSource, isSource } from '../images/image-source.ts';
import { preprocess } from '../images/preprocess.ts';
import type { RgbImage } from '../images/rgb-image.ts';
import { batchSizes } from '../masks/batch-sizes.ts';
import type { SamConfig } from '../sam/config.ts';
import { encodeImage } from '../sam/encoder.ts';
import { boxToXywh, isCutOff } from './boxes.ts';
import { type Candidate, distinct, withoutSmallRegions } from './candidates.ts';
import { type Crop, cutImage, layCrops } from './crops.ts';
import { type DecodedPoints, decodePoints } from './decode-points.ts';
import { type EverythingOptions, type EverythingSettings, settingsOf } from './options.ts';
import { unpackMask } from './packed-mask.ts';

/** A mask that `segmentEverything` found, with the fields of an SA-1B annotation. */
export interface EverythingMask<Segmentation = Uint8Array> {
  /** [height * width] of 0 and 1, in the size of the image; or what `encode` makes of it */
  readonly segmentation: Segmentation;
  /** Pixels. */
  readonly area: number;
  /** [x, y, width, height]; width and height are those between the outermost pixels, one less than their count */
  readonly bbox: readonly [number, number, number, number];
  readonly predictedIou: number;
  /** IoU of the mask at thresholds `stabilityScoreOffset` above and below. */
  readonly stabilityScore: number;
  /** The one point that gave the mask: [x, y], pixels. */
  readonly pointCoords: readonly (readonly [number, number])[];
  /** [x, y, width, height] of the crop that gave the mask, pixels */
  readonly cropBox: readonly [number, number, number, number];
}

/** Another form for masks, such as `encodeRle` of @slimsam/eval. */
export type EncodeMask<Segmentation> = (mask: Uint8Array, size: { width: number; height: number }) => Segmentation;

/**
 * Masks for everything in an image, without prompts of one's own: a grid of points, on the image and on crops of it, three masks for each
 * point, of which the well predicted, stable and distinct ones stay (segment-anything, automatic_mask_generator.py).
 *
 * Masks come best predicted first, those of smaller crops before those of larger ones. Until the end they are held as run lengths.
 * Unlike there, a mask that is empty at both thresholds has a stability score of 0 rather than NaN.
 *
 * @param image pixels, or what `decodeImage` takes
 * @param options `encode` gives the masks another form one by one, so that the binary ones are never held all at once
 * @throws when an option is unknown or out of its range, the image's data does not fit its size, a crop has no pixels, a weight is missing,
 * or the signal aborts
 */
export function segmentEverything(
  weights: Weights,
  config: SamConfig,
  image: ImagePixels | ImageSource,
  options?: EverythingOptions,
): Promise<EverythingMask[]>;
export function segmentEverything<Segmentation>(
  weights: Weights,
  config: SamConfig,
  image: ImagePixels | ImageSource,
  options: EverythingOptions & { readonly encode: EncodeMask<Segmentation> },
): Promise<EverythingMask<Segmentation>[]>;
export async function segmentEverything(
  weights: Weights,
  config: SamConfig,
  source: ImagePixels | ImageSource,
  options: EverythingOptions & { readonly encode?: EncodeMask<unknown> } = {},
): Promise<EverythingMask<unknown>[]> {
  checkFields(
    'segmentEverything',
    { weights, config, options }, // toRgb checks the source
    { weights: 'object', config: 'object', options: 'object' },
  );
  const { encode = (mask: Uint8Array) => mask } = options;
  const settings = settingsOf(options);
  const image = isSource(source) ? await decodeImage(source) : toRgb(source, 'segmentEverything');
  const crops = layCrops(image, { grids: settings.grids, overlapRatio: settings.cropOverlapRatio });
  const total = crops.reduce((sum, { grid }) => sum + grid.length, 0);
  const tally = { done: 0, decoded: 0, wellPredicted: 0, bestIou: Number.NEGATIVE_INFINITY };
  let candidates: Candidate[] = [];
  for (const [index, crop] of crops.entries()) {
    const before = candidates.length;
    const onBatch = (points: number, { decoded, wellPredicted, bestIou, masks }: Batch) => {
      tally.done += points;
      tally.decoded += decoded;
      tally.wellPredicted += wellPredicted;
      tally.bestIou = Math.max(tally.bestIou, bestIou);
      settings.onProgress({ ...tally, total, crop: index + 1, crops: crops.length, masks: before + masks });
    };
    candidates = candidates.concat(await segmentCrop({ weights, config }, { image, crop }, { settings, onBatch }));
  }
  if (candidates.length === 0) console.warn(nothingFound(tally, settings));
  if (crops.length > 1) {
    const scores = candidates.map(({ crop }) => 1 / ((crop[2] - crop[0]) * (crop[3] - crop[1])));
    candidates = distinct(candidates, { scores, threshold: settings.cropNmsThresh });
  }
  if (settings.minMaskRegionArea > 0) {
    const threshold = Math.max(settings.boxNmsThresh, settings.cropNmsThresh);
    candidates = withoutSmallRegions(candidates, { size: image, minArea: settings.minMaskRegionArea, threshold });
  }
  return candidates.map(({ packed, box, crop, point, area, predictedIou, stabilityScore }) => ({
    segmentation: encode(unpackMask(packed, image), { width: image.width, height: image.height }),
    area,
    bbox: boxToXywh(box),
    predictedIou,
    stabilityScore,
    pointCoords: [point],
    cropBox: boxToXywh(crop),
  }));
}

/** What a batch of points gave, and all the masks of the crop so far. */
interface Batch extends Omit<DecodedPoints, 'candidates'> {
  readonly masks: number;
}

/** Why there are no masks: a model whose scores are low passes no usual threshold. */
function nothingFound(
  { decoded, wellPredicted, bestIou }: Omit<DecodedPoints, 'candidates'>,
  { predIouThresh, stabilityScoreThresh }: EverythingSettings,
): string {
  const start = `segmentEverything: none of ${decoded} masks was kept`;
  if (wellPredicted === 0)
    return `${start}: the best has a predicted IoU of ${bestIou.toFixed(2)}, predIouThresh is ${predIouThresh}; lower it for a model whose scores are low`;
  return `${start}: of ${wellPredicted} above predIouThresh none reaches stabilityScoreThresh ${stabilityScoreThresh}, or crops cut them off; lower it`;
}

/** The distinct masks of a crop that end within it, best predicted first. */
async function segmentCrop(
  sam: Sam,
  { image, crop: { box, grid } }: { image: RgbImage; crop: Crop },
  { settings, onBatch }: { settings: EverythingSettings; onBatch: (points: number, batch: Batch) => void },
): Promise<Candidate[]> {
  settings.signal?.throwIfAborted();
  const { embedding, inputSize } = tf.tidy(() => {
    const { pixels, inputSize } = preprocess(cutImage(image, box), sam.config);
    return { embedding: encodeImage(sam.weights, sam.config, pixels).embedding, inputSize };
  });
  try {
    const crop = { box, embedding, inputSize };
    const { prompts, masks: masksAtOnce } = batchSizes(sam.config, {
      embeddingSize: embedding.size,
      maskPixels: (box[2] - box[0]) * (box[3] - box[1]),
      memoryLimit: settings.memoryLimit,
    });
    const pointsAtOnce = Math.min(settings.pointsPerBatch, prompts);
    const candidates: Candidate[] = [];
    for (let at = 0; at < grid.length; at += pointsAtOnce) {
      settings.signal?.throwIfAborted();
      const points = grid.slice(at, at + pointsAtOnce);
      const { candidates: found, ...batch } = await decodePoints(sam, crop, { points, settings, masksAtOnce });
      candidates.push(...found.filter((candidate) => !isCutOff(candidate.box, box, image)));
      onBatch(points.length, { ...batch, masks: candidates.length });
    }
    const scores = candidates.map(({ predictedIou }) => predictedIou);
    return distinct(candidates, { scores, threshold: settings.boxNmsThresh });
  } finally {
    embedding.dispose();
  }
}
