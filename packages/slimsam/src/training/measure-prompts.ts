import { decodeRle, maskIou, readSa1b } from '@slimsam/eval';
import { createPredictor, decodeImage, type Sam } from '@slimsam/vit';
import { checkFields } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';

/** Mean IoU with people's masks: within an image, then over images. */
export interface PromptIous {
  /** One point an object, one mask. */
  readonly point: number;
  /** One point an object, the best of three masks. */
  readonly bestOfThree: number;
  /** The object's box, one mask. */
  readonly box: number;
  readonly images: number;
  readonly masks: number;
}

/**
 * Asks a SAM for every object of a folder in SA-1B's format, by its first point and by its box.
 *
 * @param options.only which images count, by their index; all unless given
 * @throws as `readSa1b` and the predictor do
 */
export async function measurePrompts(
  sam: Sam,
  folder: string,
  options: { readonly only?: (index: number) => boolean; readonly signal?: AbortSignal | undefined } = {},
): Promise<PromptIous> {
  checkFields('measurePrompts', { folder, options }, { folder: 'string', options: 'object?' });
  checkFields('measurePrompts', sam, { weights: 'object', config: 'object' });
  const { weights, config } = sam;
  const { only = () => true, signal } = options;
  const predictor = createPredictor(weights, config);
  const sums = { point: 0, bestOfThree: 0, box: 0 };
  let [index, images, masks] = [0, 0, 0];
  for await (const { imagePath, annotations } of readSa1b(folder, signal ? { signal } : {})) {
    if (!only(index++) || annotations.length === 0) continue;
    const embedded = predictor.embed(await decodeImage(imagePath));
    const points = annotations.map(({ pointCoords }) => [[...pointCoords[0]!] as [number, number]]);
    const boxes = annotations.map(({ bbox: [x, y, w, h] }) => [x, y, x + w, y + h] as [number, number, number, number]);
    const wanted = annotations.map(({ segmentation }) => decodeRle(segmentation));
    const ask = async (prompts: object, multimask: boolean) => {
      const { masks: found, lowRes } = await predictor.predict(embedded, prompts, { multimask });
      lowRes.dispose();
      const ious = found.map((list, k) => Math.max(...list.map((mask) => maskIou(mask, wanted[k]!))));
      return ious.reduce((sum, iou) => sum + iou, 0) / ious.length;
    };
    sums.point += await ask({ points }, false);
    sums.bestOfThree += await ask({ points }, true);
    sums.box += await ask({ boxes }, false);
    tf.dispose(embedded.embedding);
    images++;
    masks += annotations.length;
  }
  if (images === 0) throw new Error(`measurePrompts: expected images with masks in '${folder}', got none`);
  const mean = (sum: number) => sum / images;
  return { point: mean(sums.point), bestOfThree: mean(sums.bestOfThree), box: mean(sums.box), images, masks };
}
