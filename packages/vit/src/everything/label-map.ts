import { checkFields } from '@slimsam/weights';
import type { EverythingMask } from './segment-everything.ts';

/**
 * Masks that may overlap as one map without overlaps: where several masks lie, the smallest wins, or the one that is predicted best.
 *
 * @param options `prefer` is 'smallest' by default; of equals the earlier mask wins
 * @returns [height * width], row by row: 0 for no mask, i + 1 for masks[i]; a mask may win no pixel
 * @throws when a mask is not of height * width pixels, such as one that was encoded
 */
export function labelMap(
  masks: readonly EverythingMask[],
  options: { readonly width: number; readonly height: number; readonly prefer?: 'smallest' | 'best-predicted' },
): Int32Array {
  checkFields('labelMap', { masks }, { masks: 'list' });
  checkFields('labelMap', options, { width: 'number', height: 'number' });
  const { width, height, prefer = 'smallest' } = options;
  if (prefer !== 'smallest' && prefer !== 'best-predicted') {
    throw new Error(`labelMap: expected prefer to be 'smallest' or 'best-predicted', got '${prefer}'; leave it out`);
  }
  masks.forEach(({ segmentation }, i) => {
    if (segmentation instanceof Uint8Array && segmentation.length === width * height) return;
    throw new Error(
      `labelMap: expected masks[${i}].segmentation of ${height} x ${width} = ${height * width} pixels, got ${segmentation?.length ?? typeof segmentation}; decode run lengths first`,
    );
  });
  const rank = ({ area, predictedIou }: EverythingMask): number => (prefer === 'smallest' ? area : -predictedIou);
  const order = masks.map((_, i) => i).sort((a, b) => rank(masks[a]!) - rank(masks[b]!));
  const labels = new Int32Array(width * height);
  for (const index of order) {
    masks[index]!.segmentation.forEach((bit, pixel) => {
      if (bit !== 0 && labels[pixel] === 0) labels[pixel] = index + 1;
    });
  }
  return labels;
}
