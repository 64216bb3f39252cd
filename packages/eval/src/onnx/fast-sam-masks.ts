import { boxIous } from '../masks/rle-operations.ts';
import type { Prompt, Segmented } from '../protocols/segment.ts';

/** All masks of an image, the most confident first. */
export interface EverythingMasks {
  readonly width: number;
  readonly height: number;
  readonly masks: readonly Uint8Array[];
  readonly scores: readonly number[];
}

/** The model's outputs: boxes [1, 4 + 1 + C, N] (x, y of the middle, width, height, confidence, C factors) and maps [1, C, h, w]. */
interface Outputs {
  readonly predictions: Float32Array;
  readonly predictionShape: readonly number[];
  readonly prototypes: Float32Array;
  readonly prototypeShape: readonly number[];
}

interface Settings {
  /** Of the square that the model reads. */
  readonly side: number;
  readonly width: number;
  readonly height: number;
  readonly confidence: number;
  readonly overlap: number;
  readonly most: number;
}

/** Boxes this near to the square's border go to it, pixels. */
const nearBorder = 20;

/**
 * FastSAM's masks from its outputs: confident boxes without duplicates; those near the border brought to it; of each the sum of the maps,
 * as a probability brought to the image's size, above one half within the box.
 *
 * @throws when the outputs' shapes do not fit together
 */
export function fastSamMasks(outputs: Outputs, settings: Settings): EverythingMasks {
  const { predictions, predictionShape, prototypeShape } = outputs;
  const { side, width, height, confidence } = settings;
  const [rows = 0, count = 0] = predictionShape.slice(1);
  const [channels = 0] = prototypeShape.slice(1);
  if (predictionShape.length !== 3 || prototypeShape.length !== 4 || rows !== 5 + channels) {
    throw new Error(
      `fastSamMasks: expected outputs of [1, ${5 + channels}, N] and [1, ${channels}, h, w], got [${predictionShape.join(', ')}] and [${prototypeShape.join(', ')}]`,
    );
  }
  const value = (row: number, i: number) => predictions[row * count + i]!;
  const confident = Array.from({ length: count }, (_, i) => i)
    .filter((i) => value(4, i) > confidence)
    .sort((a, b) => value(4, b) - value(4, a));
  const kept: { index: number; box: number[] }[] = []; // [x, y, width, height]
  for (const index of confident) {
    if (kept.length === settings.most) break;
    const [w, h] = [value(2, index), value(3, index)];
    const box = [value(0, index) - w / 2, value(1, index) - h / 2, w, h];
    const ious = boxIous(
      box,
      kept.flatMap((other) => other.box),
    );
    if (!ious.some((iou) => iou > settings.overlap)) kept.push({ index, box });
  }
  const gain = side / Math.max(width, height);
  const pad = [(side - width * gain) / 2, (side - height * gain) / 2] as const;
  const masks = kept.map(({ index, box }) => {
    const corners = snapped([box[0]!, box[1]!, box[0]! + box[2]!, box[1]! + box[3]!], side).map((place, i) => {
      const within = (place - pad[i % 2]!) / gain;
      return Math.min(Math.max(0, within), i % 2 === 0 ? width : height);
    });
    return maskOf(outputs, { index, corners, width, height });
  });
  return { width, height, masks, scores: kept.map(({ index }) => value(4, index)) };
}

/** Corners near the border go to it; a box with nearly all of the square is all of it. */
function snapped(corners: readonly number[], side: number): readonly number[] {
  const box = corners.map((place, i) => {
    if (i < 2) return place < nearBorder ? 0 : place;
    return place > side - nearBorder ? side : place;
  });
  const [whole] = boxIous([0, 0, side, side], [box[0]!, box[1]!, box[2]! - box[0]!, box[3]! - box[1]!]);
  return whole! > 0.9 ? [0, 0, side, side] : box;
}

function maskOf(
  { predictions, predictionShape, prototypes, prototypeShape }: Outputs,
  { index, corners, width, height }: { index: number; corners: readonly number[]; width: number; height: number },
): Uint8Array {
  const [, channels, h, w] = prototypeShape as readonly [number, number, number, number];
  const count = predictionShape[2]!;
  const map = new Float32Array(h * w);
  for (let c = 0; c < channels; c++) {
    const factor = predictions[(5 + c) * count + index]!;
    const from = c * h * w;
    for (let at = 0; at < map.length; at++) map[at]! += factor * prototypes[from + at]!;
  }
  for (let at = 0; at < map.length; at++) map[at] = 1 / (1 + Math.exp(-map[at]!));
  // the part of the maps that the image takes
  const gain = Math.min(h / height, w / width);
  const [padX, padY] = [(w - width * gain) / 2, (h - height * gain) / 2];
  const [left, top] = [Math.trunc(padX), Math.trunc(padY)];
  const [columns, rows] = [Math.trunc(w - padX) - left, Math.trunc(h - padY) - top];
  const [x0, y0, x1, y1] = corners as readonly [number, number, number, number];
  const mask = new Uint8Array(width * height);
  for (let y = Math.ceil(y0); y < Math.min(height, y1); y++) {
    const [above, below, down] = place(y, { from: rows, to: height });
    for (let x = Math.ceil(x0); x < Math.min(width, x1); x++) {
      const [before, after, across] = place(x, { from: columns, to: width });
      const row = (line: number) =>
        map[(top + line) * w + left + before]! * (1 - across) + map[(top + line) * w + left + after]! * across;
      if (row(above) * (1 - down) + row(below) * down > 0.5) mask[y * width + x] = 1;
    }
  }
  return mask;
}

/** The two samples that a pixel lies between, and the share of the second. */
function place(at: number, { from, to }: { from: number; to: number }): readonly [number, number, number] {
  const exact = Math.max(0, ((at + 0.5) * from) / to - 0.5);
  const low = Math.min(Math.floor(exact), from - 1);
  return [low, Math.min(low + 1, from - 1), exact - low];
}

/**
 * An answer from masks that are all there already, by FastSAM's rules. A box: the mask of the highest IoU with it. Points: masks from the
 * largest to the smallest add themselves where they have a point of the object, and take themselves away where they have one outside of
 * it. Several masks for a point: the three most confident that have it. No such mask: an empty one with a score of 0.
 */
export function answerFromMasks({ width, height, masks, scores }: EverythingMasks, prompt: Prompt): Segmented {
  const nothing: Segmented = { masks: [new Uint8Array(width * height)], scores: [0] };
  if (masks.length === 0) return nothing;
  if (prompt.box) {
    const [x, y, w, h] = prompt.box;
    const [x0, y0] = [Math.max(0, Math.round(x)), Math.max(0, Math.round(y))];
    const [x1, y1] = [Math.min(width, Math.round(x + w)), Math.min(height, Math.round(y + h))];
    const ious = masks.map((mask) => {
      let [inside, area] = [0, 0];
      for (let row = 0, at = 0; row < height; row++) {
        for (let column = 0; column < width; column++, at++) {
          if (!mask[at]) continue;
          area++;
          if (row >= y0 && row < y1 && column >= x0 && column < x1) inside++;
        }
      }
      return inside / ((y1 - y0) * (x1 - x0) + area - inside);
    });
    const best = ious.indexOf(Math.max(...ious));
    return { masks: [masks[best]!], scores: [scores[best]!] };
  }
  const { points = [], labels = [] } = prompt;
  const has = (mask: Uint8Array, [x, y]: readonly [number, number]) =>
    mask[Math.trunc(y) * width + Math.trunc(x)] === 1;
  const holding = masks.flatMap((mask, i) =>
    points.some((point, k) => labels[k] === 1 && has(mask, point)) ? [i] : [],
  );
  if (holding.length === 0) return nothing;
  if (prompt.multimask) {
    const best = holding.slice(0, 3);
    return { masks: best.map((i) => masks[i]!), scores: best.map((i) => scores[i]!) };
  }
  const areas = masks.map((mask) => mask.reduce((sum, inside) => sum + inside, 0));
  const united = new Uint8Array(width * height);
  for (const i of [...masks.keys()].sort((a, b) => areas[b]! - areas[a]!)) {
    points.forEach((point, k) => {
      if (!has(masks[i]!, point)) return;
      masks[i]!.forEach((inside, at) => {
        if (inside) united[at] = labels[k]!;
      });
    });
  }
  return { masks: [united], scores: [scores[holding[0]!]!] };
}
