import type { Random } from './random.ts';

type Point = readonly [x: number, y: number];

/** What can be asked about one object of a view, in pixels of the view. */
export interface ObjectPrompts {
  /** Points inside: first those of the object's middle, then as many that may lie anywhere in it. */
  readonly inside: readonly Point[];
  /** Points outside, near the object. */
  readonly outside: readonly Point[];
  /** x0, y0, x1, y1 */
  readonly box: readonly [number, number, number, number];
}

/** Draws prompts for a mask [side * side] that is not empty; `count` points of each kind. */
export function promptsOf(
  random: Random,
  mask: Uint8Array,
  { side, count }: { side: number; count: number },
): ObjectPrompts {
  const [x0, y0, x1, y1] = boxOf(mask, side)!;
  const box = [x0, y0, x1, y1] as const;
  const depths = depthsOf(mask, { side, box });
  const deepest = depths.reduce((most, depth) => Math.max(most, depth), 0);
  const width = x1 - x0 + 1;
  const height = y1 - y0 + 1;
  /** A random place of the box that is deep enough: after 200 misses the next one by row. */
  const within = (least: number): Point => {
    let at = random.integer(0, depths.length - 1);
    for (let tries = 0; tries < 200 && depths[at]! < least; tries++) at = random.integer(0, depths.length - 1);
    while (depths[at]! < least) at = (at + 1) % depths.length;
    return [x0 + (at % width), y0 + Math.floor(at / width)];
  };
  const middle = Array.from({ length: count >> 1 }, () => within(0.7 * deepest));
  const anywhere = Array.from({ length: count - (count >> 1) }, () => within(1));
  const margin = 4 + 0.5 * Math.max(width, height);
  const outside: Point[] = [];
  for (let tries = 0; tries < 400 && outside.length < count; tries++) {
    const at = (low: number, high: number) =>
      Math.min(side - 1, Math.max(0, Math.floor(random.number(low - margin, high + margin))));
    const [x, y] = [at(x0, x1), at(y0, y1)];
    if (!mask[y * side + x]) outside.push([x, y]);
  }
  return { inside: [...middle, ...anywhere], outside, box };
}

/** First and last columns and rows inside, or undefined when nothing is. */
export function boxOf(mask: Uint8Array, width: number): [number, number, number, number] | undefined {
  let [x0, y0, x1, y1] = [width, mask.length, -1, -1];
  for (let i = 0; i < mask.length; i++) {
    if (!mask[i]) continue;
    const x = i % width;
    const y = (i - x) / width;
    if (x < x0) x0 = x;
    if (x > x1) x1 = x;
    if (y < y0) y0 = y;
    y1 = y;
  }
  return x1 < 0 ? undefined : [x0, y0, x1, y1];
}

/** City-block distances to the outside within the box [its rows * its columns]: 0 outside, 1 at the edge. */
function depthsOf(
  mask: Uint8Array,
  { side, box: [x0, y0, x1, y1] }: { side: number; box: readonly [number, number, number, number] },
): Float32Array {
  const [w, h] = [x1 - x0 + 1, y1 - y0 + 1];
  const depths = new Float32Array(w * h);
  for (let y = 0; y < h; y++)
    for (let x = 0; x < w; x++) {
      if (!mask[(y0 + y) * side + x0 + x]) continue;
      const at = y * w + x;
      depths[at] = 1 + Math.min(x > 0 ? depths[at - 1]! : 0, y > 0 ? depths[at - w]! : 0);
    }
  for (let y = h - 1; y >= 0; y--)
    for (let x = w - 1; x >= 0; x--) {
      const at = y * w + x;
      const next = 1 + Math.min(x < w - 1 ? depths[at + 1]! : 0, y < h - 1 ? depths[at + w]! : 0);
      depths[at] = Math.min(depths[at]!, next);
    }
  return depths;
}
