import { checkFields } from '@slimsam/weights';
import { develop } from './developing.ts';
import { interiorPoint } from './interior-point.ts';
import { type Field, type NoiseSource, noiseSource } from './noise.ts';
import { type Light, paintBackground, paintBody } from './painting.ts';
import { type Body, placeBodies, type Size } from './placing.ts';
import { type Draw, drawFrom } from './random.ts';
import { colourDistance, drawTexture, type Rgb, splitTexture, type Texture } from './textures.ts';

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
  /** The pixel farthest from the mask's border: [x, y] */
  readonly point: [number, number];
}

export interface Scene {
  readonly image: RgbImage;
  readonly annotations: readonly SceneAnnotation[];
}

export interface SceneOptions {
  readonly width: number;
  readonly height: number;
  /** Least and most objects; 3 to 8 unless given. Fewer where the picture is full. */
  readonly objects?: readonly [number, number];
}

const backgroundKind = { contrast: [0.15, 0.7], saturation: 0.8 } as const;
const objectKind = { contrast: [0.15, 0.6], saturation: 1 } as const;

/**
 * A scene of overlapping textured objects on a textured background: a pure function of the seed and the options. Every object is
 * annotated; at least 35 % of it and 0.6 % of the picture is seen.
 *
 * @throws when the sizes are not whole numbers of at least 32, or the numbers of objects are not whole numbers in [1, 250]
 */
export function generateScene(seed: number, options: SceneOptions): Scene {
  checkFields('generateScene', { seed, options }, { seed: 'number', options: 'object' });
  const { width, height, objects = [3, 8] } = options;
  if (!Number.isInteger(width) || !Number.isInteger(height) || Math.min(width, height) < 32) {
    throw new Error(`generateScene: expected a width and height of at least 32 pixels, got ${width} x ${height}`);
  }
  const [least, most] = objects;
  if (!Number.isInteger(least) || !Number.isInteger(most) || least < 1 || most < least || most > 250) {
    throw new Error(`generateScene: expected objects: [least, most] within [1, 250], got [${least}, ${most}]`);
  }
  const draw = drawFrom(seed);
  const noise = noiseSource(draw);
  const size = Math.max(width, height);
  const { bodies, labels } = placeBodies(draw, draw.whole(least, most), { width, height });
  const pixels = new Float32Array(width * height * 3);
  const angle = draw.number(0, 2 * Math.PI);
  const light: Light = [Math.cos(angle), Math.sin(angle)];
  const background = drawBackground(draw, noise, size);
  paintBackground(pixels, background, { width, height });
  const colours = [background.mean];
  for (const body of bodies) {
    const texture = distinctTexture(draw, noise, { size, colours });
    colours.push(texture.mean);
    paintBody(draw, body, { pixels, light, texture: decorated(draw, noise, { size, body, texture }), width, height });
  }
  return {
    image: { width, height, data: develop(draw, pixels, { width, height }) },
    annotations: bodies.map((_, index) => annotate(labels, index + 1, { width, height })),
  };
}

/** One texture, or two that meet in a wavy line. */
function drawBackground(draw: Draw, noise: NoiseSource, size: number): Texture {
  const one = drawTexture(draw, noise, size, backgroundKind);
  if (draw.chance(0.65)) return one;
  const other = drawTexture(draw, noise, size, backgroundKind);
  const waviness = draw.chance(0.5) ? 0 : size * draw.number(0.02, 0.2);
  const wave = noise(draw, size * 0.5);
  const [tilt, level] = [draw.number(-0.3, 0.3), size * draw.number(0.25, 0.75)];
  return splitTexture(one, other, (x, y) => y - level - tilt * (x - size / 2) - waviness * wave(x, 0));
}

/** A texture whose mean colour differs from those before it, as far as a few draws allow. */
function distinctTexture(
  draw: Draw,
  noise: NoiseSource,
  { size, colours }: { size: number; colours: readonly Rgb[] },
): Texture {
  const nearest = ({ mean }: Texture) => Math.min(...colours.map((other) => colourDistance(mean, other)));
  let best = drawTexture(draw, noise, size, objectKind);
  for (let tries = 0; tries < 6 && nearest(best) < 55; tries++) {
    const next = drawTexture(draw, noise, size, objectKind);
    if (nearest(next) > nearest(best)) best = next;
  }
  return best;
}

/** Sometimes a band or one half of the object has another texture. */
function decorated(
  draw: Draw,
  noise: NoiseSource,
  { size, body, texture }: { size: number; body: Body; texture: Texture },
): Texture {
  if (draw.chance(0.8)) return texture;
  const { centre, radius } = body;
  const angle = draw.number(0, 2 * Math.PI);
  const [c, s] = [Math.cos(angle) / radius, Math.sin(angle) / radius];
  const [shift, width] = [draw.number(-0.3, 0.3), draw.number(0.1, 0.35)];
  const along: Field = (x, y) => c * (x - centre[0]) + s * (y - centre[1]) - shift;
  const field = draw.of<Field>([along, (x, y) => width - Math.abs(along(x, y))]);
  return splitTexture(drawTexture(draw, noise, size, objectKind), texture, field);
}

function annotate(labels: Uint8Array, label: number, { width, height }: Size): SceneAnnotation {
  const mask = new Uint8Array(labels.length);
  let [area, x0, y0, x1, y1] = [0, width, height, -1, -1];
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at++) {
      if (labels[at] !== label) continue;
      mask[at] = 1;
      area++;
      x0 = Math.min(x0, x);
      x1 = Math.max(x1, x);
      y0 = Math.min(y0, y);
      y1 = y;
    }
  }
  return { mask, bbox: [x0, y0, x1 - x0 + 1, y1 - y0 + 1], area, point: interiorPoint(mask, { width, height }) };
}
