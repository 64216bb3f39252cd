import type { MaskSize } from '../masks/rle.ts';

/** A mask's edge: where it is, and how strong. */
export interface MaskEdge {
  readonly places: Int32Array;
  readonly strengths: Float32Array;
}

/**
 * The edge of one mask: the Sobel filter's magnitude of its probabilities (the logits' sigmoids; the image is continued by its outermost
 * pixels), on the outer border of the mask alone, that is on pixels outside that have a neighbour inside to the left, right, above or
 * below (SAM, appendix D.2).
 *
 * @param logits [height * width], above 0 inside
 */
export function maskEdge(logits: Float32Array, [height, width]: MaskSize): MaskEdge {
  const places: number[] = [];
  const strengths: number[] = [];
  const probability = (x: number, y: number) => {
    const column = Math.min(width - 1, Math.max(0, x));
    const row = Math.min(height - 1, Math.max(0, y));
    return 1 / (1 + Math.exp(-logits[row * width + column]!));
  };
  for (let y = 0, here = 0; y < height; y++) {
    for (let x = 0; x < width; x++, here++) {
      if (logits[here]! > 0) continue;
      const beside = (x > 0 && logits[here - 1]! > 0) || (x < width - 1 && logits[here + 1]! > 0);
      const above = (y > 0 && logits[here - width]! > 0) || (y < height - 1 && logits[here + width]! > 0);
      if (!beside && !above) continue;
      const at = (dx: number, dy: number) => probability(x + dx, y + dy);
      const right = at(1, -1) + 2 * at(1, 0) + at(1, 1) - at(-1, -1) - 2 * at(-1, 0) - at(-1, 1);
      const down = at(-1, 1) + 2 * at(0, 1) + at(1, 1) - at(-1, -1) - 2 * at(0, -1) - at(1, -1);
      places.push(here);
      strengths.push(Math.hypot(right, down));
    }
  }
  return { places: Int32Array.from(places), strengths: Float32Array.from(strengths) };
}

/** The largest strength at each pixel, brought linearly to [0, 1]. [height * width] */
export function edgeMap(edges: readonly MaskEdge[], [height, width]: MaskSize): Float32Array {
  const map = new Float32Array(height * width);
  let most = 0;
  for (const { places, strengths } of edges) {
    places.forEach((at, i) => {
      map[at] = Math.max(map[at]!, strengths[i]!);
      most = Math.max(most, map[at]!);
    });
  }
  return most > 0 ? map.map((value) => value / most) : map;
}

/**
 * Leaves the pixels that are no weaker (by more than 1 %) than their neighbours across the edge, and fades the 5 outermost ones: edgesNms
 * of Dollár's toolbox. The orientation is that of the second derivatives of the map under a triangle filter of radius 4.
 */
export function suppressEdges(edges: Float32Array, [height, width]: MaskSize): Float32Array {
  const smooth = triangle(edges, { height, width, radius: 4 });
  const [gx, gy] = gradients(smooth, { height, width });
  const [gxx] = gradients(gx, { height, width });
  const [gxy, gyy] = gradients(gy, { height, width });
  const clamp = (value: number, most: number) => Math.min(Math.max(0, value), most);
  const between = (x: number, y: number) => {
    const [cx, cy] = [clamp(x, width - 1.001), clamp(y, height - 1.001)];
    const [left, top] = [Math.floor(cx), Math.floor(cy)];
    const [fx, fy] = [cx - left, cy - top];
    const [right, below] = [Math.min(width - 1, left + 1), Math.min(height - 1, top + 1)];
    const row = (y0: number) => edges[y0 * width + left]! * (1 - fx) + edges[y0 * width + right]! * fx;
    return row(top) * (1 - fy) + row(below) * fy;
  };
  const kept = new Float32Array(edges.length);
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at++) {
      const edge = edges[at]!;
      if (edge === 0) continue;
      const sign = gxy[at]! > 0 ? -1 : 1; // there 0 for exactly horizontal edges, which compares along them
      const angle = Math.atan((gyy[at]! * sign) / (gxx[at]! + 1e-5));
      const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
      if (edge * 1.01 < between(x + cos, y + sin) || edge * 1.01 < between(x - cos, y - sin)) continue;
      const border = Math.min(x, y, width - 1 - x, height - 1 - y);
      kept[at] = border < 5 ? edge * faded(x, y, { height, width }) : edge;
    }
  }
  return kept;
}

function faded(x: number, y: number, { height, width }: { height: number; width: number }): number {
  const share = (distance: number) => Math.min(1, distance / 5);
  return share(x) * share(width - 1 - x) * share(y) * share(height - 1 - y);
}

type Shape = { readonly height: number; readonly width: number };

/** Rows, then columns, under weights 1 to radius + 1 and back; the image is mirrored at its borders. */
function triangle(values: Float32Array, { height, width, radius }: Shape & { radius: number }): Float32Array {
  const weights = Array.from(
    { length: 2 * radius + 1 },
    (_, i) => (radius + 1 - Math.abs(i - radius)) / (radius + 1) ** 2,
  );
  const mirrored = (at: number, length: number): number => {
    const period = 2 * length;
    const place = ((at % period) + period) % period;
    return place < length ? place : period - 1 - place;
  };
  const filtered = (from: Float32Array, along: 'x' | 'y') => {
    const length = along === 'x' ? width : height;
    const places = Array.from({ length: length + 2 * radius }, (_, i) => mirrored(i - radius, length));
    const result = new Float32Array(from.length);
    for (let y = 0, at = 0; y < height; y++) {
      for (let x = 0; x < width; x++, at++) {
        let sum = 0;
        for (let k = 0; k <= 2 * radius; k++) {
          const place = along === 'x' ? y * width + places[x + k]! : places[y + k]! * width + x;
          sum += weights[k]! * from[place]!;
        }
        result[at] = sum;
      }
    }
    return result;
  };
  return filtered(filtered(values, 'x'), 'y');
}

/** Central differences, one-sided at the borders. */
function gradients(values: Float32Array, { height, width }: Shape): readonly [Float32Array, Float32Array] {
  const [gx, gy] = [new Float32Array(values.length), new Float32Array(values.length)];
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at++) {
      const [left, right] = [Math.max(0, x - 1), Math.min(width - 1, x + 1)];
      const [above, below] = [Math.max(0, y - 1), Math.min(height - 1, y + 1)];
      gx[at] = (values[y * width + right]! - values[y * width + left]!) / Math.max(1, right - left);
      gy[at] = (values[below * width + x]! - values[above * width + x]!) / Math.max(1, below - above);
    }
  }
  return [gx, gy];
}
