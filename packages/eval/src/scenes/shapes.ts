import type { Draw } from './random.ts';

/** Whether a place in the shape's own square, u and v in [-1, 1], is inside. */
export type Shape = (u: number, v: number) => boolean;

const tau = 2 * Math.PI;

/** The families of outlines. Each draws a member. */
const families: Readonly<Record<string, (draw: Draw) => Shape>> = {
  ellipse: () => (u, v) => u * u + v * v < 1,

  roundedRectangle: (draw) => {
    const power = draw.number(2.5, 14);
    return (u, v) => Math.abs(u) ** power + Math.abs(v) ** power < 1;
  },

  polygon: (draw) => {
    const corners = draw.whole(3, 7);
    const inradius = Math.cos(Math.PI / corners);
    return (u, v) => {
      const angle = (((Math.atan2(v, u) / tau + 1) * corners) % 1) - 0.5;
      return Math.hypot(u, v) * Math.cos((angle * tau) / corners) < inradius;
    };
  },

  star: (draw) => {
    const points = draw.whole(4, 8);
    const inner = draw.number(0.45, 0.7);
    return (u, v) => {
      const along = Math.abs((((Math.atan2(v, u) / tau + 1) * points) % 1) * 2 - 1); // 1 at a point, 0 between two
      return Math.hypot(u, v) < inner + (1 - inner) * along ** 1.5;
    };
  },

  ring: (draw) => {
    const hole = draw.number(0.4, 0.65);
    return (u, v) => {
      const radius = Math.hypot(u, v);
      return radius < 1 && radius > hole;
    };
  },

  crescent: (draw) => {
    const shift = draw.number(0.45, 0.8);
    const size = draw.number(0.75, 0.95);
    return (u, v) => u * u + v * v < 1 && Math.hypot(u - shift, v) > size;
  },

  blob: (draw) => {
    const waves = Array.from({ length: 4 }, (_, i) => ({
      height: draw.number(0, 0.22) / (1 + 0.4 * i),
      phase: draw.number(0, tau),
      turns: i + 2,
    }));
    const most = 1 + waves.reduce((sum, wave) => sum + wave.height, 0);
    return (u, v) => {
      const angle = Math.atan2(v, u);
      const radius = waves.reduce((sum, wave) => sum + wave.height * Math.sin(wave.turns * angle + wave.phase), 1);
      return Math.hypot(u, v) * most < radius;
    };
  },

  stroke: (draw) => {
    const bend = draw.number(-0.9, 0.9);
    const wave = draw.number(0.5, 1.4);
    const thickness = draw.number(0.16, 0.3);
    return (u, v) => Math.abs(u) < 1 && Math.abs(v - bend * 0.6 * Math.sin(wave * Math.PI * u)) < thickness;
  },

  letter: (draw) => {
    const bar = draw.number(0.28, 0.42);
    const kind = draw.of(['L', 'T', 'plus', 'U', 'H'] as const);
    const upright = (u: number, centre: number) => Math.abs(u - centre) < bar;
    return (u, v) => {
      if (Math.abs(u) > 1 || Math.abs(v) > 1) return false;
      if (kind === 'L') return upright(u, -1 + bar) || upright(v, 1 - bar);
      if (kind === 'T') return upright(u, 0) || upright(v, -1 + bar);
      if (kind === 'plus') return upright(u, 0) || upright(v, 0);
      if (kind === 'U') return upright(u, -1 + bar) || upright(u, 1 - bar) || upright(v, 1 - bar);
      return upright(u, -1 + bar) || upright(u, 1 - bar) || upright(v, 0);
    };
  },
};

/** Draws an outline of any family. */
export function drawShape(draw: Draw): Shape {
  return families[draw.of(Object.keys(families))]!(draw);
}
