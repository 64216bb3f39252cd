import { type Axes, type Axis, type Costs, checkFields, linear } from '@slimsam/weights';
import type { Named } from '../sam/encoder.ts';
import type { VitConfig } from './config.ts';
import { patchGrid, vitDepth } from './features.ts';

/**
 * The axes of every weight of a plain ViT. Dimensions as `encoderAxes`: `embed`, the width of the residual stream and of the features;
 * in block i `blocks.i.head`, the channels of a head (the same ones in every head, and in q, k and v), and `blocks.i.mlp`, the hidden
 * width of the MLP (with a SwiGLU also its gate's).
 *
 * Weights that features do not depend on (`head`, `pooler.dense`, `mask_token`) are in the table, so that they are pruned along; a
 * loss on features gives no gradient of them, so leave them out of `importance`'s weights.
 */
export function vitAxes(weights: Named, config: VitConfig, options: { readonly widths?: 'tied' | 'free' } = {}): Axes {
  checkFields('vitAxes', { weights, config, options }, { weights: 'object', config: 'object', options: 'object?' });
  const layerNorm = (name: string): Axes => ({ [`${name}.weight`]: ['embed'], [`${name}.bias`]: ['embed'] });
  const rows = (name: string) => weights[`${name}.weight`]?.shape[0];
  const columns = (name: string) => weights[`${name}.weight`]?.shape[1] ?? Number.NaN;
  const read = (axis: Axis) => ('projection.weight' in weights ? null : axis); // its features keep their width
  const axes: Record<string, readonly Axis[]> = {
    'patch_embed.proj.weight': ['embed', null, null, null],
    'patch_embed.proj.bias': ['embed'],
    cls_token: [null, null, 'embed'],
    register_tokens: [null, null, 'embed'],
    pos_embed: [null, null, 'embed'],
    mask_token: [...(weights.mask_token?.shape.slice(1).map(() => null) ?? []), 'embed'],
    ...layerNorm('norm_pre'),
    ...layerNorm('norm'),
    ...linear('projection', null, 'embed'),
    ...linear('head', null, read(doubled('embed', columns('head') === 2 * columns('blocks.0.mlp.fc1')))),
    ...linear('pooler.dense', null, read('embed')),
  };
  for (let i = 0; i < vitDepth(weights); i++) {
    const block = `blocks.${i}`;
    const tied = (options.widths ?? (isTied(weights) ? 'tied' : 'free')) === 'tied';
    const query = [config.heads, `${block}.${tied ? 'head' : 'qk'}`];
    const value = [config.heads, `${block}.${tied ? 'head' : 'v'}`];
    const mlp = `${block}.mlp`;
    Object.assign(
      axes,
      layerNorm(`${block}.norm1`),
      layerNorm(`${block}.norm2`),
      linear(`${block}.attn.qkv`, { stacked: [query, query, value] }, 'embed'),
      linear(`${block}.attn.proj`, 'embed', value),
      linear(`${block}.mlp.fc1`, doubled(mlp, rows(`${block}.mlp.fc1`) === 2 * columns(`${block}.mlp.fc2`)), 'embed'),
      linear(`${block}.mlp.fc2`, 'embed', mlp),
      { [`${block}.ls1.gamma`]: ['embed'], [`${block}.ls2.gamma`]: ['embed'] },
    );
  }
  return Object.fromEntries(Object.entries(axes).filter(([name]) => name in weights));
}

/** Whether q, k and v are equally wide in every block. */
function isTied(weights: Named): boolean {
  return Array.from({ length: vitDepth(weights) }, (_, i) => `blocks.${i}.attn`).every((name) => {
    const rows = weights[`${name}.qkv.weight`]?.shape[0];
    const value = weights[`${name}.proj.weight`]?.shape[1];
    return rows === undefined || value === undefined || rows === 3 * value;
  });
}

/** A dimension, or twice it one after the other. */
function doubled(dimension: string, twice: boolean): Axis {
  return twice ? { stacked: [[dimension], [dimension]] } : dimension;
}

/**
 * How often `vitFeatures` applies each matrix for one image, and its attentions: what MACs are counted from.
 *
 * @param options.imageSize height and width of the image, pixels; the config's unless given
 */
export function vitCosts(
  weights: Named,
  config: VitConfig,
  options: { readonly imageSize?: readonly [height: number, width: number] } = {},
): Costs {
  checkFields('vitCosts', { weights, options }, { weights: 'object', options: 'object?' });
  checkFields('vitCosts', config, { imageSize: 'list', heads: 'number' });
  const [h, w] = patchGrid(weights, [1, 3, ...(options.imageSize ?? config.imageSize)]);
  const tokens = 1 + (weights.register_tokens?.shape[1] ?? 0) + h * w;
  const blocks = Array.from({ length: vitDepth(weights) }, (_, i) => `blocks.${i}`);
  const matrices = ['attn.qkv', 'attn.proj', 'mlp.fc1', 'mlp.fc2'];
  return {
    applications: {
      'patch_embed.proj.weight': h * w,
      ...('projection.weight' in weights && { 'projection.weight': tokens }),
      ...Object.fromEntries(
        blocks.flatMap((block) => matrices.map((name) => [`${block}.${name}.weight`, tokens] as const)),
      ),
    },
    activations: Object.fromEntries(blocks.map((block) => [`${block}.mlp.fc1.weight`, tokens])),
    biases: Object.fromEntries(
      [
        ['patch_embed.proj', h * w] as const,
        ...blocks.flatMap((b) => matrices.map((name) => [`${b}.${name}`, 1] as const)),
      ]
        .map(([name, times]) => [`${name}.bias`, times] as const)
        .filter(([name]) => name in weights),
    ),
    attention: blocks.map((block) => ({
      qkv: `${block}.attn.qkv.weight`,
      proj: `${block}.attn.proj.weight`,
      windows: 1,
      tokens,
    })),
  };
}

/** What the last axis of each of `vitFeatures`' taps is. */
export function vitTapAxes(weights: Named, config: VitConfig): Readonly<Record<string, Axis>> {
  checkFields('vitTapAxes', { weights, config }, { weights: 'object', config: 'object' });
  const axes = vitAxes(weights, config);
  const blocks = Array.from({ length: vitDepth(weights) }, (_, i): Record<string, Axis> => {
    const block = `blocks.${i}`;
    return {
      [`${block}.attn.qkv`]: axes[`${block}.attn.qkv.weight`]![0]!,
      [`${block}.attn`]: 'embed',
      [`${block}.mlp.hidden`]: axes[`${block}.mlp.fc2.weight`]![1]!,
      [block]: 'embed',
    };
  });
  return Object.assign({ patch_embed: 'embed' }, ...blocks);
}
