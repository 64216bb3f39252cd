import * as tf from '@tensorflow/tfjs-core';
import { describe, expect, test } from 'vitest';
import { expectSame, openedBackend, spread } from '../../../test/both-backends.ts';
import { expectNear } from '../../../test/ops-testing.ts';

openedBackend();

const complex = (shape: number[], seed = 1) => tf.complex(spread(shape, { seed }), spread(shape, { seed: seed + 7 }));

describe('complex', () => {
  test('parts, sums and products with broadcasting', async () => {
    await expectSame(() => {
      const [a, b] = [complex([2, 3, 5]), complex([3, 1], 3)];
      return [tf.real(a), tf.imag(a), tf.add(a, b), tf.sub(b, a), tf.mul(a, b)];
    });
  });

  test('size, also where squares underflow or overflow', async () => {
    await expectSame(() => tf.abs(complex([4, 7])));
    await tf.setBackend('slimsam-webgpu');
    const sizes = tf.tidy(() => tf.abs(tf.complex([3e-30, 0, 3e30, 0], [4e-30, 0, 4e30, -2])));
    const ratios = Array.from(await sizes.data(), (size, i) => size / [5e-30, 1, 5e30, 2][i]!);
    [1, 0, 1, 1].forEach((ratio, i) => {
      expect(ratios[i]).toBeCloseTo(ratio, 6);
    });
    sizes.dispose();
  });

  test('movement', async () => {
    // tfjs-backend-cpu moves some parts only by themselves
    const both = (x: tf.Tensor, move: (part: tf.Tensor) => tf.Tensor) =>
      tf.getBackend() === 'cpu' ? tf.complex(move(tf.real(x)), move(tf.imag(x))) : move(x);
    await expectSame(() => {
      const x = complex([2, 3, 4]);
      return [
        tf.transpose(x, [2, 0, 1]),
        both(x, (part) => tf.slice(part, [0, 1, 1], [2, 1, 3])),
        tf.concat([x, complex([2, 1, 4], 5)], 1),
        tf.reshape(complex([2, 3, 4], 9), [6, 4]), // of its own: tfjs-backend-cpu changes its parts
        both(x, (part) => tf.reverse(part, 1)),
        both(x, (part) => tf.unstack(part, 1)[2]!),
        tf.onesLike(x),
        tf.zerosLike(x),
        tf.cast(x, 'float32'),
        tf.cast(spread([3]), 'complex64'),
      ];
    });
  });

  test('Fourier transforms of lengths 1 to 1000', async () => {
    // against float64, each to 2e-6 of the largest: tfjs-backend-cpu's own is 1e-4 off at 1000
    for (const N of [1, 2, 3, 7, 64, 96, 121, 509, 1000]) {
      const [real, imag] = [1, 2].map((seed) => tf.tidy(() => spread([2, N], { seed }).dataSync())) as [
        Float32Array,
        Float32Array,
      ];
      for (const sign of [-1, 1]) {
        const expected = [new Float64Array(2 * N), new Float64Array(2 * N)] as const;
        for (let i = 0; i < 2 * N; i++)
          for (let n = 0; n < N; n++) {
            const angle = (sign * 2 * Math.PI * ((n * (i % N)) % N)) / N;
            const at = i - (i % N) + n;
            const scale = sign > 0 ? 1 / N : 1;
            expected[0][i]! += scale * (real[at]! * Math.cos(angle) - imag[at]! * Math.sin(angle));
            expected[1][i]! += scale * (real[at]! * Math.sin(angle) + imag[at]! * Math.cos(angle));
          }
        const made = tf.tidy(() => {
          const x = tf.complex(tf.tensor(real, [2, N]), tf.tensor(imag, [2, N]));
          const turned = sign < 0 ? tf.fft(x) : tf.ifft(x);
          return [tf.real(turned), tf.imag(turned)];
        });
        for (const [k, part] of made.entries()) expectNear(`N = ${N}`, await part.data(), expected[k]!, 2e-6);
        tf.dispose(made);
      }
    }
    await expectSame(() => [tf.rfft(spread([3, 10])), tf.irfft(complex([3, 6]))]);
  });
});
