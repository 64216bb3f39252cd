/** [x0, y0, x1, y1] in pixels. A crop's x1 and y1 lie outside of it; a mask's are its last pixels, as in segment-anything. */
export type Box = readonly [number, number, number, number];

/** How near to an edge a box counts as cut off by it, pixels (segment-anything, utils/amg.py: is_box_near_crop_edge). */
const edgeTolerance = 20;

/** [x0, y0, x1, y1] -> [x, y, width, height] as segment-anything writes it: x1 - x0, one less than the pixels of a mask. */
export function boxToXywh([x0, y0, x1, y1]: Box): [number, number, number, number] {
  return [x0, y0, x1 - x0, y1 - y0];
}

/** The smallest box around a mask's pixels; [0, 0, 0, 0] when it has none. */
export function maskBox(mask: Uint8Array, width: number): Box {
  let [x0, y0, x1, y1] = [width, -1, -1, 0];
  for (let row = 0, y = 0; row < mask.length; row += width, y++) {
    const line = mask.subarray(row, row + width);
    const first = line.indexOf(1);
    if (first < 0) continue;
    if (y0 < 0) y0 = y;
    y1 = y;
    x0 = Math.min(x0, first);
    x1 = Math.max(x1, line.lastIndexOf(1));
  }
  return y0 < 0 ? [0, 0, 0, 0] : [x0, y0, x1, y1];
}

/** Whether one of a box's sides lies within 20 pixels of the same side of its crop, but not of the image's. */
export function isCutOff(box: Box, crop: Box, { width, height }: { width: number; height: number }): boolean {
  const image = [0, 0, width, height];
  return box.some(
    (side, i) => Math.abs(side - crop[i]!) <= edgeTolerance && Math.abs(side - image[i]!) > edgeTolerance,
  );
}

/**
 * Greedy non-maximum suppression, as torchvision's nms: from the best score on, boxes whose IoU with a kept one is above the threshold are
 * dropped, the IoU in float32 as there. Of equal scores the earlier is first. Boxes without an area overlap nothing.
 *
 * @returns the indices kept, best first
 */
export function suppressBoxes(
  boxes: readonly Box[],
  { scores, threshold }: { scores: readonly number[]; threshold: number },
): number[] {
  const order = boxes.map((_, i) => i).sort((a, b) => scores[b]! - scores[a]!);
  const kept: number[] = [];
  for (const index of order) {
    if (kept.every((other) => !(boxIou(boxes[other]!, boxes[index]!) > threshold))) kept.push(index);
  }
  return kept;
}

/** Intersection over union in float32; NaN when neither has an area. */
function boxIou(a: Box, b: Box): number {
  const width = Math.max(0, Math.min(a[2], b[2]) - Math.max(a[0], b[0]));
  const height = Math.max(0, Math.min(a[3], b[3]) - Math.max(a[1], b[1]));
  const overlap = width * height;
  return Math.fround(overlap / (area(a) + area(b) - overlap));
}

const area = ([x0, y0, x1, y1]: Box): number => (x1 - x0) * (y1 - y0);
