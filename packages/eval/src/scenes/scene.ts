import { interiorPoint } from './interior-point.ts';
import { type Draw, drawFrom } from './random.ts';
import { drawShape, type Shape } from './shapes.ts';
import { colourDistance, drawTexture, type Rgb, type Texture } from './textures.ts';

/** Pixels, row by row. */
export interface RgbImage {
  readonly width: number;
  readonly height: number;
  /** [height * width * 3], R G B */
  readonly data: Uint8Array;
}

/** One object of a scene: what is seen of it. */
export interface SceneAnnotation {
  /** [height * width], 1 where the object is seen */
  readonly mask: Uint8Array;
  /** [x, y, width, height], pixels */
  readonly bbox: [number, number, number, number];
  /** Pixels that are seen. */
  readonly area: number;
  /** A pixel well inside: [x, y] */
  readonly point: [number, number];
}

export interface Scene {
  readonly image: RgbImage;
  readonly annotations: readonly SceneAnnotation[];
}

export interface SceneOptions {
  readonly width: number;
  readonly height: number;
  /** Least and most objects; 3 to 8 unless given. */
  readonly objects?: readonly [number, number];
}

const leastArea = 0.006; // of the image, else an object is not annotated
const leastSeen = 0.3; // of its own area

/**
 * A scene of overlapping textured objects on a textured background: a pure function of the seed and the options.
 *
 * @throws when the sizes are not whole numbers of at least 32
 */
export function generateScene(seed: number, options: SceneOptions): Scene {
  const { width, height, objects = [3, 8] } = options;
  if (!Number.isInteger(width) || !Number.isInteger(height) || Math.min(width, height) < 32) {
    throw new Error(`generateScene: expected a width and height of at least 32 pixels, got ${width} x ${height}`);
  }
  const draw = drawFrom(seed);
  const size = Math.max(width, height);
  const pixels = new Float32Array(width * height * 3);
  const labels = new Uint8Array(width * height);
  const background = drawTexture(draw, size, { contrast: 0.7 });
  paint(pixels, background.texture, { width, height });
  const colours = [background.mean];
  const areas: number[] = [];
  const count = draw.whole(...objects);
  for (let label = 1; label <= count; label++) {
    const coat = distinctTexture(draw, size, colours);
    colours.push(coat.mean);
    areas.push(place(draw, { pixels, labels, width, height }, { label, texture: coat.texture }));
  }
  return {
    image: { width, height, data: develop(draw, pixels, { width, height }) },
    annotations: annotate(labels, areas, { width, height }),
  };
}

/** A texture whose mean colour differs from those before it, as far as a few draws allow. */
function distinctTexture(draw: Draw, size: number, others: readonly Rgb[]): { texture: Texture; mean: Rgb } {
  let best = drawTexture(draw, size, { contrast: 0.45 });
  for (let tries = 0; tries < 6; tries++) {
    const nearest = (mean: Rgb) => Math.min(...others.map((other) => colourDistance(mean, other)));
    if (nearest(best.mean) > 70) break;
    const next = drawTexture(draw, size, { contrast: 0.45 });
    if (nearest(next.mean) > nearest(best.mean)) best = next;
  }
  return best;
}

interface Canvas {
  readonly pixels: Float32Array;
  readonly labels: Uint8Array;
  readonly width: number;
  readonly height: number;
}

function paint(pixels: Float32Array, texture: Texture, { width, height }: { width: number; height: number }): void {
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at += 3) pixels.set(texture(x, y), at);
  }
}

/** Draws one object with its shadow and shading over what is there; returns its own area in pixels. */
function place(draw: Draw, canvas: Canvas, { label, texture }: { label: number; texture: Texture }): number {
  const { pixels, labels, width, height } = canvas;
  const shape = drawShape(draw);
  const radius = Math.sqrt((width * height * draw.number(0.025, 0.2)) / Math.PI) * draw.number(0.9, 1.2);
  const stretch = draw.number(0.6, 1);
  const [cx, cy, angle] = [
    draw.number(0.08, 0.92) * width,
    draw.number(0.08, 0.92) * height,
    draw.number(0, 2 * Math.PI),
  ];
  const [c, s] = [Math.cos(angle) / radius, Math.sin(angle) / radius];
  const inside = (x: number, y: number) =>
    (shape satisfies Shape)(c * (x - cx) + s * (y - cy), (-s * (x - cx) + c * (y - cy)) / stretch);
  const shadow =
    draw.number(0, 1) < 0.5
      ? { dx: draw.number(1, 5), dy: draw.number(1, 5), dark: draw.number(0.55, 0.85) }
      : undefined;
  const [lightX, lightY] = [draw.number(-0.18, 0.18) / radius, draw.number(-0.18, 0.18) / radius];
  const reach = Math.ceil(radius * 1.5) + 6;
  const [x0, x1] = [Math.max(0, Math.floor(cx - reach)), Math.min(width - 1, Math.ceil(cx + reach))];
  const [y0, y1] = [Math.max(0, Math.floor(cy - reach)), Math.min(height - 1, Math.ceil(cy + reach))];
  let area = 0;
  for (let y = y0; y <= y1; y++) {
    for (let x = x0; x <= x1; x++) {
      const at = y * width + x;
      if (inside(x, y)) {
        const light = 1 + lightX * (x - cx) + lightY * (y - cy);
        const [r, g, b] = texture(x, y);
        pixels[at * 3] = r * light;
        pixels[at * 3 + 1] = g * light;
        pixels[at * 3 + 2] = b * light;
        labels[at] = label;
        area++;
      } else if (shadow && inside(x - shadow.dx, y - shadow.dy)) {
        for (let k = 0; k < 3; k++) pixels[at * 3 + k]! *= shadow.dark;
      }
    }
  }
  return area;
}

/** A slight blur, as a lens has, and sensor noise: to bytes. */
function develop(draw: Draw, pixels: Float32Array, { width, height }: { width: number; height: number }): Uint8Array {
  const out = new Uint8Array(pixels.length);
  const noise = draw.number(0, 6);
  let state = draw.whole(1, 0x7fffffff); // a linear congruential generator: fast, and good enough for grain
  for (let y = 0; y < height; y++) {
    const up = (y > 0 ? y - 1 : y) * width;
    const down = (y < height - 1 ? y + 1 : y) * width;
    for (let x = 0; x < width; x++) {
      const left = x > 0 ? x - 1 : x;
      const right = x < width - 1 ? x + 1 : x;
      state = (Math.imul(state, 1664525) + 1013904223) | 0;
      const grain = ((state >>> 8) / 0x1000000 - 0.5) * 2 * noise;
      for (let k = 0; k < 3; k++) {
        const row = y * width;
        const around =
          pixels[(row + left) * 3 + k]! +
          pixels[(row + right) * 3 + k]! +
          pixels[(up + x) * 3 + k]! +
          pixels[(down + x) * 3 + k]!;
        const value = 0.5 * pixels[(row + x) * 3 + k]! + 0.125 * around + grain;
        out[(row + x) * 3 + k] = Math.min(255, Math.max(0, Math.round(value)));
      }
    }
  }
  return out;
}

function annotate(
  labels: Uint8Array,
  areas: readonly number[],
  { width, height }: { width: number; height: number },
): SceneAnnotation[] {
  const found: SceneAnnotation[] = [];
  areas.forEach((ownArea, index) => {
    const mask = labels.map((label) => (label === index + 1 ? 1 : 0));
    let [area, x0, y0, x1, y1] = [0, width, height, -1, -1];
    for (let y = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        if (!mask[y * width + x]) continue;
        area++;
        x0 = Math.min(x0, x);
        x1 = Math.max(x1, x);
        y0 = Math.min(y0, y);
        y1 = Math.max(y1, y);
      }
    }
    if (area < leastArea * width * height || area < leastSeen * ownArea) return;
    found.push({ mask, bbox: [x0, y0, x1 - x0 + 1, y1 - y0 + 1], area, point: interiorPoint(mask, { width, height }) });
  });
  return found;
}
