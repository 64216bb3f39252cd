import type { RgbImage } from '../images/rgb-image.ts';
import type { Box } from './boxes.ts';

/** A part of the image that is encoded on its own, and the places that are asked about in it. */
export interface Crop {
  readonly box: Box;
  /** [P, 2], x and y in [0, 1] of the crop */
  readonly grid: PointGrid;
}

/** [P, 2], x and y in [0, 1]. */
export type PointGrid = readonly (readonly [number, number])[];

/** N x N points, the centres of as many cells, row by row. */
export function pointGrid(perSide: number): PointGrid {
  return Array.from({ length: perSide * perSide }, (_, i) => [
    ((i % perSide) + 0.5) / perSide,
    (Math.floor(i / perSide) + 0.5) / perSide,
  ]);
}

/**
 * The whole image, then for layer l = 1, 2, … its 2^l x 2^l crops, column by column (segment-anything, utils/amg.py:
 * generate_crop_boxes). Neighbours overlap by floor(ratio * shorter side * 2 / 2^l) pixels.
 *
 * @param grids one for each layer, the whole image's first
 * @throws when a crop would have no pixels
 */
export function layCrops(
  { width, height }: { width: number; height: number },
  { grids, overlapRatio }: { grids: readonly PointGrid[]; overlapRatio: number },
): Crop[] {
  return grids.flatMap((grid, layer) => {
    const perSide = 2 ** layer;
    const overlap = layer === 0 ? 0 : Math.floor(overlapRatio * Math.min(width, height) * (2 / perSide));
    const [columns, rows] = [spans(width, { perSide, overlap }), spans(height, { perSide, overlap })];
    if ([...columns, ...rows].some(([from, to]) => from >= to)) {
      throw new Error(
        `segmentEverything: expected an image that ${perSide} x ${perSide} crops fit into, got ${width} x ${height} pixels; ask for fewer than ${layer} crop layers (cropNLayers)`,
      );
    }
    return columns.flatMap(([x0, x1]) => rows.map(([y0, y1]): Crop => ({ box: [x0, y0, x1, y1], grid })));
  });
}

/** From and to of the overlapping parts of a length. */
function spans(length: number, { perSide, overlap }: { perSide: number; overlap: number }): [number, number][] {
  const part = Math.ceil((overlap * (perSide - 1) + length) / perSide);
  return Array.from({ length: perSide }, (_, i) => {
    const from = (part - overlap) * i;
    return [from, Math.min(from + part, length)];
  });
}

/** The pixels of a box. */
export function cutImage(image: RgbImage, [x0, y0, x1, y1]: Box): RgbImage {
  const [width, height] = [x1 - x0, y1 - y0];
  const data = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++) {
    const from = ((y0 + y) * image.width + x0) * 3;
    data.set(image.data.subarray(from, from + width * 3), y * width * 3);
  }
  return { width, height, data };
}
