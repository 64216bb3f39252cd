import type { Field, NoiseSource } from './noise.ts';
import { drawPattern } from './patterns.ts';
import type { Draw } from './random.ts';

/** R, G, B in [0, 255]. */
export type Rgb = readonly [number, number, number];

/** Writes the colour at a pixel to out[at], out[at + 1], out[at + 2]. */
export interface Texture {
  readonly paint: (x: number, y: number, out: Float32Array, at: number) => void;
  /** About its mean colour. */
  readonly mean: Rgb;
}

/** What a texture is for: how far apart its colours are, and how strong they may be. */
export interface TextureKind {
  readonly contrast: readonly [number, number];
  readonly saturation: number;
}

/** Draws a texture: a pattern between two or three related colours, with grain. */
export function drawTexture(draw: Draw, noise: NoiseSource, size: number, kind: TextureKind): Texture {
  const first = drawColour(draw, kind.saturation);
  const relative = () => mixed(first, drawColour(draw, kind.saturation), draw.number(...kind.contrast));
  const last = relative();
  const middle = draw.chance(0.4) ? relative() : mixed(first, last, 0.5);
  const pattern = drawPattern(draw, noise, size);
  const grain = noise(draw, size * draw.scale(0.02, 0.15));
  const strength = draw.number(0.05, 0.35);
  return {
    mean: mixed(mixed(first, last, 0.5), middle, 0.5),
    paint: (x, y, out, at) => {
      const t = 2 * pattern(x, y);
      const light = 1 + strength * (grain(x, y) - 0.5);
      const [from, to, share] = t < 1 ? [first, middle, t] : [middle, last, t - 1];
      out[at] = light * (from[0] + (to[0] - from[0]) * share);
      out[at + 1] = light * (from[1] + (to[1] - from[1]) * share);
      out[at + 2] = light * (from[2] + (to[2] - from[2]) * share);
    },
  };
}

/** One texture where the field is positive, another where it is not: a label on a box, a floor below a wall. */
export function splitTexture(inside: Texture, outside: Texture, field: Field): Texture {
  return {
    mean: outside.mean,
    paint: (x, y, out, at) => (field(x, y) > 0 ? inside : outside).paint(x, y, out, at),
  };
}

/** Draws a colour by hue, saturation and value; dull colours are commoner than strong ones. */
function drawColour(draw: Draw, saturationLimit: number): Rgb {
  const hue = draw.number(0, 6);
  const saturation = saturationLimit * draw.number(0, 1) ** 1.4;
  const value = draw.number(0.18, 1) ** 0.8;
  const channel = (n: number) => {
    const k = (n + hue) % 6;
    return 255 * (value - value * saturation * Math.max(0, Math.min(k, 4 - k, 1)));
  };
  return [channel(5), channel(3), channel(1)];
}

function mixed(a: Rgb, b: Rgb, share: number): Rgb {
  return [a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share, a[2] + (b[2] - a[2]) * share];
}

/** Distance of two colours, [0, 441]. */
export function colourDistance(a: Rgb, b: Rgb): number {
  return Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]);
}
