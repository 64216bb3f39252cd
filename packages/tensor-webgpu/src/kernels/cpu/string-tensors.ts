/** String tensors stay on the CPU; so do the kernels on them. */
import * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../../backend.ts';
import { type Kernel, kernel, type Tensors } from '../kernel.ts';
import { broadcastStrides, rowMajor } from '../maps/strided-map.ts';
import { knownValues } from './value-kernels.ts';

type Texts = readonly Uint8Array[];

const sizeOf = (shape: readonly number[]): number => tf.util.sizeFromShape([...shape]);
const encode = (text: string): Uint8Array => tf.util.encodeString(text);
const decode = (bytes: Uint8Array): string => tf.util.decodeString(bytes);

/** The places that strides lead to, in row-major order of `shape`. */
function places(shape: readonly number[], strides: readonly number[], offset = 0): number[] {
  const own = rowMajor(shape);
  return Array.from({ length: sizeOf(shape) }, (_, i) =>
    strides.reduce((at, stride, d) => at + (Math.floor(i / own[d]!) % shape[d]!) * stride, offset),
  );
}

/** `stridedMap` of one string tensor. */
export function restrideTexts(
  backend: WebgpuBackend,
  x: tf.TensorInfo,
  to: { shape: readonly number[]; strides: readonly number[]; offset?: number },
): tf.TensorInfo {
  const texts = backend.texts(x);
  return backend.makeTexts(
    places(to.shape, to.strides, to.offset).map((at) => texts[at]!),
    to.shape,
  );
}

/** Joins string tensors along an axis. */
export function concatTexts(backend: WebgpuBackend, parts: readonly tf.TensorInfo[], axis: number): tf.TensorInfo {
  const shape = tf.backend_util.computeOutShape(
    parts.map((part) => part.shape),
    axis,
  );
  const rows = sizeOf(shape.slice(0, axis));
  const joined = Array.from({ length: rows }, (_, row) =>
    parts.flatMap((part) => {
      const width = sizeOf(part.shape.slice(axis));
      return backend.texts(part).slice(row * width, (row + 1) * width);
    }),
  );
  return backend.makeTexts(joined.flat(), shape);
}

/** The last of the updates for each place over a default text. */
export function scatterTexts(
  backend: WebgpuBackend,
  { indices, updates, shape }: { indices: tf.TensorInfo; updates: tf.TensorInfo; shape: number[] },
  base: tf.TensorInfo,
): tf.TensorInfo {
  const info = tf.scatter_util.calculateShapes(updates as tf.Tensor, indices as tf.Tensor, shape);
  const where = knownValues(backend, indices, 'sparseToDense');
  const texts = backend.texts(updates);
  const made = Array<Uint8Array>(sizeOf(shape)).fill(backend.texts(base)[0]!);
  for (let r = 0; r < info.numUpdates; r++) {
    let slice = 0;
    for (let d = 0; d < info.sliceRank; d++) slice += where[r * info.sliceRank + d]! * info.strides[d]!;
    for (let n = 0; n < info.sliceSize; n++)
      made[slice * info.sliceSize + n] = updates.shape.length === 0 ? texts[0]! : texts[r * info.sliceSize + n]!;
  }
  return backend.makeTexts(made, shape);
}

/** Compares texts with broadcasting. */
export function compareTexts(
  backend: WebgpuBackend,
  [a, b]: readonly [tf.TensorInfo, tf.TensorInfo],
  sign: string,
): tf.TensorInfo {
  const shape = tf.broadcast_util.assertAndGetBroadcastShape(a.shape, b.shape);
  const [left, right] = [a, b].map((x) => {
    const texts = backend.texts(x);
    return places(shape, broadcastStrides(x.shape, shape)).map((at) => decode(texts[at]!));
  }) as [string[], string[]];
  const holds: Record<string, (x: string, y: string) => boolean> = {
    '==': (x, y) => x === y,
    '!=': (x, y) => x !== y,
    '<': (x, y) => x < y,
    '<=': (x, y) => x <= y,
    '>': (x, y) => x > y,
    '>=': (x, y) => x >= y,
  };
  const truth = Uint8Array.from(left, (x, i) => Number(holds[sign]!(x, right[i]!)));
  return backend.makeTensor(truth, shape, 'bool');
}

/** The tokens between any of the delimiter's bytes; each byte by itself when there is no delimiter. */
function tokens(text: Uint8Array, delimiters: Uint8Array, skipEmpty: boolean): Texts {
  if (text.length === 0) return [];
  if (delimiters.length === 0) return Array.from(text, (byte) => Uint8Array.of(byte));
  const found: Uint8Array[] = [];
  let start = 0;
  for (let end = 0; end <= text.length; end++) {
    if (end < text.length && !delimiters.includes(text[end]!)) continue;
    if (!skipEmpty || end > start) found.push(text.subarray(start, end));
    start = end + 1;
  }
  return found;
}

/** Sparse indices [tokens, 2], the tokens, and the shape of the dense matrix. */
function stringSplit(
  backend: WebgpuBackend,
  { input, delimiter }: Tensors<'input' | 'delimiter'>,
  { skipEmpty }: tf.StringSplitAttrs,
): tf.TensorInfo[] {
  const rows = backend.texts(input).map((text) => tokens(text, backend.texts(delimiter)[0]!, skipEmpty));
  const indices = rows.flatMap((row, r) => row.flatMap((_, k) => [r, k]));
  const longest = rows.reduce((most, row) => Math.max(most, row.length), 0);
  return [
    backend.makeTensor(Int32Array.from(indices), [indices.length / 2, 2], 'int32'),
    backend.makeTexts(rows.flat(), [indices.length / 2]),
    backend.makeTensor(Int32Array.of(rows.length, longest), [2], 'int32'),
  ];
}

function checkSplits(splits: ArrayLike<number>, size: number): void {
  if (splits.length === 0) return;
  // the messages are TensorFlow's
  if (splits[0] !== 0) throw new Error(`First split value must be 0, got ${splits[0]}`);
  for (let i = 1; i < splits.length; i++)
    if (splits[i]! < splits[i - 1]! || splits[i]! > size)
      throw new Error(`Invalid split value ${splits[i]}, must be in [${splits[i - 1]}, ${size}]`);
  const last = splits[splits.length - 1];
  if (last !== size) throw new Error(`Last split value must be data size. Expected ${size}, got ${last}`);
}

/** All runs of `width` neighbours of each row, padded at its ends, joined by the separator; and where each row's runs begin. */
function stringNGrams(
  backend: WebgpuBackend,
  { data, dataSplits }: Tensors<'data' | 'dataSplits'>,
  attrs: tf.StringNGramsAttrs,
): tf.TensorInfo[] {
  const { separator, nGramWidths, leftPad, rightPad, padWidth, preserveShortSequences } = attrs;
  const texts = backend.texts(data).map(decode);
  const splits = Array.from(knownValues(backend, dataSplits, 'stringNGrams'));
  checkSplits(splits, texts.length);
  const rows = splits.slice(1).map((end, r) => {
    const row = texts.slice(splits[r], end);
    const runs = (width: number, pad: number): string[] => {
      const padded = [...Array<string>(pad).fill(leftPad), ...row, ...Array<string>(pad).fill(rightPad)];
      const count = Math.max(0, padded.length - width + 1);
      return Array.from({ length: count }, (_, k) => padded.slice(k, k + width).join(separator));
    };
    const all = nGramWidths.flatMap((width) => runs(width, Math.min(padWidth < 0 ? width - 1 : padWidth, width - 1)));
    if (all.length > 0 || !preserveShortSequences || row.length === 0) return all;
    return runs(row.length + 2 * padWidth, padWidth);
  });
  const found = texts.length === 0 ? rows.map(() => []) : rows;
  const ends = splits.length === 0 ? [] : [0];
  for (const row of found) ends.push(ends.at(-1)! + row.length);
  const all = found.flat().map(encode);
  return [backend.makeTexts(all, [all.length]), backend.makeTensor(Int32Array.from(ends), dataSplits.shape, 'int32')];
}

export const stringKernels: readonly Kernel[] = [
  kernel(tf.StringNGrams, stringNGrams),
  kernel(tf.StringSplit, stringSplit),
  kernel<Tensors<'input'>, tf.StringToHashBucketFastAttrs>(
    tf.StringToHashBucketFast,
    (backend, { input }, { numBuckets }) => {
      if (numBuckets <= 0) throw new Error('Number of buckets must be at least 1'); // TensorFlow.js's own words
      const buckets = backend
        .texts(input)
        .map((text) => tf.util.fingerPrint64(text).modulo(numBuckets).getLowBitsUnsigned());
      return backend.makeTensor(Int32Array.from(buckets), input.shape, 'int32');
    },
  ),
  kernel<Tensors<'x'>, tf.StaticRegexReplaceAttrs>(
    tf.StaticRegexReplace,
    (backend, { x }, { pattern, rewrite, replaceGlobal }) => {
      const search = new RegExp(pattern, replaceGlobal ? 'g' : '');
      const replaced = backend.texts(x).map((text) => encode(decode(text).replace(search, rewrite)));
      return backend.makeTexts(replaced, x.shape);
    },
  ),
];
