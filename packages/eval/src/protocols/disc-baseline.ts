import { checkFields } from '@slimsam/weights';
import type { EvalImage } from '../data/eval-image.ts';
import { furthestPoint } from '../masks/furthest-point.ts';
import { decodeRle, type MaskSize } from '../masks/rle.ts';
import type { Prompt, Segment } from './segment.ts';

/**
 * A baseline that looks at no pixel: a disc around each point, in the order of the points, those outside of the object taking away; the
 * ellipse in a box. What a model must beat.
 *
 * @param options.radius share of the image's longer side (see `bestDisc`)
 * @throws when the radius is not in (0, 1]
 */
export function discBaseline(options: { readonly radius: number }): Segment {
  checkFields('discBaseline', options, { radius: 'number' });
  const { radius } = options;
  if (!(radius > 0 && radius <= 1)) throw new Error(`discBaseline: expected a radius in (0, 1], got ${radius}`);
  return async ({ width, height }, prompts) =>
    prompts.map((prompt) => ({
      masks: [drawn(prompt, [height, width], radius * Math.max(width, height))],
      scores: [1],
    }));
}

function drawn({ points = [], labels = [], box }: Prompt, [height, width]: MaskSize, radius: number): Uint8Array {
  const mask = new Uint8Array(width * height);
  const ellipse = (x: number, y: number, rx: number, ry: number, value: number) => {
    for (let row = Math.max(0, Math.ceil(y - ry)); row <= Math.min(height - 1, y + ry); row++) {
      const half = ry > 0 ? rx * Math.sqrt(Math.max(0, 1 - ((row - y) / ry) ** 2)) : rx;
      const [from, to] = [Math.max(0, Math.ceil(x - half)), Math.min(width - 1, Math.floor(x + half))];
      if (to >= from) mask.fill(value, row * width + from, row * width + to + 1);
    }
  };
  if (box) ellipse(box[0] + (box[2] - 1) / 2, box[1] + (box[3] - 1) / 2, box[2] / 2, box[3] / 2, 1);
  points.forEach(([x, y], i) => {
    ellipse(x, y, radius, radius, labels[i]!);
  });
  return mask;
}

/** A radius of the baseline, and what it gives on the images that it was chosen on. */
export interface BestDisc {
  /** Share of the image's longer side. */
  readonly radius: number;
  /** Mean IoU, of the mean within each image. */
  readonly miou: number;
}

/** Radii that are tried: 0.5 % to 50 % of the longer side. */
const radii: readonly number[] = Array.from({ length: 100 }, (_, i) => (i + 1) / 200);

/**
 * The radius whose disc around one point of each object has the best mIoU. Choose it on other images than those it is reported of.
 *
 * @throws when there is no object
 */
export async function bestDisc(images: AsyncIterable<EvalImage> | Iterable<EvalImage>): Promise<BestDisc> {
  checkFields('bestDisc', { images }, { images: 'iterable' });
  const sums = new Float64Array(radii.length);
  let count = 0;
  for await (const image of images) {
    const ious = image.annotations.filter(({ crowd }) => !crowd).flatMap((annotation) => discIous(image, annotation));
    if (ious.length === 0) continue;
    count++;
    for (const one of ious) {
      for (const [i, iou] of one.entries()) sums[i]! += iou / ious.length;
    }
  }
  if (count === 0) throw new Error('bestDisc: expected images with objects, got none');
  const best = sums.indexOf(Math.max(...sums));
  return { radius: radii[best]!, miou: sums[best]! / count };
}

/** IoU of the disc of each radius; none for an object without pixels. */
function discIous(
  { width, height }: Pick<EvalImage, 'width' | 'height'>,
  { segmentation, pointCoords }: EvalImage['annotations'][number],
): Float64Array[] {
  const truth = decodeRle(segmentation);
  const point = pointCoords?.[0] ?? furthestPoint(truth, [height, width])?.point;
  const area = truth.reduce((sum, inside) => sum + inside, 0);
  if (!point || area === 0) return [];
  const disc = new Float64Array(radii.length); // pixels that the i-th radius is the first to reach
  const both = new Float64Array(radii.length);
  const step = Math.max(width, height) / 200;
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at++) {
      const i = Math.max(0, Math.ceil(Math.hypot(x - point[0], y - point[1]) / step) - 1);
      if (i >= radii.length) continue;
      disc[i]!++;
      if (truth[at]) both[i]!++;
    }
  }
  let [inDisc, inBoth] = [0, 0];
  return [
    disc.map((pixels, i) => {
      inDisc += pixels;
      inBoth += both[i]!;
      return inBoth / (area + inDisc - inBoth);
    }),
  ];
}
