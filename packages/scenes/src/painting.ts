import type { Body, Size } from './placing.ts';
import type { Draw } from './random.ts';
import type { Texture } from './textures.ts';

/** Where the light of a scene comes from: a direction in the picture, of length 1. */
export type Light = readonly [number, number];

const clamp01 = (t: number) => Math.min(1, Math.max(0, t));

/** Paints the whole picture. */
export function paintBackground(pixels: Float32Array, texture: Texture, { width, height }: Size): void {
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at += 3) texture.paint(x, y, pixels, at);
  }
}

/** How an object takes the light. */
interface Finish {
  /** Width of the rounded border, pixels; as wide as the object for a ball. */
  readonly bevel: number;
  /** Of the shading, in [0, 1]. */
  readonly relief: number;
  /** Of the highlight, [0, 255]. */
  readonly gloss: number;
  /** Width, pixels, and shade of a line along the border. */
  readonly line: { readonly width: number; readonly shade: number };
  /** Offset and softness, pixels, and darkness in [0, 1] of the shadow. */
  readonly shadow: { readonly dx: number; readonly dy: number; readonly softness: number; readonly darkness: number };
}

function drawFinish(draw: Draw, body: Body, { light, size }: { light: Light; size: number }): Finish {
  const deepest = body.levels.reduce((most, level) => Math.max(most, level), 1);
  const drop = size * draw.number(0.004, 0.03);
  return {
    bevel: Math.max(2, draw.chance(0.5) ? deepest : deepest * draw.number(0.1, 0.4)),
    relief: draw.chance(0.2) ? 0 : draw.number(0.1, 0.55),
    gloss: draw.chance(0.3) ? draw.number(20, 110) : 0,
    line: { width: draw.chance(0.2) ? size * draw.number(0.005, 0.012) : 0, shade: draw.number(0.3, 0.75) },
    shadow: {
      dx: -light[0] * drop,
      dy: -light[1] * drop,
      softness: size * draw.number(0.004, 0.025),
      darkness: draw.chance(0.6) ? draw.number(0.15, 0.5) : 0,
    },
  };
}

/** Paints an object over what is there: its shadow, its texture in the light, with a smooth border. */
export function paintBody(
  draw: Draw,
  body: Body,
  canvas: { readonly pixels: Float32Array; readonly light: Light; readonly texture: Texture } & Size,
): void {
  const { pixels, light, texture } = canvas;
  const finish = drawFinish(draw, body, { light, size: Math.max(canvas.width, canvas.height) });
  const { levels, width, height } = body;
  const colour = new Float32Array(3);
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at++) {
      const cover = clamp01(levels[at]! + 0.5);
      const out = ((body.y0 + y) * canvas.width + body.x0 + x) * 3;
      if (cover < 1 && finish.shadow.darkness > 0) {
        const kept = 1 - finish.shadow.darkness * shade(body, finish.shadow, x, y);
        for (let k = 0; k < 3; k++) pixels[out + k]! *= kept;
      }
      if (cover === 0) continue;
      texture.paint(body.x0 + x, body.y0 + y, colour, 0);
      const { factor, highlight } = lit(body, finish, light, at);
      for (let k = 0; k < 3; k++) {
        const value = colour[k]! * factor + highlight;
        pixels[out + k] = pixels[out + k]! * (1 - cover) + value * cover;
      }
    }
  }
}

/** How much of the light the object takes from a pixel beside it, [0, 1]. */
function shade(body: Body, shadow: Finish['shadow'], x: number, y: number): number {
  const u = Math.round(x - shadow.dx);
  const v = Math.round(y - shadow.dy);
  if (u < 0 || v < 0 || u >= body.width || v >= body.height) return 0;
  return clamp01(0.5 + body.levels[v * body.width + u]! / (2 * shadow.softness));
}

/** Shading of a pixel as if the object were rounded towards its border. */
function lit(body: Body, finish: Finish, light: Light, at: number): { factor: number; highlight: number } {
  const { levels, width } = body;
  const level = levels[at]!;
  const x = at % width;
  const right = x < width - 1 ? levels[at + 1]! : level;
  const left = x > 0 ? levels[at - 1]! : level;
  const below = levels[at + width] ?? level;
  const above = levels[at - width] ?? level;
  const [gx, gy] = [right - left, below - above];
  const steep = Math.sqrt(gx * gx + gy * gy) + 1e-6;
  const depth = clamp01(level / finish.bevel);
  const slope = 1 - depth;
  const facing = (-(gx * light[0] + gy * light[1]) / steep) * slope; // 1 where the border faces the light
  const line = level < finish.line.width ? finish.line.shade : 1;
  const bright = clamp01(1 - ((facing - 0.5) ** 2 + (depth - 0.6) ** 2) * 6);
  return { factor: (1 + finish.relief * facing) * line, highlight: finish.gloss * bright * bright };
}
