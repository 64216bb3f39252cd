import { cellHash, type Field, type NoiseSource } from './noise.ts';
import type { Draw } from './random.ts';

/** Draws a pattern for a picture whose longer side is `size` pixels. */
type PatternFamily = (draw: Draw, noise: NoiseSource, size: number) => Field;

const wave = (t: number) => 0.5 + 0.5 * Math.cos(2 * Math.PI * t);
const fraction = (t: number) => t - Math.floor(t);
const between = (t: number) => Math.min(1, Math.max(0, t));

/** Coordinates turned by a drawn angle and divided by `unit`. */
function turned(draw: Draw, unit: number): { along: Field; across: Field } {
  const angle = draw.number(0, 2 * Math.PI);
  const [c, s] = [Math.cos(angle) / unit, Math.sin(angle) / unit];
  return { along: (x, y) => c * x + s * y, across: (x, y) => c * y - s * x };
}

const clouds: PatternFamily = (draw, noise, size) => noise(draw, size * draw.scale(0.08, 0.4));

const speckles: PatternFamily = (draw, noise, size) => {
  const field = noise(draw, size * draw.scale(0.05, 0.2));
  const [threshold, steepness] = [draw.number(0.45, 0.6), draw.number(8, 20)];
  return (x, y) => between(0.5 + steepness * (field(x, y) - threshold));
};

const gradient: PatternFamily = (draw, _noise, size) => {
  const { along } = turned(draw, size * draw.number(0.4, 1.1));
  const middle = along(size * draw.number(0.3, 0.7), size * draw.number(0.3, 0.7));
  return (x, y) => between(0.5 + along(x, y) - middle);
};

const glow: PatternFamily = (draw, _noise, size) => {
  const [cx, cy, reach] = [draw.number(0, size), draw.number(0, size), size * draw.number(0.3, 0.9)];
  return (x, y) => between(Math.hypot(x - cx, y - cy) / reach);
};

const stripes: PatternFamily = (draw, noise, size) => {
  const { along } = turned(draw, size * draw.scale(0.03, 0.12));
  const warp = noise(draw, size * 0.4);
  const [bend, steepness] = [draw.chance(0.5) ? draw.number(0.3, 1.5) : 0, draw.number(0.8, 5)];
  return (x, y) => between(0.5 + steepness * (wave(along(x, y) + bend * warp(x, y)) - 0.5));
};

const unevenStripes: PatternFamily = (draw, _noise, size) => {
  const { along } = turned(draw, size * draw.scale(0.025, 0.08));
  const salt = draw.whole(0, 0x7fffffff);
  return (x, y) => cellHash(Math.floor(along(x, y)), 0, salt);
};

const marble: PatternFamily = (draw, noise, size) => {
  const { along } = turned(draw, size * draw.scale(0.1, 0.3));
  const warp = noise(draw, size * draw.scale(0.2, 0.4));
  const bend = draw.number(2, 4);
  return (x, y) => 1 - Math.abs(2 * wave((along(x, y) + bend * warp(x, y)) / 2) - 1) ** 0.6;
};

const wood: PatternFamily = (draw, noise, size) => {
  const { along, across } = turned(draw, size * draw.scale(0.03, 0.08));
  const warp = noise(draw, size * 0.5);
  const [farX, farY] = [draw.number(-8, 8), draw.number(4, 20)];
  return (x, y) => fraction(Math.hypot(0.15 * along(x, y) - farX, across(x, y) - farY) + 3 * warp(x, y));
};

const checks: PatternFamily = (draw, _noise, size) => {
  const { along, across } = turned(draw, size * draw.scale(0.03, 0.09));
  return (x, y) => (Math.floor(along(x, y)) + Math.floor(across(x, y))) & 1;
};

const tartan: PatternFamily = (draw, _noise, size) => {
  const { along, across } = turned(draw, size * draw.scale(0.05, 0.14));
  const width = draw.number(0.25, 0.6);
  return (x, y) => ((fraction(along(x, y)) < width ? 1 : 0) + (fraction(across(x, y)) < width ? 1 : 0)) / 2;
};

const dots: PatternFamily = (draw, _noise, size) => {
  const { along, across } = turned(draw, size * draw.scale(0.035, 0.1));
  const radius = draw.number(0.2, 0.42);
  const staggered = draw.chance(0.5) ? 0.5 : 0;
  return (x, y) => {
    const v = across(x, y);
    const row = Math.floor(v);
    const u = fraction(along(x, y) + (row & 1) * staggered) - 0.5;
    return between(0.5 + 6 * (radius - Math.hypot(u, v - row - 0.5)));
  };
};

const bricks: PatternFamily = (draw, _noise, size) => {
  const { along, across } = turned(draw, size * draw.scale(0.04, 0.1));
  const salt = draw.whole(0, 0x7fffffff);
  const joint = draw.number(0.06, 0.14);
  return (x, y) => {
    const v = across(x, y);
    const row = Math.floor(v);
    const u = along(x, y) / 2 + (row & 1) / 2;
    const column = Math.floor(u);
    if (v - row < joint || u - column < joint / 2) return 0;
    return 0.45 + 0.55 * cellHash(column, row, salt);
  };
};

const pebbles: PatternFamily = (draw, _noise, size) => {
  const { along, across } = turned(draw, size * draw.scale(0.04, 0.12));
  const salt = draw.whole(0, 0x7fffffff);
  return (x, y) => {
    const u = along(x, y);
    const v = across(x, y);
    const i = Math.floor(u);
    const j = Math.floor(v);
    let nearest = 9;
    let second = 9;
    let shade = 0;
    for (let k = 0; k < 9; k++) {
      const ci = i + (k % 3) - 1;
      const cj = j + Math.floor(k / 3) - 1;
      const key = cellHash(ci, cj, salt);
      const du = ci + key - u;
      const dv = cj + fraction(key * 4096) - v;
      const distance = du * du + dv * dv;
      if (distance < nearest) [second, nearest, shade] = [nearest, distance, fraction(key * 64)];
      else if (distance < second) second = distance;
    }
    return between((Math.sqrt(second) - Math.sqrt(nearest)) * 4) * (0.35 + 0.65 * shade);
  };
};

const families: readonly PatternFamily[] = [
  clouds,
  speckles,
  gradient,
  glow,
  stripes,
  unevenStripes,
  marble,
  wood,
  checks,
  tartan,
  dots,
  bricks,
  pebbles,
];

/** Draws a pattern of any family. */
export function drawPattern(draw: Draw, noise: NoiseSource, size: number): Field {
  return draw.of(families)(draw, noise, size);
}
