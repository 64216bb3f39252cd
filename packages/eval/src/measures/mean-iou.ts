import { checkFields } from '@slimsam/weights';
import type { Sa1bImage } from '../data/sa1b-image.ts';
import { maskIou } from '../masks/mask-iou.ts';
import { decodeRle } from '../masks/rle.ts';

/** IoUs of one image. */
export interface ImageIou {
  readonly imagePath: string;
  /** Mean over the annotations. */
  readonly miou: number;
  /** Of each annotation, in their order. */
  readonly ious: readonly number[];
}

/** What is needed of an image of `readSa1b`. */
export type MeanIouImage = Pick<Sa1bImage, 'width' | 'height'> & {
  readonly imagePath: string;
  readonly annotations: readonly Pick<Sa1bImage['annotations'][number], 'pointCoords' | 'segmentation'>[];
};

export interface MeanIouOptions {
  readonly images: AsyncIterable<MeanIouImage> | Iterable<MeanIouImage>;
  /**
   * One mask [height * width] at the image's own size for each point [x, y] in pixels; called once an image, so that the image is
   * embedded once.
   */
  readonly predict: (
    imagePath: string,
    points: readonly (readonly [number, number])[],
  ) => Promise<readonly Uint8Array[]>;
  readonly signal?: AbortSignal;
  readonly onImage?: (image: ImageIou) => void;
}

/**
 * mIoU with one point, the protocol of the SlimSAM paper's tables: for every annotation its first point as a foreground point, one mask,
 * IoU with the annotation; the mean within each image, then over images. Images without annotations do not count.
 *
 * @throws when predict gives another number or size of masks, no image has an annotation, or the signal aborts
 */
export async function meanIou(options: MeanIouOptions): Promise<{ miou: number; perImage: ImageIou[] }> {
  checkFields('meanIou', options, { images: 'iterable', predict: 'function' });
  const perImage: ImageIou[] = [];
  for await (const { imagePath, width, height, annotations } of options.images) {
    options.signal?.throwIfAborted();
    if (annotations.length === 0) continue;
    const masks = await options.predict(
      imagePath,
      annotations.map(({ pointCoords }) => pointCoords[0]!),
    );
    if (masks.length !== annotations.length) {
      throw new Error(`meanIou: expected ${annotations.length} masks of '${imagePath}', got ${masks.length}`);
    }
    const ious = annotations.map(({ segmentation }, index) => {
      const mask = masks[index]!;
      if (mask.length !== width * height) {
        throw new Error(
          `meanIou: expected masks of ${height} x ${width} pixels of '${imagePath}', got ${mask.length} pixels`,
        );
      }
      return maskIou(mask, decodeRle(segmentation));
    });
    const image = { imagePath, miou: mean(ious), ious };
    perImage.push(image);
    options.onImage?.(image);
  }
  if (perImage.length === 0) throw new Error('meanIou: expected images with annotations, got none');
  return { miou: mean(perImage.map(({ miou }) => miou)), perImage };
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
