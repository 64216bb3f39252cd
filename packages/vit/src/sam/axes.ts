import { type Axes, type Costs, linear } from '@slimsam/weights';
import { gridSize, type SamConfig } from './config.ts';
import { encoderDepth, hasRelativePositions, type Named } from './encoder.ts';

/**
 * The axes of every encoder weight. Dimensions: `embed`, the width of the residual stream; in block i `blocks.i.head`, the channels
 * of a head (the same ones in every head, and in q, k and v), and `blocks.i.mlp`, the hidden width of the MLP.
 */
export function encoderAxes(weights: Named, config: SamConfig): Axes {
  const encoder = 'image_encoder';
  const axes: Record<string, Axes[string]> = {
    [`${encoder}.patch_embed.proj.weight`]: ['embed', null, null, null],
    [`${encoder}.patch_embed.proj.bias`]: ['embed'],
    [`${encoder}.pos_embed`]: [null, null, null, 'embed'],
    [`${encoder}.neck.0.weight`]: [null, 'embed', null, null],
  };
  const relative = hasRelativePositions(weights);
  for (let i = 0; i < encoderDepth(weights); i++) {
    const block = `${encoder}.blocks.${i}`;
    const head = `blocks.${i}.head`;
    const mlp = `blocks.${i}.mlp`;
    const table = [null, head];
    Object.assign(axes, {
      ...linear(`${block}.attn.qkv`, { stacked: [1, 2, 3].map(() => [config.heads, head]) }, 'embed'),
      ...linear(`${block}.attn.proj`, 'embed', [config.heads, head]),
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

/** How often the encoder applies each matrix for one image, and its attentions: what MACs are counted from. */
export function encoderCosts(weights: Named, config: SamConfig): Costs {
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
