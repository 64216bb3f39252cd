import * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../../backend.ts';
import { memoised } from '../../program/memoised.ts';
import { concatTexts } from '../cpu/string-tensors.ts';
import { fewKnown } from '../cpu/whole-numbers.ts';
import { resultMap } from '../maps/result-map.ts';

const mostParts = 7; // with the output, the eight storage buffers that every adapter binds

/** Joins tensors along an axis, seven at a time. */
export function concat(backend: WebgpuBackend, parts: readonly tf.TensorInfo[], axis: number): tf.TensorInfo {
  tf.backend_util.assertParamsConsistent(
    parts.map((part) => part.shape),
    axis,
  );
  if (parts[0]!.dtype === 'string') return concatTexts(backend, parts, axis);
  const some = parts.filter((part) => tf.util.sizeFromShape(part.shape) > 0);
  const shape = tf.backend_util.computeOutShape(
    parts.map((part) => part.shape),
    axis,
  );
  const dtype = parts[0]!.dtype;
  if (some.length === 0) return backend.makeTensor(new Float32Array(0), shape, dtype);
  if (some.length === 1) return backend.makeView(some[0]!, shape);
  const known = fewKnown(backend, some, { size: tf.util.sizeFromShape(shape), dtype });
  if (known) return backend.makeTensor(joined(some, known, axis), shape, dtype);
  if (some.length > mostParts) {
    const head = concat(backend, some.slice(0, mostParts), axis);
    const all = concat(backend, [head, ...some.slice(mostParts)], axis);
    backend.disposeData(head.dataId);
    return all;
  }
  const inner = tf.util.sizeFromShape(shape.slice(axis + 1));
  const widths = some.map((part) => part.shape[axis]! * inner);
  const wide = widths.every((width) => width % 4 === 0);
  const ends = widths.map((_, k) => widths.slice(0, k + 1).reduce((a, b) => a + b, 0) / (wide ? 4 : 1));
  return concatMap({ parts: some.length, wide })(backend, {
    inputs: some,
    shape,
    dtype,
    uniforms: { width: ends.at(-1)!, ...Object.fromEntries(ends.map((end, k) => [`end${k}`, end])) },
  });
}

/** The same on the CPU, row by row. */
function joined(
  parts: readonly tf.TensorInfo[],
  values: readonly tf.backend_util.TypedArray[],
  axis: number,
): Int32Array {
  const rows = tf.util.sizeFromShape(parts[0]!.shape.slice(0, axis));
  return Int32Array.from(
    Array.from({ length: rows }, (_, row) =>
      values.map((list) => Array.from(list.subarray((row * list.length) / rows, ((row + 1) * list.length) / rows))),
    ).flat(2),
  );
}

const concatMap = memoised(({ parts, wide }: { parts: number; wide: boolean }) => {
  const numbers = Array.from({ length: parts }, (_, k) => k);
  const reads = numbers.map((k) => {
    const start = k === 0 ? '0' : `p.end${k - 1}`;
    const read = `{ out[i] = in${k}[r * (p.end${k} - ${start}) + c - ${start}]; }`;
    return k === parts - 1 ? read : `if (c < p.end${k}) ${read} else`;
  });
  return resultMap<string>({
    label: `Concat ${parts}`,
    wide: numbers.map(() => wide),
    wideOutput: wide,
    moves: true,
    uniforms: { width: 'i32', ...Object.fromEntries(numbers.map((k) => [`end${k}`, 'i32' as const])) },
    body: `let r = i / p.width;
  let c = i - r * p.width;
  ${reads.join(' ')}`,
  });
});
