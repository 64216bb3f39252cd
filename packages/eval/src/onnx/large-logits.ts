type Size = readonly [height: number, width: number];

/**
 * Logits of low resolution in the size of the image, as segment-anything's postprocess_masks: enlarged to the padded square, cut to the
 * resized image, brought to the image's size, each time bilinear without aligned corners.
 *
 * @param logits [height * width] of `size`
 */
export function largeLogits(
  logits: Float32Array,
  { size, side, inputSize, imageSize }: { size: Size; side: number; inputSize: Size; imageSize: Size },
): Float32Array {
  const square = resampled(logits, size, { out: [side, side], keep: inputSize });
  return resampled(square, inputSize, { out: imageSize, keep: imageSize });
}

/** Pixels above 0. */
export function maskOf(logits: Float32Array): Uint8Array {
  return Uint8Array.from(logits, (value) => (value > 0 ? 1 : 0));
}

/** The first `keep` rows and columns of an image resized to `out`. */
function resampled(
  values: Float32Array,
  [height, width]: Size,
  { out, keep }: { out: Size; keep: Size },
): Float32Array {
  const [rows, columns] = keep;
  const places = (from: number, to: number, count: number) =>
    Array.from({ length: count }, (_, i) => {
      const at = Math.max(0, ((i + 0.5) * from) / to - 0.5);
      const low = Math.min(Math.floor(at), from - 1);
      return { low, high: Math.min(low + 1, from - 1), share: at - low };
    });
  const xs = places(width, out[1], columns);
  const result = new Float32Array(rows * columns);
  places(height, out[0], rows).forEach(({ low, high, share }, y) => {
    xs.forEach((x, i) => {
      const row = (at: number) => values[at * width + x.low]! * (1 - x.share) + values[at * width + x.high]! * x.share;
      result[y * columns + i] = row(low) * (1 - share) + row(high) * share;
    });
  });
  return result;
}
