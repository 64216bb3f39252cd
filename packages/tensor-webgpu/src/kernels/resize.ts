import * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../backend.ts';
import type { Kernel } from './index.ts';

const threads = 64;

/** Where output pixel `i` lies in the input, along one side: WGSL in terms of the scale `s`. */
const place = (halfPixelCenters: boolean): string => (halfPixelCenters ? '(f32(i) + 0.5) * s - 0.5' : 'f32(i) * s');

function scale(from: number, to: number, alignCorners: boolean): number {
  return alignCorners && to > 1 ? (from - 1) / (to - 1) : from / to;
}

function sizes(
  units: number,
  x: readonly number[],
  y: readonly number[],
  attrs: tf.ResizeBilinearAttrs,
): { uniforms: Uint32Array<ArrayBuffer>; workgroups: [number, number, number] } {
  const groups = Math.ceil(units / threads);
  const gridX = Math.min(groups, 32768);
  const words = new Uint32Array([units, gridX * threads, x[1]!, x[2]!, x[3]!, y[1]!, y[2]!, 0, 0, 0, 0, 0]);
  new Float32Array(words.buffer).set(
    [scale(x[1]!, y[1]!, attrs.alignCorners), scale(x[2]!, y[2]!, attrs.alignCorners)],
    8,
  );
  return { uniforms: words, workgroups: [gridX, Math.ceil(groups / gridX) || 0, 1] };
}

const head = (
  input: string,
  half: boolean,
) => `struct Sizes { units: u32, row: u32, h: u32, w: u32, c: u32, H: u32, W: u32, u0: u32, sh: f32, sw: f32, u1: u32, u2: u32 };
@group(0) @binding(0) var<storage, read> ${input}: array<f32>;
@group(0) @binding(1) var<storage, read_write> out: array<f32>;
@group(0) @binding(2) var<uniform> p: Sizes;
fn at(i: u32, s: f32, size: u32) -> f32 { return clamp(${place(half)}, 0.0, f32(size - 1u)); }
@compute @workgroup_size(${threads})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let i = id.x + id.y * p.row;
  if (i >= p.units) { return; }
  let c = i % p.c;`;

/** Bilinear resize of [B, h, w, C] to [B, H, W, C]. */
function resizeBilinear(backend: WebgpuBackend, x: tf.TensorInfo, attrs: tf.ResizeBilinearAttrs): tf.TensorInfo {
  const shape = [x.shape[0]!, attrs.size[0], attrs.size[1], x.shape[3]!];
  const wgsl = `${head('x', attrs.halfPixelCenters)}
  let X = (i / p.c) % p.W; let Y = (i / (p.c * p.W)) % p.H; let b = i / (p.c * p.W * p.H);
  let fy = at(Y, p.sh, p.h); let fx = at(X, p.sw, p.w);
  let y0 = u32(fy); let x0 = u32(fx); let y1 = min(y0 + 1u, p.h - 1u); let x1 = min(x0 + 1u, p.w - 1u);
  let top = b * p.h;
  let v00 = x[((top + y0) * p.w + x0) * p.c + c]; let v01 = x[((top + y0) * p.w + x1) * p.c + c];
  let v10 = x[((top + y1) * p.w + x0) * p.c + c]; let v11 = x[((top + y1) * p.w + x1) * p.c + c];
  out[i] = mix(mix(v00, v01, fract(fx)), mix(v10, v11, fract(fx)), fract(fy));
}`;
  return backend.run(
    { label: 'ResizeBilinear', wgsl, ...sizes(tf.util.sizeFromShape(shape), x.shape, shape, attrs) },
    [x],
    [{ shape, dtype: 'float32' }],
  )[0]!;
}

/** Its gradient: every input pixel sums over the output pixels that read it. */
function resizeBilinearGrad(
  backend: WebgpuBackend,
  images: tf.TensorInfo,
  dy: tf.TensorInfo,
  attrs: tf.ResizeBilinearAttrs,
): tf.TensorInfo {
  const wgsl = `${head('dy', attrs.halfPixelCenters)}
  let x = (i / p.c) % p.w; let y = (i / (p.c * p.w)) % p.h; let b = i / (p.c * p.w * p.h);
  // output pixels within one input pixel of this one, with a margin for rounding; all of them at the borders
  let lowY = select(u32(max(0.0, (f32(y) - 1.5) / p.sh - 1.0)), 0u, y == 0u); let endY = select(min(u32((f32(y) + 1.5) / p.sh + 2.0), p.H), p.H, y == p.h - 1u);
  let lowX = select(u32(max(0.0, (f32(x) - 1.5) / p.sw - 1.0)), 0u, x == 0u); let endX = select(min(u32((f32(x) + 1.5) / p.sw + 2.0), p.W), p.W, x == p.w - 1u);
  var total = 0.0;
  for (var Y = lowY; Y < endY; Y++) {
    let wy = max(0.0, 1.0 - abs(at(Y, p.sh, p.h) - f32(y)));
    if (wy == 0.0) { continue; }
    for (var X = lowX; X < endX; X++) {
      let wx = max(0.0, 1.0 - abs(at(X, p.sw, p.w) - f32(x)));
      total += wy * wx * dy[((b * p.H + Y) * p.W + X) * p.c + c];
    }
  }
  out[i] = total;
}`;
  return backend.run(
    { label: 'ResizeBilinearGrad', wgsl, ...sizes(tf.util.sizeFromShape(images.shape), images.shape, dy.shape, attrs) },
    [dy],
    [{ shape: images.shape, dtype: 'float32' }],
  )[0]!;
}

export const resizeKernels: readonly Kernel[] = [
  {
    kernelName: tf.ResizeBilinear,
    kernelFunc: ({ inputs, attrs, backend }) =>
      resizeBilinear(
        backend as WebgpuBackend,
        inputs.images as tf.TensorInfo,
        attrs as unknown as tf.ResizeBilinearAttrs,
      ),
  },
  {
    kernelName: tf.ResizeBilinearGrad,
    kernelFunc: ({ inputs, attrs, backend }) =>
      resizeBilinearGrad(backend as WebgpuBackend, inputs.images as tf.TensorInfo, inputs.dy as tf.TensorInfo, {
        ...(attrs as unknown as { alignCorners: boolean }),
        halfPixelCenters: false, // TensorFlow.js does not pass it on to the gradient
        size: [0, 0],
      }),
  },
];
