import type { Size } from './placing.ts';
import type { Draw } from './random.ts';

/** What a camera does: uneven light, a colour cast, a slight blur, sensor noise. Returns bytes, R G B. */
export function develop(draw: Draw, pixels: Float32Array, { width, height }: Size): Uint8Array {
  const out = new Uint8Array(pixels.length);
  const blur = draw.number(0, 0.7);
  const [centre, side] = [1 - blur / 2, blur / 8];
  const noise = draw.number(0, 14);
  const cast = [draw.number(0.92, 1.08), draw.number(0.94, 1.06), draw.number(0.92, 1.08)];
  const [tiltX, tiltY, vignette] = [draw.number(-0.15, 0.15), draw.number(-0.15, 0.15), draw.number(0, 0.25)];
  let state = draw.whole(1, 0x7fffffff); // a linear congruential generator: fast, and good enough for grain
  for (let y = 0; y < height; y++) {
    const row = y * width;
    const up = (y > 0 ? y - 1 : y) * width;
    const down = (y < height - 1 ? y + 1 : y) * width;
    const v = y / height - 0.5;
    for (let x = 0; x < width; x++) {
      const left = (row + (x > 0 ? x - 1 : x)) * 3;
      const right = (row + (x < width - 1 ? x + 1 : x)) * 3;
      const here = (row + x) * 3;
      const u = x / width - 0.5;
      const light = 1 + tiltX * u + tiltY * v - vignette * (u * u + v * v);
      for (let k = 0; k < 3; k++) {
        const around = pixels[left + k]! + pixels[right + k]! + pixels[(up + x) * 3 + k]! + pixels[(down + x) * 3 + k]!;
        state = (Math.imul(state, 1664525) + 1013904223) | 0;
        const grain = ((state >>> 16) + (state & 0xffff)) / 0x10000 - 1; // triangular, [-1, 1)
        const value = (centre * pixels[here + k]! + side * around) * light * cast[k]! + noise * grain;
        out[here + k] = value < 0 ? 0 : value > 255 ? 255 : value + 0.5;
      }
    }
  }
  return out;
}
