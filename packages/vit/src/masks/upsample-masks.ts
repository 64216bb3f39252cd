import * as tf from '@tensorflow/tfjs-core';

/** The sizes that masks go through. */
export interface MaskSizes {
  /** [height, width] of the resized image */
  readonly inputSize: readonly [number, number];
  /** [height, width] of the image itself */
  readonly originalSize: readonly [number, number];
  /** Side of the padded square. */
  readonly imageSize: number;
  /** [from, to): only these rows of the image, of which H is then the number */
  readonly rows?: readonly [number, number];
}

/**
 * Brings mask logits to the size of the image: bilinear to the padded square, without the padding, bilinear to the original size
 * (segment-anything, modeling/sam.py: postprocess_masks). [N, M, h, w] -> [N, M, H, W]
 */
export function upsampleMasks(masks: tf.Tensor4D, sizes: MaskSizes): tf.Tensor4D {
  const { inputSize, originalSize, imageSize, rows } = sizes;
  const [N, M, h, w] = masks.shape;
  const [height, width] = originalSize;
  return tf.tidy(() => {
    const flat = tf.reshape(masks, [N * M, h, w, 1]) as tf.Tensor4D; // every mask is an image of one channel
    const square = resize(flat, [imageSize, imageSize]);
    const cut = tf.slice(square, [0, 0, 0, 0], [N * M, ...inputSize, 1]);
    if (!rows) return tf.reshape(resize(cut, [height, width]), [N, M, height, width]);
    const count = rows[1] - rows[0];
    return tf.reshape(resize(interpolateRows(cut, { rows, height }), [count, width]), [N, M, count, width]);
  });
}

/** Bilinear with pixel centres at halves, as torch's align_corners=False. */
function resize(x: tf.Tensor4D, [height, width]: readonly [number, number]): tf.Tensor4D {
  if (x.shape[1] === height && x.shape[2] === width) return x;
  return tf.image.resizeBilinear(x, [height, width], false, true);
}

/** Some of the rows that `resize` to `height` gives: [n, h, w, 1] -> [n, rows, w, 1] */
function interpolateRows(
  x: tf.Tensor4D,
  { rows: [from, to], height }: { rows: readonly [number, number]; height: number },
): tf.Tensor4D {
  const last = x.shape[1] - 1;
  const places = Array.from({ length: to - from }, (_, i) =>
    Math.max(0, ((from + i + 0.5) * x.shape[1]) / height - 0.5),
  );
  const row = (nearest: (place: number) => number) =>
    tf.gather(
      x,
      tf.tensor1d(
        places.map((place) => Math.min(last, nearest(place))),
        'int32',
      ),
      1,
    );
  const [above, below] = [row(Math.floor), row((place) => Math.floor(place) + 1)];
  const share = tf.tensor(
    places.map((place) => place - Math.floor(place)),
    [1, to - from, 1, 1],
  );
  return tf.add(above, tf.mul(tf.sub(below, above), share));
}
