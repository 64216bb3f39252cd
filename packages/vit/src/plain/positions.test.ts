import * as tf from '@tensorflow/tfjs-core';
import { expect, it } from 'vitest';
import { resizeBicubic } from '../../test/plain-reference.ts';
import { withWebgpu } from '../../test/support.ts';
import { type Grid, resizePositions } from './positions.ts';

withWebgpu();

const sizes: [Grid, Grid][] = [
  [
    [4, 4],
    [8, 8],
  ],
  [
    [3, 5],
    [7, 2],
  ],
  [
    [1, 2],
    [3, 1],
  ],
  [
    [37, 37],
    [16, 16],
  ],
  [
    [14, 14],
    [13, 29],
  ],
];
it.each(sizes.flatMap(([from, to]) => [false, true].map((antialias) => ({ from, to, antialias }))))(
  'resizes $from to $to, antialias $antialias, as the float64 sums do',
  async ({ from, to, antialias }) => {
    const C = 2;
    const values = Array.from({ length: from[0] * from[1] * C }, (_, i) => Math.fround(Math.sin(i * i)));
    const positions = tf.tensor3d([7, 8, ...values], [1, 1 + from[0] * from[1], C]);
    const [first, second, ...resized] = await resizePositions(positions, { from, to, antialias }).data();
    expect([first, second]).toEqual([7, 8]); // the class token's
    const wanted = resizeBicubic(values, { from, to, channels: C, antialias });
    expect(resized).toHaveLength(wanted.length);
    resized.forEach((value, i) => {
      expect(value).toBeCloseTo(wanted[i]!, 5);
    });
  },
);

it("gives ONNX's example of a cubic resize with a = -0.75 (Resize, upsample_scales_cubic)", async () => {
  const grid = tf.tensor3d(
    Array.from({ length: 16 }, (_, i) => i + 1),
    [1, 16, 1],
  );
  const resized = await resizePositions(grid, { from: [4, 4], to: [8, 8], antialias: false }).data();
  [0.47265625, 0.76953125, 1.24609375, 1.875, 2.28125, 2.91015625, 3.38671875, 3.68359375].forEach((value, i) => {
    expect(resized[i]).toBeCloseTo(value, 5);
  });
});
