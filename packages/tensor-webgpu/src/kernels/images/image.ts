import * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../../backend.ts';
import { memoised } from '../../program/memoised.ts';
import { casting } from '../elementwise/elementwise.ts';
import { type Kernel, kernel, type Tensors } from '../kernel.ts';
import { resultMap } from '../maps/result-map.ts';
import { rowMajor } from '../maps/strided-map.ts';
import { restriding } from '../movement/movement.ts';

type Shape4D = [number, number, number, number];

/** WGSL: four neighbours of (x, y) in `pixel(y, x)`, weighted; `x1 = floor(x) + 1` is where `pixel` may be outside. */
const bilinear = `let x0 = floor(x); let y0 = floor(y); let a = x - x0; let b = y - y0;
  let above = pixel(y0, x0, rest) * (1.0 - a) + pixel(y0, x0 + 1.0, rest) * a;
  let below = pixel(y0 + 1.0, x0, rest) * (1.0 - a) + pixel(y0 + 1.0, x0 + 1.0, rest) * a;
  out[i] = Out(above * (1.0 - b) + below * b);`;

const cropping = memoised(({ method }: { method: tf.CropAndResizeAttrs['method'] }) =>
  resultMap({
    label: `CropAndResize ${method}`,
    uniforms: { B: 'i32', h: 'i32', w: 'i32', C: 'i32', H: 'i32', W: 'i32', outside: 'f32' },
    functions: `fn at(place: i32, count: i32, size: i32, low: f32, high: f32) -> f32 {
  if (count <= 1) { return 0.5 * (low + high) * f32(size - 1); }
  return low * f32(size - 1) + f32(place) * ((high - low) * f32(size - 1) / f32(count - 1));
}
fn pixel(y: f32, x: f32, rest: vec2i) -> f32 { // beyond the border only with weight 0
  return f32(in0[((rest.x * p.h + min(i32(y), p.h - 1)) * p.w + min(i32(x), p.w - 1)) * p.C + rest.y]);
}`,
    body: `let X = (i / p.C) % p.W; let rows = i / (p.C * p.W); let Y = rows % p.H; let box = rows / p.H;
  let rest = vec2i(i32(in2[box]), i % p.C);
  if (rest.x < 0 || rest.x >= p.B) { out[i] = 0.0; return; }
  let y = at(Y, p.H, p.h, in1[box * 4], in1[box * 4 + 2]); let x = at(X, p.W, p.w, in1[box * 4 + 1], in1[box * 4 + 3]);
  if (y < 0.0 || x < 0.0 || y > f32(p.h - 1) || x > f32(p.w - 1)) { out[i] = p.outside; return; }
  ${method === 'nearest' ? 'out[i] = pixel(floor(y + 0.5), floor(x + 0.5), rest);' : bilinear}`,
  }),
);

/** out[n] = boxes[n] of image boxInd[n], resized to cropSize. Boxes are [y1, x1, y2, x2] in parts of the image. */
function cropAndResize(
  backend: WebgpuBackend,
  { image, boxes, boxInd }: Tensors<'image' | 'boxes' | 'boxInd'>,
  { cropSize, method, extrapolationValue: outside }: tf.CropAndResizeAttrs,
): tf.TensorInfo {
  const [B, h, w, C] = image.shape as Shape4D;
  const [H, W] = cropSize;
  return cropping({ method })(backend, {
    inputs: [image, boxes, boxInd],
    shape: [boxes.shape[0]!, H, W, C],
    dtype: 'float32',
    uniforms: { B, h, w, C, H, W, outside },
  });
}

/** WGSL: a coordinate beyond [0, size) mapped by TensorFlow's fill modes; `constant` leaves it. */
const fillModes: Record<tf.TransformAttrs['fillMode'], string> = {
  constant: 'return v;',
  nearest: 'return clamp(v, 0.0, size - 1.0);',
  wrap: `if (size <= 1.0) { return 0.0; }
  var at = v;
  if (v < 0.0) { at = v + size * (trunc(-v / (size - 1.0)) + 1.0); }
  if (v > size - 1.0) { at = v - size * trunc(v / (size - 1.0)); }
  return clamp(at, 0.0, size - 1.0);`,
  reflect: `if (size <= 1.0) { return 0.0; }
  let period = 2.0 * size;
  var at = v;
  if (v < 0.0) {
    if (v < period) { at = period * trunc(-v / period) + v; }
    at = select(-at - 1.0, at + period, at < -size);
  } else if (v > size - 1.0) {
    at = v - period * trunc(v / period);
    if (at >= size) { at = period - at - 1.0; }
  }
  return clamp(at, 0.0, size - 1.0);`,
};

type TransformText = Pick<tf.TransformAttrs, 'interpolation' | 'fillMode'>;

const transforming = memoised(({ interpolation, fillMode }: TransformText) =>
  resultMap({
    label: `Transform ${interpolation} ${fillMode}`,
    uniforms: { h: 'i32', w: 'i32', C: 'i32', H: 'i32', W: 'i32', each: 'i32', fill: 'f32' },
    functions: `fn map(v: f32, size: f32) -> f32 { ${fillModes[fillMode]} }
fn pixel(y: f32, x: f32, rest: vec2i) -> f32 {
  if (y < 0.0 || x < 0.0 || y >= f32(p.h) || x >= f32(p.w)) { return p.fill; }
  return f32(in0[((rest.x * p.h + i32(y)) * p.w + i32(x)) * p.C + rest.y]);
}`,
    body: `let X = f32((i / p.C) % p.W); let rows = i / (p.C * p.W); let Y = f32(rows % p.H);
  let rest = vec2i(rows / p.H, i % p.C); let t = rest.x * p.each;
  let depth = in1[t + 6] * X + in1[t + 7] * Y + 1.0;
  if (depth == 0.0) { out[i] = Out(p.fill); return; }
  let x = map((in1[t] * X + in1[t + 1] * Y + in1[t + 2]) / depth, f32(p.w));
  let y = map((in1[t + 3] * X + in1[t + 4] * Y + in1[t + 5]) / depth, f32(p.h));
  ${interpolation === 'nearest' ? 'out[i] = Out(pixel(round(y), round(x), rest));' : bilinear}`,
  }),
);

/** out[b, Y, X] = image at the place that the projective transform [8] sends (X, Y) to. */
function transform(
  backend: WebgpuBackend,
  { image, transforms }: Tensors<'image' | 'transforms'>,
  { interpolation, fillMode, fillValue: fill, outputShape }: tf.TransformAttrs,
): tf.TensorInfo {
  const [B, h, w, C] = image.shape as Shape4D;
  const [H, W] = outputShape ?? [h, w];
  return transforming({ interpolation, fillMode })(backend, {
    inputs: [image, transforms],
    shape: [B, H, W, C],
    dtype: image.dtype,
    uniforms: { h, w, C, H, W, each: transforms.shape[0] === 1 ? 0 : 8, fill },
  });
}

const rotating = resultMap({
  label: 'RotateWithOffset',
  uniforms: {
    ...{ h: 'i32', w: 'i32', C: 'i32', centerX: 'f32', centerY: 'f32', sin: 'f32', cos: 'f32' },
    ...{ fill0: 'f32', fill1: 'f32', fill2: 'f32', fill3: 'f32' },
  },
  body: `let c = i % p.C; let X = (i / p.C) % p.w; let rows = i / (p.C * p.w); let Y = rows % p.h;
  let dx = f32(X) - p.centerX; let dy = f32(Y) - p.centerY;
  let x = i32(round(dx * p.cos - dy * p.sin + p.centerX)); let y = i32(round(dx * p.sin + dy * p.cos + p.centerY));
  if (x >= 0 && y >= 0 && x < p.w && y < p.h) { out[i] = in0[((rows - Y + y) * p.w + x) * p.C + c]; return; }
  let fills = vec4f(p.fill0, p.fill1, p.fill2, p.fill3);
  out[i] = Out(fills[min(c, 3)]);`,
});

/** Rotates images about a centre given in parts of their size; places from outside are filled. */
function rotate(
  backend: WebgpuBackend,
  { image }: Tensors<'image'>,
  { radians, fillValue, center }: tf.RotateWithOffsetAttrs,
): tf.TensorInfo {
  const [, h, w, C] = image.shape as Shape4D;
  const [centerX, centerY] = tf.backend_util.getImageCenter(center, h, w);
  const fill = typeof fillValue === 'number' ? Array<number>(4).fill(fillValue) : [...fillValue, 255];
  const [fill0 = 0, fill1 = 0, fill2 = 0, fill3 = 0] = fill;
  return rotating(backend, {
    inputs: [image],
    shape: image.shape,
    dtype: image.dtype,
    uniforms: {
      ...{ h, w, C, centerX, centerY, sin: Math.sin(radians), cos: Math.cos(radians) },
      ...{ fill0, fill1, fill2, fill3 },
    },
  });
}

function flipLeftRight(backend: WebgpuBackend, { image }: Tensors<'image'>): tf.TensorInfo {
  const [, , w, C] = image.shape as Shape4D;
  return flip(backend, image, {
    shape: image.shape,
    strides: rowMajor(image.shape).map((stride, d) => (d === 2 ? -stride : stride)),
    offset: (w - 1) * C,
  });
}

const flip = restriding(tf.FlipLeftRight);

export const imageKernels: readonly Kernel[] = [
  kernel(tf.CropAndResize, cropAndResize),
  kernel<Tensors<'image' | 'transforms'>, tf.TransformAttrs>(tf.Transform, (backend, { image, transforms }, attrs) =>
    casting(backend, transforms, 'float32', (floats) => transform(backend, { image, transforms: floats }, attrs)),
  ),
  kernel(tf.RotateWithOffset, rotate),
  kernel(tf.FlipLeftRight, flipLeftRight),
];
