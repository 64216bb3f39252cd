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

/** In the place of tfjs-core's, which are wrong. */
export const correctedGradients: readonly tf.GradConfig[] = [product, mirror];
