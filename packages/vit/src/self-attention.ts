import { type AttentionInputs, attention, splitHeads } from '@slimsam/tensor-webgpu/ops';
import * as tf from '@tensorflow/tfjs-core';

/**
 * Multi-head attention of N tokens among themselves: qkv [G, N, heads * (2 D + E)] -> [G, N, heads * E]; `valueRows` is heads * E. `bias`
 * makes relative positions' bias of the queries [G * heads, N, D].
 */
export function selfAttention(
  qkv: tf.Tensor,
  options: {
    readonly heads: number;
    readonly valueRows: number;
    readonly scale: number;
    readonly bias?: (query: tf.Tensor3D) => AttentionInputs['bias'];
  },
): tf.Tensor {
  const { heads: H, valueRows, scale } = options;
  const [G, N, rows] = qkv.shape as [number, number, number];
  const [query, key, value] = splitFree(qkv, H, (rows - valueRows) / 2 / H);
  const bias = options.bias?.(query);
  const out = attendFree({ query, key, value, scale, ...(bias && { bias }) });
  return tf.reshape(tf.transpose(tf.reshape(out, [G, H, N, valueRows / H]), [0, 2, 1, 3]), [G, N, valueRows]);
}

/** q, k and v of fused rows [B, N, H * (2 D + E)] -> [B * H, N, D] twice, [B * H, N, E]; `width` is D. */
function splitFree(qkv: tf.Tensor, heads: number, width: number): [tf.Tensor3D, tf.Tensor3D, tf.Tensor3D] {
  const [B, N, rows] = qkv.shape as [number, number, number];
  const valueWidth = rows / heads - 2 * width;
  if (valueWidth === width) return splitHeads(qkv, heads);
  const widths = [width, width, valueWidth];
  const parts = tf.split(
    qkv,
    widths.map((each) => heads * each),
    2,
  );
  return parts.map((part, i) => {
    const each = tf.transpose(tf.reshape(part, [B, N, heads, widths[i]!]), [0, 2, 1, 3]); // [B, H, N, D]
    return tf.reshape(each, [B * heads, N, widths[i]!]);
  }) as [tf.Tensor3D, tf.Tensor3D, tf.Tensor3D];
}

/** Attention whose value may be wider or narrower than query and key: zeros fill up the narrower, and change nothing. */
function attendFree(inputs: AttentionInputs & { readonly scale: number }): tf.Tensor3D {
  const { query, key, value } = inputs;
  const [width, valueWidth] = [query.shape[2]!, value.shape[2]!];
  if (width === valueWidth) return attention(inputs);
  const widest = Math.max(width, valueWidth);
  const filled = (x: tf.Tensor) => {
    const missing = widest - x.shape[2]!;
    return missing === 0
      ? x
      : tf.pad(x, [
          [0, 0],
          [0, 0],
          [0, missing],
        ]);
  };
  const out = attention({ ...inputs, query: filled(query), key: filled(key), value: filled(value) });
  return widest === valueWidth ? out : (tf.slice(out, [0, 0, 0], [-1, -1, valueWidth]) as tf.Tensor3D);
}
