import { generateScene } from '@slimsam/scenes';
import type { LabelledObject, LabelledPhotograph } from './labelled-photographs.ts';
import { boxOf, type ObjectPrompts, promptsOf } from './object-prompts.ts';
import type { Random } from './random.ts';

/** Photographs of one folder, and how often one of them is the ground of a view. */
export interface ViewSource {
  readonly photographs: readonly LabelledPhotograph[];
  readonly share: number;
}

/** How views are made. */
export interface ViewOptions {
  /** Side of the square view, pixels. */
  readonly side: number;
  /** Side of the square targets, cells. */
  readonly cells: number;
  /** Objects of a view that are kept, at most. */
  readonly objects: number;
  /** Objects that are cut out and pasted onto a photograph, at most; 0 for none. */
  readonly pasted: number;
  /** How often a view is a synthetic scene. */
  readonly scenes: number;
  readonly pixelMean: readonly [number, number, number];
  readonly pixelStd: readonly [number, number, number];
}

/** One training picture with what can be asked about it. */
export interface View {
  /** [3, side, side], normalised */
  readonly pixels: Float32Array;
  /** [objects, cells, cells]: the share of the cell that the object covers, of 255 */
  readonly targets: Uint8Array;
  readonly prompts: readonly ObjectPrompts[];
}

/** A picture that is being painted: what is beyond the photographs stays empty, as the padding of an encoder's input. */
interface Canvas {
  readonly side: number;
  /** [side * side * 3] in [0, 255] */
  readonly pixels: Float32Array;
  /** [side * side], 1 where there is a picture */
  readonly covered: Uint8Array;
  /** [side * side] each, 1 where the object is seen */
  masks: { readonly mask: Uint8Array; readonly whole: number }[];
  /** x0, y0, x1, y1 of what the photograph covers */
  readonly extent: readonly [number, number, number, number];
}

/** Where a photograph is painted: source = (canvas - shift) / scale, mirrored within its width if flipped. */
interface Placement {
  readonly scale: number;
  readonly shift: readonly [x: number, y: number];
  readonly flipped: boolean;
}

/** Shares of a view's smaller objects that are too small or too hidden to be asked for. */
const leastArea = 0.0012;
const leastSeen = 0.3;

/**
 * One view: a photograph, scaled, cropped and flipped, onto which objects of other photographs are pasted, cut out by their masks; or
 * a synthetic scene. A third of the photographs stand as the predictor shows them, whole in the upper left corner. Pasting makes the
 * prompt count: without it the model finds the salient thing of the photograph, whatever it is asked for.
 *
 * A pure function of the draws.
 *
 * @param photographs at least one with an object, unless `scenes` is 1
 */
export function composeView(random: Random, sources: readonly ViewSource[], options: ViewOptions): View {
  for (let tries = 0; ; tries++) {
    const canvas = random.chance(options.scenes) ? scene(random, options) : photograph(random, sources, options);
    const seen = canvas.masks.flatMap(({ mask, whole }) => {
      const area = mask.reduce((sum, inside) => sum + inside, 0);
      const enough = area >= leastArea * mask.length && area >= leastSeen * whole;
      return enough ? [mask] : [];
    });
    if (seen.length === 0 && tries < 20) continue;
    if (seen.length === 0) throw new Error('composeView: expected an object in one of 20 views, got none');
    const chosen = shuffled(random, seen).slice(0, options.objects);
    const targets = new Uint8Array(chosen.length * options.cells ** 2);
    chosen.forEach((mask, k) => {
      writeShares(targets.subarray(k * options.cells ** 2), mask, options);
    });
    const prompts = chosen.map((mask) => promptsOf(random, mask, { side: options.side, count: 8 }));
    return { pixels: normalised(canvas, options), targets, prompts };
  }
}

function scene(random: Random, { side, objects }: ViewOptions): Canvas {
  const { image, annotations } = generateScene(random.integer(0, 2 ** 31 - 1), {
    width: side,
    height: side,
    objects: [Math.min(3, objects), Math.max(3, objects)],
  });
  return {
    side,
    pixels: Float32Array.from(image.data),
    covered: new Uint8Array(side * side).fill(1),
    masks: annotations.map(({ mask, area }) => ({ mask, whole: area })),
    extent: [0, 0, side, side],
  };
}

function photograph(random: Random, sources: readonly ViewSource[], options: ViewOptions): Canvas {
  const { side } = options;
  const ground = random.pick(sourceOf(random, sources).photographs);
  const at = placement(random, ground, side);
  const within = (value: number) => Math.min(side, Math.max(0, value));
  const [x, y] = at.shift;
  const canvas: Canvas = {
    side,
    pixels: new Float32Array(side * side * 3),
    covered: new Uint8Array(side * side),
    masks: [],
    extent: [within(x), within(y), within(x + ground.width * at.scale), within(y + ground.height * at.scale)],
  };
  const light = lightOf(random);
  paint(canvas, ground, { at, light });
  for (const { mask } of ground.objects) {
    const moved = movedMask(ground, mask, { at, side });
    canvas.masks.push({ mask: moved.mask, whole: moved.whole });
  }
  const count = options.pasted > 0 && random.chance(0.75) ? random.integer(1, options.pasted) : 0;
  for (let i = 0; i < count; i++) paste(random, canvas, sources);
  return canvas;
}

/** A source by its share. */
function sourceOf(random: Random, sources: readonly ViewSource[]): ViewSource {
  const total = sources.reduce((sum, { share }) => sum + share, 0);
  let at = random.number(0, total);
  for (const source of sources) {
    at -= source.share;
    if (at < 0) return source;
  }
  return sources[sources.length - 1]!;
}

function placement(random: Random, { width, height }: LabelledPhotograph, side: number): Placement {
  const fitting = side / Math.max(width, height);
  const flipped = random.chance(0.5);
  if (random.chance(1 / 3)) return { scale: fitting, shift: [0, 0], flipped };
  const scale = fitting * random.ratio(0.75, 2.2);
  const along = (length: number) => {
    const room = side - length * scale; // below 0: the photograph is larger than the view
    return random.number(Math.min(0, room), Math.max(0, room));
  };
  return { scale, shift: [along(width), along(height)], flipped };
}

/** A gain and an offset of each channel. */
type Light = readonly (readonly [gain: number, offset: number])[];

function lightOf(random: Random): Light {
  const [gain, offset] = [random.number(0.8, 1.2), random.number(-16, 16)];
  return [0, 1, 2].map(() => [gain * random.number(0.94, 1.06), offset + random.number(-5, 5)] as const);
}

/** Pastes an object of a random photograph: its longest side is a twentieth to three quarters of the view's. */
function paste(random: Random, canvas: Canvas, sources: readonly ViewSource[]): void {
  const { side } = canvas;
  const from = random.pick(sourceOf(random, sources).photographs);
  if (from.objects.length === 0) return;
  const object = random.pick(from.objects);
  const [x0, y0, x1, y1] = object.box;
  const longest = Math.max(x1 - x0, y1 - y0) + 1;
  const scale = Math.min(2.5, (side * random.ratio(0.05, 0.75)) / longest);
  const flipped = random.chance(0.5);
  const centre = [flipped ? from.width - (x0 + x1 + 1) / 2 : (x0 + x1 + 1) / 2, (y0 + y1 + 1) / 2];
  const [left, top, right, bottom] = canvas.extent;
  const shift = [
    random.number(left, right) - centre[0]! * scale,
    random.number(top, bottom) - centre[1]! * scale,
  ] as const;
  const at = { scale, shift, flipped };
  const alpha = new Float32Array(side * side);
  paint(canvas, from, { at, light: lightOf(random), object, alpha });
  const mask = Uint8Array.from(alpha, (a) => (a >= 0.5 ? 1 : 0));
  for (const { mask: earlier } of canvas.masks) for (let i = 0; i < mask.length; i++) if (mask[i]) earlier[i] = 0;
  canvas.masks.push({ mask, whole: mask.reduce((sum, inside) => sum + inside, 0) });
}

/** Paints a photograph, or one of its objects: bilinear samples, of the mask too, so that its edge is a pixel soft. */
function paint(
  { side, pixels, covered }: Canvas,
  { width, height, pixels: source }: LabelledPhotograph,
  options: { at: Placement; light: Light; object?: LabelledObject; alpha?: Float32Array },
): void {
  const { at, light, object, alpha } = options;
  const { scale, shift, flipped } = at;
  const [x0, y0, x1, y1] = object?.box ?? [0, 0, width - 1, height - 1];
  const [left, right] = flipped ? [width - 1 - x1, width - 1 - x0] : [x0, x1];
  const start = (first: number, axis: 0 | 1) => Math.max(0, Math.floor(first * scale + shift[axis]));
  const end = (last: number, axis: 0 | 1) => Math.min(side, Math.ceil((last + 1) * scale + shift[axis]));
  for (let y = start(y0, 1); y < end(y1, 1); y++) {
    const v = (y + 0.5 - shift[1]) / scale - 0.5;
    if (v < -0.5 || v >= height - 0.5) continue;
    const top = Math.min(height - 1, Math.max(0, Math.floor(v)));
    const bottom = Math.min(height - 1, top + 1);
    const b = Math.min(1, Math.max(0, v - top));
    for (let x = start(left, 0); x < end(right, 0); x++) {
      const across = (x + 0.5 - shift[0]) / scale - 0.5;
      const u = flipped ? width - 1 - across : across;
      if (u < -0.5 || u >= width - 0.5) continue;
      const west = Math.min(width - 1, Math.max(0, Math.floor(u)));
      const east = Math.min(width - 1, west + 1);
      const a = Math.min(1, Math.max(0, u - west));
      const [nw, ne, sw, se] = [top * width + west, top * width + east, bottom * width + west, bottom * width + east];
      let opacity = 1;
      if (object) {
        const { mask } = object;
        opacity = (1 - b) * ((1 - a) * mask[nw]! + a * mask[ne]!) + b * ((1 - a) * mask[sw]! + a * mask[se]!);
        if (opacity === 0) continue;
      }
      const to = y * side + x;
      for (let c = 0; c < 3; c++) {
        const value =
          (1 - b) * ((1 - a) * source[nw * 3 + c]! + a * source[ne * 3 + c]!) +
          b * ((1 - a) * source[sw * 3 + c]! + a * source[se * 3 + c]!);
        const lit = Math.min(255, Math.max(0, value * light[c]![0] + light[c]![1]));
        pixels[to * 3 + c] = pixels[to * 3 + c]! * (1 - opacity) + lit * opacity;
      }
      if (opacity >= 0.5) covered[to] = 1;
      if (alpha) alpha[to] = opacity;
    }
  }
}

/** A mask where its photograph is painted, and how many pixels it would have there if nothing were cut off. */
function movedMask(
  { width, height }: LabelledPhotograph,
  mask: Uint8Array,
  { at: { scale, shift, flipped }, side }: { at: Placement; side: number },
): { mask: Uint8Array; whole: number } {
  const moved = new Uint8Array(side * side);
  for (let y = 0; y < side; y++) {
    const v = Math.floor((y + 0.5 - shift[1]) / scale);
    if (v < 0 || v >= height) continue;
    for (let x = 0; x < side; x++) {
      const u = Math.floor((x + 0.5 - shift[0]) / scale);
      if (u < 0 || u >= width) continue;
      moved[y * side + x] = mask[v * width + (flipped ? width - 1 - u : u)]!;
    }
  }
  return { mask: moved, whole: mask.reduce((sum, inside) => sum + inside, 0) * scale * scale };
}

/** Shares of the cells that a mask covers, by 4 x 4 samples each. */
function writeShares(out: Uint8Array, mask: Uint8Array, { side, cells }: ViewOptions): void {
  const box = boxOf(mask, side)!;
  const cell = side / cells;
  const place = Array.from({ length: cells * 4 }, (_, i) => Math.floor(((i + 0.5) * cell) / 4));
  const [firstRow, lastRow] = [Math.floor(box[1] / cell), Math.min(cells - 1, Math.floor((box[3] + 1) / cell))];
  const [first, last] = [Math.floor(box[0] / cell), Math.min(cells - 1, Math.floor((box[2] + 1) / cell))];
  for (let y = firstRow; y <= lastRow; y++) {
    for (let x = first; x <= last; x++) {
      let sum = 0;
      for (let v = 0; v < 4; v++)
        for (let u = 0; u < 4; u++) sum += mask[place[y * 4 + v]! * side + place[x * 4 + u]!]!;
      out[y * cells + x] = Math.round((sum * 255) / 16);
    }
  }
}

/** [3, side, side]: (x - mean) / deviation, zero beyond the picture, as `preprocess` pads. */
function normalised({ side, pixels, covered }: Canvas, { pixelMean, pixelStd }: ViewOptions): Float32Array {
  const plane = side * side;
  const result = new Float32Array(3 * plane);
  for (let c = 0; c < 3; c++) {
    const [mean, deviation] = [pixelMean[c]!, pixelStd[c]!];
    for (let i = 0; i < plane; i++) if (covered[i]) result[c * plane + i] = (pixels[i * 3 + c]! - mean) / deviation;
  }
  return result;
}

function shuffled<T>(random: Random, list: readonly T[]): T[] {
  const order = [...list];
  for (let i = order.length - 1; i > 0; i--) {
    const j = random.integer(0, i);
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}
