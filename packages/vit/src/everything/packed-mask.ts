import type { Box } from './boxes.ts';

/** A mask small enough to keep thousands of: run lengths row by row, alternately outside and inside. */
export interface PackedMask {
  /** The part of the image that the runs tell about; outside of it the mask is empty. */
  readonly frame: Box;
  readonly runs: Uint32Array;
}

/** @param bits [height * width] of 0 and 1, the pixels of the frame */
export function packMask(bits: Uint8Array, frame: Box): PackedMask {
  const runs: number[] = [];
  for (let at = 0, value = 0; at < bits.length; value = 1 - value) {
    const next = bits.indexOf(1 - value, at);
    const end = next < 0 ? bits.length : next;
    runs.push(end - at);
    at = end;
  }
  return { frame, runs: Uint32Array.from(runs) };
}

/** Pixels inside. */
export function packedArea({ runs }: PackedMask): number {
  return runs.reduce((sum, run, index) => (index % 2 === 1 ? sum + run : sum), 0);
}

/** [height * width] of 0 and 1 in the size of the image. */
export function unpackMask(
  { frame: [x0, y0, x1], runs }: PackedMask,
  { width, height }: { width: number; height: number },
): Uint8Array {
  const mask = new Uint8Array(width * height);
  const frameWidth = x1 - x0;
  let at = 0;
  runs.forEach((run, index) => {
    const end = at + run;
    if (index % 2 === 0) at = end;
    while (at < end) {
      // as far as the run goes on this row of the frame
      const [x, y] = [at % frameWidth, Math.floor(at / frameWidth)];
      const length = Math.min(end - at, frameWidth - x);
      const from = (y0 + y) * width + x0 + x;
      mask.fill(1, from, from + length);
      at += length;
    }
  });
  return mask;
}
