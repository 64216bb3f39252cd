import { checkFields } from '@slimsam/weights';

/**
 * Intersection over union of two masks of the same size; 1 when both are empty.
 *
 * @param a @param b [pixels], not 0 inside
 * @throws when the sizes differ
 */
export function maskIou(a: Uint8Array, b: Uint8Array): number {
  checkFields('maskIou', { a, b }, { a: 'list', b: 'list' });
  if (a.length !== b.length)
    throw new Error(`maskIou: expected masks of one size, got ${a.length} and ${b.length} pixels`);
  let overlap = 0;
  let union = 0;
  for (let i = 0; i < a.length; i++) {
    const [x, y] = [a[i]! !== 0, b[i]! !== 0];
    if (x && y) overlap++;
    if (x || y) union++;
  }
  return union === 0 ? 1 : overlap / union;
}
