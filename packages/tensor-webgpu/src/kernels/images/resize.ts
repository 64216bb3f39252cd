import * as tf from '@tensorflow/tfjs-core';
import { memoised } from '../../program/memoised.ts';
import { type Kernel, kernel, type Tensors } from '../kernel.ts';
import { resultMap } from '../maps/result-map.ts';

type Method = 'bilinear' | 'nearest';

interface Corners {
  readonly alignCorners: boolean;
  readonly halfPixelCenters: boolean;
}

/** Output pixel i reads at (i mul + add) / div - shift of the input, along one side. */
function side(method: Method, from: number, to: number, { alignCorners, halfPixelCenters }: Corners) {
  const nearest = method === 'nearest';
  if (halfPixelCenters) return { mul: 2 * from, add: from, div: 2 * to, shift: nearest ? 0 : 0.5 };
  if (!alignCorners || to <= 1) return { mul: from, add: 0, div: to, shift: 0 };
  // the nearest pixel is rounded instead of cut
  if (nearest) return { mul: 2 * (from - 1), add: to - 1, div: 2 * (to - 1), shift: 0 };
  return { mul: from - 1, add: 0, div: to - 1, shift: 0 };
}

const uniformTypes = {
  h: 'i32',
  w: 'i32',
  c: 'i32',
  H: 'i32',
  W: 'i32',
  mulY: 'i32',
  addY: 'i32',
  divY: 'i32',
  mulX: 'i32',
  addX: 'i32',
  divX: 'i32',
  shift: 'f32',
} as const;

/** How the sides of x [B, h, w, C] and y [B, H, W, C] lie to one another. */
function places(method: Method, x: readonly number[], y: readonly number[], corners: Corners) {
  const rows = side(method, x[1]!, y[1]!, corners);
  const columns = side(method, x[2]!, y[2]!, corners);
  const wide = x[3]! % 4 === 0;
  const uniforms = {
    ...{ h: x[1]!, w: x[2]!, c: x[3]! / (wide ? 4 : 1), H: y[1]!, W: y[2]! },
    ...{ mulY: rows.mul, addY: rows.add, divY: Math.max(1, rows.div) },
    ...{ mulX: columns.mul, addX: columns.add, divX: Math.max(1, columns.div) },
    shift: rows.shift,
  };
  return { wide, uniforms };
}

/** WGSL of where an output pixel reads. */
const readAt: Readonly<Record<Method, string>> = {
  nearest: 'fn at(n: i32, div: i32, size: i32) -> f32 { return f32(min(n / div, size - 1)); }',
  bilinear:
    'fn at(n: i32, div: i32, size: i32) -> f32 { return clamp(f32(n) / f32(div) - p.shift, 0.0, f32(size - 1)); }',
};

interface ResizeText {
  readonly method: Method;
  readonly wide: boolean;
}

const resizing = memoised(({ method, wide }: ResizeText) => {
  const read = (y: string, x: string) => `in0[((top + ${y}) * p.w + ${x}) * p.c + c]`;
  return resultMap({
    label: `Resize ${method}`,
    wide: [wide],
    wideOutput: wide,
    uniforms: uniformTypes,
    functions: readAt[method],
    body: `let c = i % p.c; let X = (i / p.c) % p.W; let rows = i / (p.c * p.W); let Y = rows % p.H; let top = (rows / p.H) * p.h;
  let fy = at(Y * p.mulY + p.addY, p.divY, p.h); let fx = at(X * p.mulX + p.addX, p.divX, p.w);
  let y0 = i32(fy); let x0 = i32(fx);
  ${
    method === 'nearest'
      ? `out[i] = ${read('y0', 'x0')};`
      : `let y1 = min(y0 + 1, p.h - 1); let x1 = min(x0 + 1, p.w - 1);
  let a = fract(fx); let b = fract(fy);
  let above = Out(${read('y0', 'x0')}) * (1.0 - a) + Out(${read('y0', 'x1')}) * a;
  let below = Out(${read('y1', 'x0')}) * (1.0 - a) + Out(${read('y1', 'x1')}) * a;
  out[i] = above * (1.0 - b) + below * b;`
  }`,
  });
});

const resizingBack = memoised(({ method, wide }: ResizeText) =>
  resultMap({
    label: `Resize ${method} gradient`,
    wide: [wide],
    wideOutput: wide,
    uniforms: uniformTypes,
    functions: `${readAt[method]}
// the output pixels that may read pixel y: those within 1.5 input pixels, all beyond the border
fn first(y: i32, mul: i32, div: i32) -> i32 { return select(max(0, i32(floor((f32(y) - 1.5) * f32(div) / f32(mul))) - 1), 0, y == 0); }
fn end(y: i32, mul: i32, div: i32, size: i32, count: i32) -> i32 { return select(min(count, i32((f32(y) + 1.5) * f32(div) / f32(mul)) + 2), count, y == size - 1 || mul == 0); }`,
    body: `let c = i % p.c; let x = (i / p.c) % p.w; let rows = i / (p.c * p.w); let y = rows % p.h; let top = (rows / p.h) * p.H;
  let endY = end(y, p.mulY, p.divY, p.h, p.H); let endX = end(x, p.mulX, p.divX, p.w, p.W); let firstX = first(x, p.mulX, p.divX);
  var total = Out();
  for (var Y = first(y, p.mulY, p.divY); Y < endY; Y++) {
    let wy = max(0.0, 1.0 - abs(at(Y * p.mulY + p.addY, p.divY, p.h) - f32(y)));
    if (wy == 0.0) { continue; }
    for (var X = firstX; X < endX; X++) {
      let wx = max(0.0, 1.0 - abs(at(X * p.mulX + p.addX, p.divX, p.w) - f32(x)));
      if (wx != 0.0) { total += wy * wx * in0[((top + Y) * p.W + X) * p.c + c]; }
    }
  }
  out[i] = total;`,
  }),
);

/** Resizes [B, h, w, C] to [B, H, W, C]. */
const forward = (kernelName: string, method: Method): Kernel =>
  kernel<Tensors<'images'>, Corners & { size: [number, number] }>(kernelName, (backend, { images }, attrs) => {
    const shape = [images.shape[0]!, ...attrs.size, images.shape[3]!];
    const { wide, uniforms } = places(method, images.shape, shape, attrs);
    const dtype = method === 'nearest' ? images.dtype : 'float32';
    return resizing({ method, wide })(backend, { inputs: [images], shape, dtype, uniforms });
  });

/** The gradient of a resize, with its attributes: every input pixel sums over the output pixels that read it, with their weights. */
const backward = (kernelName: string, method: Method): Kernel =>
  kernel<Tensors<'images' | 'dy'>, Corners>(kernelName, (backend, { images, dy }, corners) => {
    const { wide, uniforms } = places(method, images.shape, dy.shape, corners);
    return resizingBack({ method, wide })(backend, { inputs: [dy], shape: images.shape, dtype: 'float32', uniforms });
  });

export const resizeKernels: readonly Kernel[] = [
  forward(tf.ResizeBilinear, 'bilinear'),
  backward(tf.ResizeBilinearGrad, 'bilinear'),
  forward(tf.ResizeNearestNeighbor, 'nearest'),
  backward(tf.ResizeNearestNeighborGrad, 'nearest'),
];
