import * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../../backend.ts';
import { linearDispatch, threads } from '../../program/grid.ts';
import { dispatching } from '../../program/program.ts';
import { shader } from '../../program/shader.ts';
import { type Kernel, kernel, type Tensors } from '../kernel.ts';

/**
 * One pass of Stockham's Fourier transform: transforms of length `done` become ones of length `done` x `radix`. Each invocation makes one
 * result, from `radix` values:
 * next[m (done radix) + j] = sum over q of x[(m + q N / (done radix)) done + j mod done] exp(-+2 pi i q j / (done radix)).
 */
const pass = shader({
  label: 'Fourier',
  inputs: { real: 'f32', imag: 'f32' },
  outputs: { nextReal: 'f32', nextImag: 'f32' },
  uniforms: { ...{ units: 'i32', row: 'i32', N: 'i32', done: 'i32', radix: 'i32' }, sign: 'f32', scale: 'f32' },
  body: `// cos and sin of 2 pi part / whole: the nearest quadrant and the rest of it, in integers, then Taylor series to pi / 4
fn turned(part: i32, whole: i32) -> vec2f {
  let quadrant = i32(round(4.0 * f32(part) / f32(whole)));
  let r = f32(4 * part - quadrant * whole) * (1.57079632679 / f32(whole));
  let z = r * r;
  let s = r + r * z * (-1.0 / 6.0 + z * (1.0 / 120.0 + z * (-1.0 / 5040.0 + z / 362880.0)));
  let c = 1.0 + z * (-0.5 + z * (1.0 / 24.0 + z * (-1.0 / 720.0 + z / 40320.0)));
  let first = select(vec2f(c, s), vec2f(-s, c), (quadrant & 1) != 0);
  return select(first, -first, (quadrant & 2) != 0);
}
@compute @workgroup_size(${threads})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = i32(id.x) + i32(id.y) * p.row;
  if (i >= p.units) { return; }
  let at = i % p.N;
  let length = p.done * p.radix;
  let j = at % length;
  let first = i - at + (at / length) * p.done + j % p.done;
  let stride = p.N / p.radix;
  var turn = 0;
  var total = vec2f();
  for (var q = 0; q < p.radix; q++) {
    let place = first + q * stride;
    let x = vec2f(real[place], imag[place]);
    let w = turned(turn, length) * vec2f(1.0, p.sign);
    total += vec2f(x.x * w.x - x.y * w.y, x.x * w.y + x.y * w.x);
    turn += j;
    if (turn >= length) { turn -= length; }
  }
  nextReal[i] = total.x * p.scale;
  nextImag[i] = total.y * p.scale;
}`,
});

/** The factors of N, from small ones, 8 before 4 before 2; what is left when none divides it is one factor. */
function radices(N: number): number[] {
  const found: number[] = [];
  let rest = N;
  for (const radix of [8, 4, 2, 3, 5, 7])
    while (rest % radix === 0) {
      found.push(radix);
      rest /= radix;
    }
  for (let radix = 11; radix * radix <= rest; radix += 2)
    while (rest % radix === 0) {
      found.push(radix);
      rest /= radix;
    }
  if (rest > 1 || found.length === 0) found.push(rest);
  return found;
}

/**
 * The discrete Fourier transform over the last axis of [..., N]: out[k] = sum of x[n] exp(-+2 pi i n k / N), divided by N on the way back. A
 * pass for each factor of N and a term for each of its units: O(N log N) where the factors are small, N^2 where N is a prime number.
 */
function fourier(backend: WebgpuBackend, x: tf.TensorInfo, inverse: boolean): tf.TensorInfo {
  const parts = backend.complexParts(x);
  const { shape } = x;
  const N = shape.at(-1)!;
  const units = tf.util.sizeFromShape(shape);
  const { workgroups, row } = linearDispatch(units);
  const output = { shape, dtype: 'float32' as const };
  let [real, imag] = [parts.real, parts.imag];
  let done = 1;
  for (const radix of N === 0 ? [1] : radices(N)) {
    const last = done * radix === N;
    const uniforms = { units, row, N, done, radix, sign: inverse ? 1 : -1, scale: inverse && last ? 1 / N : 1 };
    const next = backend.run(
      dispatching(pass, { workgroups, uniforms, flops: 8 * units * radix }),
      [real, imag],
      [output, output],
    );
    if (done > 1) for (const { dataId } of [real, imag]) backend.disposeData(dataId);
    [real, imag] = next as [tf.TensorInfo, tf.TensorInfo];
    done *= radix;
  }
  return backend.makeComplex({ real, imag });
}

export const fourierKernels: readonly Kernel[] = [
  kernel<Tensors<'input'>>(tf.FFT, (backend, { input }) => fourier(backend, input, false)),
  kernel<Tensors<'input'>>(tf.IFFT, (backend, { input }) => fourier(backend, input, true)),
];
