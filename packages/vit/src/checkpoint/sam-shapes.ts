import type { Named } from '../sam/encoder.ts';

type Shape = readonly number[];

/** Widths of one block of the image encoder. */
interface BlockWidths {
  /** Rows of q and of k: heads x head. */
  inner: number;
  /** Rows of v: as many, unless it was pruned on its own. */
  value: number;
  /** Channels of a head, told by the relative positions. */
  head: number;
  mlp: number;
  /** Side of the window, patches, told by the relative positions. */
  side: number;
}

/**
 * Everything that the shapes of a SAM's weights tell. NaN where the weights that would are missing. A SAM without relative positions
 * has no `head` and `side` in any block.
 */
export interface SamWidths {
  embed: number;
  patchSize: number;
  /** Side of the grid of patches. */
  grid: number;
  blocks: BlockWidths[];
  /** Width of the embedding and the decoder. */
  prompt: number;
  maskChannels: number;
  decoderMlp: number;
  /** Inner width of the attention between tokens and image. */
  decoderCross: number;
  iouHidden: number;
}

/** Reads the widths off the shapes. Where several weights tell one, the most of them decide. */
export function readWidths(weights: Named): SamWidths {
  const at = (name: string, axis: number) => weights[name]?.shape[axis];
  const encoder = 'image_encoder';
  const layer = 'mask_decoder.transformer.layers';
  return {
    embed: most([
      at(`${encoder}.patch_embed.proj.weight`, 0),
      at(`${encoder}.pos_embed`, 3),
      at(`${encoder}.neck.0.weight`, 1),
    ]),
    patchSize: most([at(`${encoder}.patch_embed.proj.weight`, 2), at(`${encoder}.patch_embed.proj.weight`, 3)]),
    grid: most([at(`${encoder}.pos_embed`, 1), at(`${encoder}.pos_embed`, 2)]),
    blocks: Array.from({ length: countBlocks(weights) }, (_, i) => {
      const block = `${encoder}.blocks.${i}`;
      return {
        ...attentionWidths(at, block),
        head: most([at(`${block}.attn.rel_pos_h`, 1), at(`${block}.attn.rel_pos_w`, 1)]),
        mlp: most([
          at(`${block}.mlp.lin1.weight`, 0),
          at(`${block}.mlp.lin1.bias`, 0),
          at(`${block}.mlp.lin2.weight`, 1),
        ]),
        side: (most([at(`${block}.attn.rel_pos_h`, 0), at(`${block}.attn.rel_pos_w`, 0)]) + 1) / 2,
      };
    }),
    prompt: most([
      at(`${encoder}.neck.0.weight`, 0),
      at('prompt_encoder.no_mask_embed.weight', 1),
      at('mask_decoder.iou_token.weight', 1),
    ]),
    maskChannels: most([
      at('prompt_encoder.mask_downscaling.3.weight', 0),
      at('prompt_encoder.mask_downscaling.6.weight', 1),
    ]),
    decoderMlp: most([at(`${layer}.0.mlp.lin1.weight`, 0), at(`${layer}.1.mlp.lin1.weight`, 0)]),
    decoderCross: most([0, 1].map((i) => at(`${layer}.${i}.cross_attn_token_to_image.q_proj.weight`, 0))),
    iouHidden: most([0, 1].map((i) => at(`mask_decoder.iou_prediction_head.layers.${i}.weight`, 0))),
  };
}

/** Blocks of which there is any weight at all. */
function countBlocks(weights: Named): number {
  return new Set(Object.keys(weights).flatMap((name) => /^image_encoder\.blocks\.(\d+)\./.exec(name)?.[1] ?? [])).size;
}

/** The most frequent of the known values, the first of equally frequent ones; NaN of none. */
export function most(values: readonly (number | undefined)[]): number {
  const known = values.filter((value) => value !== undefined && !Number.isNaN(value));
  const counts = known.map((value) => known.filter((other) => other === value).length);
  return known[counts.indexOf(Math.max(...counts))] ?? Number.NaN;
}

/** Where rows of qkv and columns of proj agree with the relative positions, v may have a width of its own; else two of three decide. */
function attentionWidths(
  at: (name: string, axis: number) => number | undefined,
  block: string,
): { inner: number; value: number } {
  const rows = at(`${block}.attn.qkv.weight`, 0);
  const bias = at(`${block}.attn.qkv.bias`, 0);
  const value = at(`${block}.attn.proj.weight`, 1);
  const head = at(`${block}.attn.rel_pos_h`, 1);
  if (rows !== undefined && value !== undefined && head !== undefined && rows === bias && rows !== 3 * value) {
    const inner = (rows - value) / 2;
    const heads = inner / head;
    if (Number.isInteger(heads) && heads > 0 && value % heads === 0) return { inner, value };
  }
  const inner = most([third(rows), third(bias), value]);
  return { inner, value: inner };
}

const third = (rows: number | undefined) => (rows === undefined ? undefined : rows / 3);

/** Every weight of a SAM of these widths: Meta's name -> shape. */
export function samShapes(widths: SamWidths): Record<string, Shape> {
  return { ...encoderShapes(widths), ...promptShapes(widths), ...decoderShapes(widths) };
}

function encoderShapes({ embed: C, patchSize: p, grid: g, blocks, prompt: P }: SamWidths): Record<string, Shape> {
  const encoder = 'image_encoder';
  const shapes: Record<string, Shape> = {
    [`${encoder}.patch_embed.proj.weight`]: [C, 3, p, p],
    [`${encoder}.patch_embed.proj.bias`]: [C],
    [`${encoder}.pos_embed`]: [1, g, g, C],
  };
  const relative = blocks.some(({ side }) => !Number.isNaN(side));
  blocks.forEach(({ inner, value, head, mlp, side }, i) => {
    const block = `${encoder}.blocks.${i}`;
    Object.assign(
      shapes,
      norm(`${block}.norm1`, C),
      norm(`${block}.norm2`, C),
      linear(`${block}.attn.qkv`, [2 * inner + value, C]),
      linear(`${block}.attn.proj`, [C, value]),
      relative && {
        [`${block}.attn.rel_pos_h`]: [2 * side - 1, head],
        [`${block}.attn.rel_pos_w`]: [2 * side - 1, head],
      },
      linear(`${block}.mlp.lin1`, [mlp, C]),
      linear(`${block}.mlp.lin2`, [C, mlp]),
    );
  });
  return {
    ...shapes,
    [`${encoder}.neck.0.weight`]: [P, C, 1, 1],
    ...norm(`${encoder}.neck.1`, P),
    [`${encoder}.neck.2.weight`]: [P, P, 3, 3],
    ...norm(`${encoder}.neck.3`, P),
  };
}

function promptShapes({ prompt: P, maskChannels: M }: SamWidths): Record<string, Shape> {
  const prompt = 'prompt_encoder';
  return {
    [`${prompt}.pe_layer.positional_encoding_gaussian_matrix`]: [2, P / 2],
    ...Object.fromEntries([0, 1, 2, 3].map((i) => [`${prompt}.point_embeddings.${i}.weight`, [1, P]])),
    [`${prompt}.not_a_point_embed.weight`]: [1, P],
    [`${prompt}.no_mask_embed.weight`]: [1, P],
    ...convolution(`${prompt}.mask_downscaling.0`, [M / 4, 1, 2, 2], M / 4),
    ...norm(`${prompt}.mask_downscaling.1`, M / 4),
    ...convolution(`${prompt}.mask_downscaling.3`, [M, M / 4, 2, 2], M),
    ...norm(`${prompt}.mask_downscaling.4`, M),
    ...convolution(`${prompt}.mask_downscaling.6`, [P, M, 1, 1], P),
  };
}

function decoderShapes({ prompt: P, decoderMlp, decoderCross, iouHidden: I }: SamWidths): Record<string, Shape> {
  const decoder = 'mask_decoder';
  const attention = (name: string, inner: number) => ({
    ...linear(`${name}.q_proj`, [inner, P]),
    ...linear(`${name}.k_proj`, [inner, P]),
    ...linear(`${name}.v_proj`, [inner, P]),
    ...linear(`${name}.out_proj`, [P, inner]),
  });
  const layers = [0, 1].map((i) => {
    const layer = `${decoder}.transformer.layers.${i}`;
    return {
      ...attention(`${layer}.self_attn`, P),
      ...attention(`${layer}.cross_attn_token_to_image`, decoderCross),
      ...attention(`${layer}.cross_attn_image_to_token`, decoderCross),
      ...linear(`${layer}.mlp.lin1`, [decoderMlp, P]),
      ...linear(`${layer}.mlp.lin2`, [P, decoderMlp]),
      ...Object.assign({}, ...[1, 2, 3, 4].map((n) => norm(`${layer}.norm${n}`, P))),
    };
  });
  const perceptron = (name: string, [hidden, output]: [number, number]) => ({
    ...linear(`${name}.layers.0`, [hidden, P]),
    ...linear(`${name}.layers.1`, [hidden, hidden]),
    ...linear(`${name}.layers.2`, [output, hidden]),
  });
  return {
    [`${decoder}.iou_token.weight`]: [1, P],
    [`${decoder}.mask_tokens.weight`]: [4, P],
    ...layers[0],
    ...layers[1],
    ...attention(`${decoder}.transformer.final_attn_token_to_image`, decoderCross),
    ...norm(`${decoder}.transformer.norm_final_attn`, P),
    ...convolution(`${decoder}.output_upscaling.0`, [P, P / 4, 2, 2], P / 4),
    ...norm(`${decoder}.output_upscaling.1`, P / 4),
    ...convolution(`${decoder}.output_upscaling.3`, [P / 4, P / 8, 2, 2], P / 8),
    ...Object.assign(
      {},
      ...[0, 1, 2, 3].map((i) => perceptron(`${decoder}.output_hypernetworks_mlps.${i}`, [P, P / 8])),
    ),
    ...perceptron(`${decoder}.iou_prediction_head`, [I, 4]),
  };
}

function linear(name: string, [O, I]: [number, number]): Record<string, Shape> {
  return { [`${name}.weight`]: [O, I], [`${name}.bias`]: [O] };
}

function norm(name: string, C: number): Record<string, Shape> {
  return { [`${name}.weight`]: [C], [`${name}.bias`]: [C] };
}

function convolution(name: string, shape: Shape, bias: number): Record<string, Shape> {
  return { [`${name}.weight`]: shape, [`${name}.bias`]: [bias] };
}
