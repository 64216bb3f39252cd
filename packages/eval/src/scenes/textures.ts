import type { Draw } from './random.ts';

export type Rgb = readonly [number, number, number];

/** A pattern: how much of the second colour there is at a pixel, in [0, 1]. */
type Pattern = (x: number, y: number) => number;

/** Colour of a pixel, [0, 255]. */
export type Texture = (x: number, y: number) => Rgb;

/** Smooth noise in [0, 1] with features of about `scale` pixels, summed over octaves. */
export function smoothNoise(draw: Draw, scale: number, octaves = 3): Pattern {
  const side = 16; // the lattice repeats every 16 cells
  const lattice = Array.from({ length: octaves }, () =>
    Float32Array.from({ length: side * side }, () => draw.number(0, 1)),
  );
  const mask = side - 1;
  const whole = 1 / (1 - 0.5 ** octaves);
  return (x, y) => {
    let total = 0;
    let share = 0.5 * whole;
    let rate = 1 / scale;
    for (let octave = 0; octave < octaves; octave++) {
      const values = lattice[octave]!;
      const u = x * rate;
      const v = y * rate;
      const i = Math.floor(u);
      const j = Math.floor(v);
      const a = ease(u - i);
      const b = ease(v - j);
      const row = (j & mask) * side;
      const nextRow = ((j + 1) & mask) * side;
      const column = i & mask;
      const nextColumn = (i + 1) & mask;
      const top = values[row + column]! * (1 - a) + values[row + nextColumn]! * a;
      const bottom = values[nextRow + column]! * (1 - a) + values[nextRow + nextColumn]! * a;
      total += share * (top * (1 - b) + bottom * b);
      share /= 2;
      rate *= 2;
    }
    return total;
  };
}

const ease = (t: number): number => t * t * (3 - 2 * t);

const patterns: readonly ((draw: Draw, size: number) => Pattern)[] = [
  (draw, size) => smoothNoise(draw, size * draw.number(0.05, 0.2)),
  (draw, size) => {
    const [angle, period, phase] = [draw.number(0, Math.PI), size * draw.number(0.03, 0.1), draw.number(0, 7)];
    const [c, s] = [(Math.cos(angle) * 2 * Math.PI) / period, (Math.sin(angle) * 2 * Math.PI) / period];
    return (x, y) => 0.5 + 0.5 * Math.sin(c * x + s * y + phase);
  },
  (draw, size) => {
    const [angle, cell] = [draw.number(0, Math.PI), size * draw.number(0.03, 0.08)];
    const [c, s] = [Math.cos(angle) / cell, Math.sin(angle) / cell];
    return (x, y) => (Math.floor(c * x + s * y) + Math.floor(-s * x + c * y)) & 1;
  },
  (draw, size) => {
    const [cell, radius] = [size * draw.number(0.03, 0.08), draw.number(0.22, 0.42)];
    return (x, y) => {
      const [u, v] = [x / cell - Math.floor(x / cell) - 0.5, y / cell - Math.floor(y / cell) - 0.5];
      return u * u + v * v < radius * radius ? 1 : 0;
    };
  },
  (draw, size) => {
    const [angle, length] = [draw.number(0, 2 * Math.PI), size * draw.number(0.3, 1)];
    const [c, s] = [Math.cos(angle) / length, Math.sin(angle) / length];
    return (x, y) => Math.min(1, Math.max(0, 0.5 + c * (x - size / 2) + s * (y - size / 2)));
  },
];

/** Draws a colour by hue, saturation and value. */
export function drawColour(draw: Draw): Rgb {
  const [hue, saturation, value] = [draw.number(0, 6), draw.number(0.1, 0.95), draw.number(0.25, 1)];
  const channel = (n: number) => {
    const k = (n + hue) % 6;
    return 255 * (value - value * saturation * Math.max(0, Math.min(k, 4 - k, 1)));
  };
  return [channel(5), channel(3), channel(1)];
}

/** Draws a texture of two related colours in one of the patterns, with fine grain. */
export function drawTexture(draw: Draw, size: number, options: { contrast: number }): { texture: Texture; mean: Rgb } {
  const first = drawColour(draw);
  const other = drawColour(draw);
  const share = draw.number(0.1, options.contrast);
  const second = first.map((value, c) => value + (other[c]! - value) * share) as unknown as Rgb;
  const pattern = draw.of(patterns)(draw, size);
  const grain = smoothNoise(draw, size * 0.02, 2);
  return {
    texture: (x, y) => {
      const t = pattern(x, y);
      const light = 0.9 + 0.2 * grain(x, y);
      return [
        light * (first[0] + (second[0] - first[0]) * t),
        light * (first[1] + (second[1] - first[1]) * t),
        light * (first[2] + (second[2] - first[2]) * t),
      ];
    },
    mean: first.map((value, c) => (value + second[c]!) / 2) as unknown as Rgb,
  };
}

/** Distance of two colours, [0, 441]. */
export function colourDistance(a: Rgb, b: Rgb): number {
  return Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]);
}
