import { type Axes, type Axis, type Costs, checkFields, linear } from '@slimsam/weights';
import { gridSize, type SamConfig } from './config.ts';
import { encoderDepth, hasRelativePositions, type Named } from './encoder.ts';

/**
 * The axes of every encoder weight. Dimensions: `embed`, the width of the residual stream; in block i `blocks.i.heads`, whole heads
 * (not without relative positions, whose width tells how many there are), `blocks.i.head`, the channels of a head (the same ones in every head, and in q, k and v), and `blocks.i.mlp`, the hidden width of the MLP.
 *
 * @param options.widths 'free': instead of `blocks.i.head` there are `blocks.i.qk`, the channels of q and k, and `blocks.i.v`, those of v.
 *   Unless given, 'tied' where q, k and v of all blocks are equally wide
 */
export function encoderAxes(
  weights: Named,
  config: SamConfig,
  options: { readonly widths?: 'tied' | 'free' } = {},
): Axes {
  checkFields('encoderAxes', { weights, config }, { weights: 'object', config: 'object' });
  const encoder = 'image_encoder';
  const relative = hasRelativePositions(weights);
  const blocks = Array.from({ length: encoderDepth(weights) }, (_, i) => `${encoder}.blocks.${i}`);
  const { widths = blocks.every((block) => isTied(weights, block)) ? 'tied' : 'free' } = options;
  const axes: Record<string, Axes[string]> = {
    [`${encoder}.patch_embed.proj.weight`]: ['embed', null, null, null],
    [`${encoder}.patch_embed.proj.bias`]: ['embed'],
    [`${encoder}.pos_embed`]: [null, null, null, 'embed'],
    [`${encoder}.neck.0.weight`]: [null, 'embed', null, null],
  };
  for (const [i, block] of blocks.entries()) {
    const [qk, v] = widths === 'tied' ? ['head', 'head'] : ['qk', 'v'];
    const heads = relative ? `blocks.${i}.heads` : config.heads;
    const query = [heads, `blocks.${i}.${qk}`];
    const value = [heads, `blocks.${i}.${v}`];
    const mlp = `blocks.${i}.mlp`;
    const table = [null, `blocks.${i}.${qk}`];
    Object.assign(axes, {
      ...linear(`${block}.attn.qkv`, { stacked: [query, query, value] }, 'embed'),
      ...linear(`${block}.attn.proj`, 'embed', value),
      ...linear(`${block}.mlp.lin1`, mlp, 'embed'),
      ...linear(`${block}.mlp.lin2`, 'embed', mlp),
      ...(relative && { [`${block}.attn.rel_pos_h`]: table, [`${block}.attn.rel_pos_w`]: table }),
      [`${block}.norm1.weight`]: ['embed'],
      [`${block}.norm1.bias`]: ['embed'],
      [`${block}.norm2.weight`]: ['embed'],
      [`${block}.norm2.bias`]: ['embed'],
    });
  }
  return axes;
}

/** Whether q, k and v of a block are equally wide. */
function isTied(weights: Named, block: string): boolean {
  const rows = weights[`${block}.attn.qkv.weight`]?.shape[0];
  const value = weights[`${block}.attn.proj.weight`]?.shape[1];
  return rows === undefined || value === undefined || rows === 3 * value;
}

/** How often the encoder applies each matrix for one image, and its attentions: what MACs are counted from. */
export function encoderCosts(weights: Named, config: SamConfig): Costs {
  checkFields('encoderCosts', { weights, config }, { weights: 'object', config: 'object' });
  const g = gridSize(config);
  const cells = g * g;
  const encoder = 'image_encoder';
  const applications: Record<string, number> = {
    [`${encoder}.patch_embed.proj.weight`]: cells,
    [`${encoder}.neck.0.weight`]: cells,
    [`${encoder}.neck.2.weight`]: cells,
  };
  const activations: Record<string, number> = {};
  const biases: Record<string, number> = { [`${encoder}.patch_embed.proj.bias`]: cells };
  const attention: Costs['attention'][number][] = [];
  for (let i = 0; i < encoderDepth(weights); i++) {
    const block = `${encoder}.blocks.${i}`;
    const side = config.globalBlocks.includes(i) ? g : config.windowSize;
    const windows = Math.ceil(g / side) ** 2;
    const tokens = side * side;
    applications[`${block}.attn.qkv.weight`] = windows * tokens; // padded windows are computed too
    applications[`${block}.attn.proj.weight`] = windows * tokens;
    applications[`${block}.mlp.lin1.weight`] = cells;
    applications[`${block}.mlp.lin2.weight`] = cells;
    attention.push({ qkv: `${block}.attn.qkv.weight`, proj: `${block}.attn.proj.weight`, windows, tokens });
    activations[`${block}.mlp.lin1.weight`] = cells;
    for (const name of ['attn.qkv', 'attn.proj', 'mlp.lin1', 'mlp.lin2']) biases[`${block}.${name}.bias`] = 1;
  }
  return { applications, activations, biases, attention };
}

/** What the last axis of each of `encodeImage`'s taps is. */
export function encoderTapAxes(weights: Named, config: SamConfig): Readonly<Record<string, Axis>> {
  const axes = encoderAxes(weights, config);
  const blocks = Array.from({ length: encoderDepth(weights) }, (_, i): Record<string, Axis> => {
    const block = `image_encoder.blocks.${i}`;
    return {
      [`blocks.${i}.attn.qkv`]: axes[`${block}.attn.qkv.weight`]![0]!,
      [`blocks.${i}.attn`]: 'embed',
      [`blocks.${i}.mlp.hidden`]: axes[`${block}.mlp.lin1.weight`]![0]!,
      [`blocks.${i}`]: 'embed',
    };
  });
  return Object.assign({ patch_embed: 'embed' }, ...blocks);
}
