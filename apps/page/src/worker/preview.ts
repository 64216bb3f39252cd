import { maskIou } from '@slimsam/eval';
import { createPredictor, type Sam } from '@slimsam/vit';
import type { RgbImage } from '@slimsam/vit/images';

/** Points on objects that the original sees. */
export type PreviewPoints = readonly (readonly [x: number, y: number])[];

/** Points of a grid whose masks the original is most sure of, three at most, of objects that differ. */
export async function choosePoints({ weights, config }: Sam, image: RgbImage): Promise<PreviewPoints> {
  const at = [0.15, 0.38, 0.62, 0.85];
  const grid = at.flatMap((y) => at.map((x): [number, number] => [x * image.width, y * image.height]));
  const masks = await masksAt({ weights, config }, image, grid);
  const order = grid.map((_, i) => i).sort((a, b) => masks[b]!.score - masks[a]!.score);
  const chosen: number[] = [];
  for (const i of order) {
    const share = masks[i]!.mask.reduce((sum, inside) => sum + inside, 0) / masks[i]!.mask.length;
    if (chosen.length === 3 || share > 0.6 || share < 0.005) continue;
    if (chosen.every((other) => maskIou(masks[i]!.mask, masks[other]!.mask) < 0.3)) chosen.push(i);
  }
  return chosen.map((i) => grid[i]!);
}

/** The best mask at each point. */
export async function masksAt(
  { weights, config }: Sam,
  image: RgbImage,
  points: PreviewPoints,
): Promise<{ mask: Uint8Array<ArrayBuffer>; score: number }[]> {
  if (points.length === 0) return [];
  const predictor = createPredictor(weights, config);
  const embedded = predictor.embed(image);
  try {
    const { masks, scores, dispose } = await predictor.predict(embedded, { points: points.map((point) => [point]) });
    dispose();
    return masks.map((ofPoint, i) => {
      const best = scores[i]!.indexOf(Math.max(...scores[i]!));
      return { mask: new Uint8Array(ofPoint[best]!), score: scores[i]![best]! };
    });
  } finally {
    embedded.dispose();
  }
}
