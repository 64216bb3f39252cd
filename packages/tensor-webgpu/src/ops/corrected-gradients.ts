import * as tf from '@tensorflow/tfjs-core';

/**
 * Prod's: of each value, the product of the others, which running products from both ends make without a division: zeros are right.
 * tfjs-core's calls chained ops, which its Node entry does not have.
 */
const product: tf.GradConfig = {
  kernelName: tf.Prod,
  inputsToSave: ['x'],
  gradFunc: (gradient, saved, attributes) => {
    const x = saved[0]!;
    const axes = tf.util.parseAxisParam((attributes.axis ?? []) as number | number[], x.shape);
    const all = axes.length > 0 ? axes : x.shape.map((_, axis) => axis);
    const order = x.shape.map((_, axis) => axis).filter((axis) => !all.includes(axis));
    order.push(...all);
    const others = (): tf.Tensor => {
      const together = tf.transpose(x, order);
      const length = all.reduce((size, axis) => size * x.shape[axis]!, 1);
      const rows = tf.reshape(together, [-1, length]); // [kept, reduced]
      const before = tf.cumprod(rows, 1, true);
      const after = tf.cumprod(rows, 1, true, true);
      const dy = tf.reshape(gradient as tf.Tensor, [-1, 1]); // [kept, 1]
      const dx = tf.reshape(tf.mul(tf.mul(before, after), dy), together.shape);
      return tf.transpose(
        dx,
        x.shape.map((_, axis) => order.indexOf(axis)),
      );
    };
    return { x: () => (x.size === 0 ? tf.zerosLike(x) : tf.tidy(others)) };
  },
};

/** `part`, which lies along an axis from `from` on, among zeros up to `length`. */
function placed(part: tf.Tensor, { axis, from, length }: { axis: number; from: number; length: number }): tf.Tensor {
  const around = part.shape.map((size, d): [number, number] => (d === axis ? [from, length - from - size] : [0, 0]));
  return tf.pad(part, around);
}

/** `count` values along an axis, the last first. */
function mirrored(x: tf.Tensor, { axis, from, count }: { axis: number; from: number; count: number }): tf.Tensor {
  const begin = x.shape.map((_, d) => (d === axis ? from : 0));
  const size = x.shape.map((extent, d) => (d === axis ? count : extent));
  return tf.reverse(tf.slice(x, begin, size), axis);
}

/** MirrorPad's: what was reflected comes back to where it came from, axis by axis. tfjs-core's forgets it. */
const mirror: tf.GradConfig = {
  kernelName: tf.MirrorPad,
  inputsToSave: ['x'],
  gradFunc: (gradient, saved, attributes) => {
    const { shape } = saved[0]!;
    const { paddings, mode } = attributes as Pick<tf.MirrorPadAttrs, 'paddings' | 'mode'> & tf.NamedAttrMap;
    const edge = mode === 'reflect' ? 1 : 0; // the border itself is not repeated
    const back = (dy: tf.Tensor, axis: number): tf.Tensor => {
      const [before, after] = paddings[axis]!;
      const length = shape[axis]!;
      const begin = dy.shape.map((_, d) => (d === axis ? before : 0));
      const parts = [
        tf.slice(
          dy,
          begin,
          dy.shape.map((extent, d) => (d === axis ? length : extent)),
        ),
      ];
      if (before > 0) parts.push(placed(mirrored(dy, { axis, from: 0, count: before }), { axis, from: edge, length }));
      if (after > 0)
        parts.push(
          placed(mirrored(dy, { axis, from: before + length, count: after }), {
            axis,
            from: length - edge - after,
            length,
          }),
        );
      return tf.addN(parts);
    };
    return { x: () => tf.tidy(() => shape.reduce((dy: tf.Tensor, _, axis) => back(dy, axis), gradient as tf.Tensor)) };
  },
};

/** tfjs-core's gradient of a function of two tensors that are spread against one another: it forgets to add up where one was. */
function addedUp(kernelName: string): tf.GradConfig {
  const { gradFunc, ...config } = tf.getGradient(kernelName)!;
  return {
    ...config,
    gradFunc: (dy, saved, attributes) => {
      const thunks = gradFunc(dy, saved, attributes);
      const input = (name: string, { shape }: tf.Tensor) => [name, () => addedTo(thunks[name]!(), shape)] as const;
      return Object.fromEntries([input('a', saved[0]!), input('b', saved[1]!)]);
    },
  };
}

/** The sum of what belongs to each value of a tensor of that shape, which was spread to the gradient's. */
function addedTo(gradient: tf.Tensor, shape: number[]): tf.Tensor {
  if (tf.util.arraysEqual(gradient.shape, shape)) return gradient;
  const axes = tf.broadcast_util.getReductionAxes(shape, gradient.shape);
  return tf.reshape(axes.length > 0 ? tf.sum(gradient, axes) : gradient, shape);
}

/** BroadcastTo's. tfjs-core's reads a shape that the kernel is not given. */
const spread: tf.GradConfig = {
  kernelName: tf.BroadcastTo,
  inputsToSave: ['x'],
  gradFunc: (dy, [x]) => ({ x: () => addedTo(dy as tf.Tensor, x!.shape) }),
};

/** Cumsum's: a running sum from the other end. tfjs-core's is of another shape but for the last axis. */
const running: tf.GradConfig = {
  kernelName: tf.Cumsum,
  gradFunc: (dy, _saved, attributes) => {
    const { axis, exclusive, reverse } = attributes as Pick<tf.CumsumAttrs, keyof tf.CumsumAttrs> & tf.NamedAttrMap;
    return { x: () => tf.cumsum(dy as tf.Tensor, axis, exclusive, !reverse) };
  },
};

/**
 * GatherV2's, as sums of segments: of x [batches, outer, length, inner] and places [batches, picks] the rows are (batch, pick), the
 * segments (batch, place). tfjs-core's calls chained ops where there are batches.
 */
const gathered: tf.GradConfig = {
  kernelName: tf.GatherV2,
  inputsToSave: ['x', 'indices'],
  gradFunc: (dy, [x, indices], attributes) => {
    const { axis, batchDims } = attributes as Pick<tf.GatherV2Attrs, keyof tf.GatherV2Attrs> & tf.NamedAttrMap;
    const along = tf.util.parseAxisParam(axis, x!.shape)[0]!;
    const size = (from: number, to?: number) => tf.util.sizeFromShape(x!.shape.slice(from, to));
    const [batches, outer, length, inner] = [
      size(0, batchDims),
      size(batchDims, along),
      x!.shape[along]!,
      size(along + 1),
    ];
    const back = (): tf.Tensor => {
      const picks = indices!.size / batches;
      const rows = tf.transpose(tf.reshape(dy as tf.Tensor, [batches, outer, picks, inner]), [0, 2, 1, 3]);
      const first = tf.mul(tf.range(0, batches, 1, 'int32'), tf.scalar(length, 'int32')); // segment of each batch
      const ids = tf.add(tf.reshape(indices!, [batches, picks]), tf.reshape(first, [batches, 1]));
      const sums = tf.unsortedSegmentSum(
        tf.reshape(rows, [batches * picks, outer * inner]),
        tf.reshape(tf.cast(ids, 'int32'), [batches * picks]) as tf.Tensor1D,
        batches * length,
      );
      return tf.reshape(tf.transpose(tf.reshape(sums, [batches, length, outer, inner]), [0, 2, 1, 3]), x!.shape);
    };
    return { x: () => tf.tidy(back) };
  },
};

/** In the place of tfjs-core's, which are wrong. */
export const correctedGradients: readonly tf.GradConfig[] = [
  ...[product, mirror, spread, running, gathered],
  ...[tf.SquaredDifference, tf.Maximum, tf.Minimum, tf.BatchMatMul].map(addedUp),
];
