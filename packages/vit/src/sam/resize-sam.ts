import { checkFields } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import type { Sam } from '../checkpoint/load-sam.ts';
import { resamplingTaps, triangle } from '../images/interpolation.ts';
import { resamplingMatrix, resizePositions } from '../plain/positions.ts';
import { gridSize, parseSamConfig } from './config.ts';

/** Patches along a side: images of 16,384 pixels with SAM's patch, for which the positions of SAM-H take 5 GiB. */
const mostPatches = 1024;

/**
 * A SAM for square images of another side, pruned or not. Smaller ones are faster and see less.
 *
 * The position embedding is interpolated bicubically with antialiasing (timm, layers/pos_embed.py: resample_abs_pos_embed_nhwc, which its
 * SAM encoders use; torch's kernel has a = -0.5 then), and the relative positions of blocks that attend globally linearly
 * (segment-anything, modeling/image_encoder.py: get_rel_pos). Windows keep theirs. Weights that stay as they are share their data with
 * the given ones; every tensor is new, and the caller's to dispose of.
 *
 * @param imageSize pixels, a multiple of the patch
 * @throws when it is not, or beyond 1024 patches; nothing is held then
 */
export function resizeSam(sam: Sam, imageSize: number): Sam {
  checkFields('resizeSam', { imageSize }, { imageSize: 'number' });
  checkFields('resizeSam', sam, { weights: 'object', config: 'object' });
  const { weights, config } = sam;
  if (!Number.isSafeInteger(imageSize) || imageSize < 1 || imageSize % config.patchSize !== 0) {
    throw new Error(
      `resizeSam: expected imageSize to be a multiple of the patch's ${config.patchSize} pixels, got ${imageSize}`,
    );
  }
  const resized = parseSamConfig({ ...config, imageSize });
  const side = gridSize(resized);
  if (side > mostPatches) {
    throw new Error(
      `resizeSam: expected imageSize of at most ${mostPatches} patches of ${config.patchSize} pixels, got ${imageSize}`,
    );
  }
  const tables = new Set(
    config.globalBlocks.flatMap((i) => ['h', 'w'].map((axis) => `image_encoder.blocks.${i}.attn.rel_pos_${axis}`)),
  );
  const resize = (name: string, weight: tf.Tensor) => {
    if (name === 'image_encoder.pos_embed') return resizeGrid(weight as tf.Tensor4D, side);
    return tables.has(name)
      ? resizeTable(name, { table: weight as tf.Tensor2D, length: 2 * side - 1 })
      : tf.clone(weight);
  };
  const made: [string, tf.Tensor][] = [];
  try {
    for (const [name, weight] of Object.entries(weights)) made.push([name, resize(name, weight)]);
  } catch (error) {
    for (const [, tensor] of made) tensor.dispose();
    throw error;
  }
  return { weights: Object.fromEntries(made), config: resized };
}

/** [1, g, g, C] -> [1, side, side, C] */
function resizeGrid(positions: tf.Tensor4D, side: number): tf.Tensor {
  expectRank('image_encoder.pos_embed', positions, 4);
  const [, g, , C] = positions.shape;
  if (g === side) return tf.clone(positions);
  return tf.tidy(() => {
    const list = tf.reshape(positions, [1, g * g, C]) as tf.Tensor3D;
    const resized = resizePositions(list, { from: [g, g], to: [side, side], antialias: true });
    return tf.reshape(resized, [1, side, side, C]);
  });
}

/** [2g - 1, D] -> [length, D] */
function resizeTable(name: string, { table, length }: { table: tf.Tensor2D; length: number }): tf.Tensor {
  expectRank(name, table, 2);
  const from = table.shape[0];
  if (from === length) return tf.clone(table);
  return tf.tidy(() => {
    const taps = resamplingTaps({ from, to: length }, { filter: triangle, antialias: false });
    return tf.matMul(resamplingMatrix(taps, from), table);
  });
}

function expectRank(name: string, tensor: tf.Tensor, rank: number): void {
  if (tensor.rank === rank) return;
  throw new Error(`resizeSam: expected '${name}' with ${rank} axes, got shape [${tensor.shape.join(', ')}]`);
}
