import { letters, type Point } from './letters.ts';
import type { Draw } from './random.ts';

/** An outline within `shapeReach` of (0, 0): about the distance from (u, v) to it, positive inside. */
export type Shape = (u: number, v: number) => number;

/** No shape goes farther from its middle. */
export const shapeReach = 1.25;

const tau = 2 * Math.PI;

const disc = (u: number, v: number, radius: number) => radius - Math.sqrt(u * u + v * v);

/** The larger of two levels, with their meeting rounded over `reach`. */
function smoothMax(a: number, b: number, reach: number): number {
  const h = Math.max(0, reach - Math.abs(a - b)) / reach;
  return Math.max(a, b) + (h * h * reach) / 4;
}

/** A thick line through the points. */
function thickLine(points: readonly Point[], thickness: number): Shape {
  const flat = Float64Array.from(points.flat());
  return (u, v) => {
    let nearest = Infinity;
    for (let i = 2; i < flat.length; i += 2) {
      const ax = flat[i - 2]!;
      const ay = flat[i - 1]!;
      const dx = flat[i]! - ax;
      const dy = flat[i + 1]! - ay;
      const along = ((u - ax) * dx + (v - ay) * dy) / (dx * dx + dy * dy);
      const share = Math.min(1, Math.max(0, along));
      const ex = u - ax - share * dx;
      const ey = v - ay - share * dy;
      nearest = Math.min(nearest, ex * ex + ey * ey);
    }
    return thickness - Math.sqrt(nearest);
  };
}

const union =
  (shapes: readonly Shape[]): Shape =>
  (u, v) => {
    let level = -Infinity;
    for (const shape of shapes) level = Math.max(level, shape(u, v));
    return level;
  };

/** An outline whose radius is a function of the angle, tabulated. */
function polar(radius: (angle: number) => number): Shape {
  const steps = 256;
  const table = Float32Array.from({ length: steps + 1 }, (_, i) => radius((i / steps) * tau));
  const most = Math.max(...table);
  return (u, v) => {
    const turn = (Math.atan2(v, u) / tau + 1) * steps;
    const i = Math.floor(turn) % steps;
    const here = table[i]! + (table[i + 1]! - table[i]!) * (turn - Math.floor(turn));
    return here / most - Math.sqrt(u * u + v * v);
  };
}

/** The families of outlines. Each draws a member. */
const families: readonly ((draw: Draw) => Shape)[] = [
  function ellipse() {
    return (u, v) => disc(u, v, 1);
  },
  function roundedRectangle(draw) {
    const [half, radius] = [draw.number(0.35, 0.8), draw.scale(0.03, 0.35)];
    return (u, v) => {
      const x = Math.abs(u) - 0.8 + radius;
      const y = Math.abs(v) - half + radius;
      return x > 0 && y > 0 ? radius - Math.sqrt(x * x + y * y) : radius - Math.max(x, y);
    };
  },
  function polygon(draw) {
    const corners = draw.whole(3, 7);
    const start = draw.number(0, tau);
    // normals of the sides, somewhat uneven
    const sides = Array.from({ length: corners }, (_, i) => {
      const angle = start + ((i + draw.number(-0.18, 0.18)) / corners) * tau;
      return [Math.cos(angle), Math.sin(angle), draw.number(0.5, 0.75)] as const;
    });
    return (u, v) => {
      let level = disc(u, v, 1);
      for (const side of sides) level = Math.min(level, side[2] - side[0] * u - side[1] * v);
      return level;
    };
  },
  function star(draw) {
    const [points, inner] = [draw.whole(4, 9), draw.number(0.4, 0.75)];
    return polar((angle) => inner + (1 - inner) * Math.abs((((angle / tau) * points * 2) % 2) - 1) ** 1.3);
  },
  function flower(draw) {
    const [petals, depth] = [draw.whole(3, 8), draw.number(0.12, 0.4)];
    return polar((angle) => 1 - depth + depth * Math.abs(Math.cos((petals * angle) / 2)) ** 0.7);
  },
  function gear(draw) {
    const [teeth, depth] = [draw.whole(7, 13), draw.number(0.12, 0.22)];
    const hole = draw.chance(0.6) ? draw.number(0.2, 0.4) : -1;
    const rim = polar((angle) => 1 - depth * Math.min(1, Math.max(0, 0.5 + 2.5 * Math.sin(teeth * angle))));
    return (u, v) => Math.min(rim(u, v), Math.sqrt(u * u + v * v) - hole);
  },
  function ring(draw) {
    const hole = draw.number(0.35, 0.7);
    return (u, v) => Math.min(disc(u, v, 1), -disc(u, v, hole));
  },
  function crescent(draw) {
    const [shift, size] = [draw.number(0.45, 0.85), draw.number(0.75, 0.95)];
    return (u, v) => Math.min(disc(u, v, 1), -disc(u - shift, v, size));
  },
  function leaf(draw) {
    const shift = draw.number(0.25, 0.6);
    const radius = Math.sqrt(1 + shift * shift);
    return (u, v) => Math.min(disc(u, v - shift, radius), disc(u, v + shift, radius));
  },
  function slice(draw) {
    const angle = draw.number(0.35, 1.35);
    const [c, s] = [Math.cos(angle), Math.sin(angle)];
    return (u, v) => Math.min(disc(u + 0.4, v, 1.3), s * (u + 0.9) - c * Math.abs(v));
  },
  function blob(draw) {
    const waves = Array.from({ length: 5 }, (_, i) => ({
      height: draw.number(0, 0.32) / (1 + 0.5 * i),
      phase: draw.number(0, tau),
      turns: i + 2,
    }));
    return polar((angle) => waves.reduce((sum, w) => sum + w.height * Math.sin(w.turns * angle + w.phase), 1.1));
  },
  function gourd(draw) {
    const [belly, head, gap] = [draw.number(0.5, 0.62), draw.number(0.25, 0.45), draw.number(0.1, 0.5)];
    return (u, v) => smoothMax(disc(u + 1 - belly, v, belly), disc(u - 1 + head, v, head), gap);
  },
  function stroke(draw) {
    const end = () => draw.number(-0.65, 0.65);
    const [p, q, r, s] = [
      [-0.75, end()],
      [end(), end() * 1.8],
      [end(), end() * 1.8],
      [0.75, end()],
    ] as Point[];
    const points = Array.from({ length: 15 }, (_, i): Point => {
      const t = i / 14;
      const [a, b, c, d] = [(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t ** 3];
      return [a * p![0] + b * q![0] + c * r![0] + d * s![0], a * p![1] + b * q![1] + c * r![1] + d * s![1]];
    });
    return thickLine(points, draw.number(0.14, 0.24));
  },
  function letter(draw) {
    const thickness = draw.number(0.13, 0.2);
    const scaled = ([x, y]: Point): Point => [0.75 * x, 0.75 * y];
    return union(draw.of(letters).map((points) => thickLine(points.map(scaled), thickness)));
  },
  function cross(draw) {
    const [bar, across] = [draw.number(0.2, 0.4), draw.number(-0.4, 0.4)];
    return (u, v) =>
      Math.max(Math.min(1 - Math.abs(u), bar - Math.abs(v)), Math.min(1 - Math.abs(v), bar - Math.abs(u - across)));
  },
];

/** Draws an outline of any family. */
export function drawShape(draw: Draw): Shape {
  return draw.of(families)(draw);
}
