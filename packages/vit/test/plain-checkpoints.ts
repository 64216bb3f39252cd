import { type RawTensor, serializeSafetensors } from '@slimsam/weights';

/** Sizes of a ViT whose checkpoint is made up under its real names. */
export interface Sizes {
  width: number;
  depth: number;
  heads: number;
  mlp: number;
  patch: number;
  /** Rows and columns of positions. */
  grid: [number, number];
  registers?: number;
  classes?: number;
}

export const tiny: Sizes = { width: 24, depth: 2, heads: 3, mlp: 40, patch: 4, grid: [3, 3], registers: 2, classes: 5 };

/** ViT-Tiny, DINOv2-small and CLIP's ViT-B/32 as published. */
export const tinyVit: Sizes = { width: 192, depth: 12, heads: 3, mlp: 768, patch: 16, grid: [14, 14], classes: 1000 };
export const dinov2Small: Sizes = {
  width: 384,
  depth: 12,
  heads: 6,
  mlp: 1536,
  patch: 14,
  grid: [37, 37],
  registers: 4,
};
export const clipB32: Sizes = { width: 768, depth: 12, heads: 12, mlp: 3072, patch: 32, grid: [7, 7] };

export type Shapes = Record<string, number[]>;

const linear = (name: string, O: number, I: number): Shapes => ({ [`${name}.weight`]: [O, I], [`${name}.bias`]: [O] });
const norm = (name: string, C: number): Shapes => ({ [`${name}.weight`]: [C], [`${name}.bias`]: [C] });
const blocks = (depth: number, block: (i: number) => Shapes): Shapes =>
  Object.assign({}, ...Array.from({ length: depth }, (_, i) => block(i)));
const prefixed = (prefix: string, shapes: Shapes): Shapes =>
  Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [prefix + name, shape]));

/** timm's VisionTransformer; Meta's DINOv2 is written in the same manner. */
function vision(sizes: Sizes, parts: { positions: number; layerScale?: boolean; swiglu?: boolean }): Shapes {
  const { width: C, depth, mlp, patch: p } = sizes;
  return {
    cls_token: [1, 1, C],
    pos_embed: [1, parts.positions, C],
    'patch_embed.proj.weight': [C, 3, p, p],
    'patch_embed.proj.bias': [C],
    ...blocks(depth, (i) => ({
      ...norm(`blocks.${i}.norm1`, C),
      ...linear(`blocks.${i}.attn.qkv`, 3 * C, C),
      ...linear(`blocks.${i}.attn.proj`, C, C),
      ...(parts.layerScale && { [`blocks.${i}.ls1.gamma`]: [C], [`blocks.${i}.ls2.gamma`]: [C] }),
      ...norm(`blocks.${i}.norm2`, C),
      ...(parts.swiglu
        ? { ...linear(`blocks.${i}.mlp.w12`, 2 * mlp, C), ...linear(`blocks.${i}.mlp.w3`, C, mlp) }
        : { ...linear(`blocks.${i}.mlp.fc1`, mlp, C), ...linear(`blocks.${i}.mlp.fc2`, C, mlp) }),
    })),
    ...norm('norm', C),
  };
}

/** What transformers' ViT and DINOv2 have in common. */
function transformersVit({ width: C, patch: p, grid, depth }: Sizes, rest: (layer: string) => Shapes): Shapes {
  return {
    'embeddings.cls_token': [1, 1, C],
    'embeddings.position_embeddings': [1, 1 + grid[0] * grid[1], C],
    'embeddings.patch_embeddings.projection.weight': [C, 3, p, p],
    'embeddings.patch_embeddings.projection.bias': [C],
    ...blocks(depth, (i) => ({
      ...linear(`encoder.layer.${i}.attention.attention.query`, C, C),
      ...linear(`encoder.layer.${i}.attention.attention.key`, C, C),
      ...linear(`encoder.layer.${i}.attention.attention.value`, C, C),
      ...linear(`encoder.layer.${i}.attention.output.dense`, C, C),
      ...rest(`encoder.layer.${i}`),
    })),
    ...norm('layernorm', C),
  };
}

function transformersDinov2(sizes: Sizes, { swiglu = false } = {}): Shapes {
  const { width: C, mlp } = sizes;
  return {
    'embeddings.mask_token': [1, C],
    ...transformersVit(sizes, (layer) => ({
      ...norm(`${layer}.norm1`, C),
      [`${layer}.layer_scale1.lambda1`]: [C],
      ...norm(`${layer}.norm2`, C),
      ...(swiglu
        ? { ...linear(`${layer}.mlp.weights_in`, 2 * mlp, C), ...linear(`${layer}.mlp.weights_out`, C, mlp) }
        : { ...linear(`${layer}.mlp.fc1`, mlp, C), ...linear(`${layer}.mlp.fc2`, C, mlp) }),
      [`${layer}.layer_scale2.lambda1`]: [C],
    })),
  };
}

/** Names and shapes of the checkpoints, by their classes. */
export const checkpoints: Readonly<Record<string, (sizes: Sizes) => Shapes>> = {
  'timm ViT': (sizes) => ({
    ...vision(sizes, { positions: 1 + sizes.grid[0] * sizes.grid[1] }),
    ...linear('head', sizes.classes!, sizes.width),
  }),
  'timm CLIP': (sizes) => ({
    ...Object.fromEntries(
      Object.entries(checkpoints['timm ViT']!(sizes)).filter(([name]) => !/^(patch_embed.proj|head).bias$/.test(name)),
    ),
    ...norm('norm_pre', sizes.width),
  }),
  'timm DINOv2 with registers': (sizes) => ({
    ...vision(sizes, { positions: sizes.grid[0] * sizes.grid[1], layerScale: true }),
    reg_token: [1, sizes.registers!, sizes.width],
  }),
  'Meta DINOv2': (sizes) => ({
    ...vision(sizes, { positions: 1 + sizes.grid[0] * sizes.grid[1], layerScale: true }),
    mask_token: [1, sizes.width],
  }),
  'Meta DINOv2 with registers': (sizes) => ({
    ...checkpoints['Meta DINOv2']!(sizes),
    register_tokens: [1, sizes.registers!, sizes.width],
  }),
  'Meta DINOv2 giant': (sizes) => ({
    ...vision(sizes, { positions: 1 + sizes.grid[0] * sizes.grid[1], layerScale: true, swiglu: true }),
    mask_token: [1, sizes.width],
  }),
  ViTModel: (sizes) => ({
    ...transformersVit(sizes, (layer) => ({
      ...norm(`${layer}.layernorm_before`, sizes.width),
      ...norm(`${layer}.layernorm_after`, sizes.width),
      ...linear(`${layer}.intermediate.dense`, sizes.mlp, sizes.width),
      ...linear(`${layer}.output.dense`, sizes.width, sizes.mlp),
    })),
    ...linear('pooler.dense', sizes.width, sizes.width),
  }),
  ViTForImageClassification: (sizes) => ({
    ...prefixed(
      'vit.',
      Object.fromEntries(Object.entries(checkpoints.ViTModel!(sizes)).filter(([name]) => !name.startsWith('pooler'))),
    ),
    ...linear('classifier', sizes.classes!, sizes.width),
  }),
  Dinov2Model: (sizes) => transformersDinov2(sizes),
  'Dinov2Model giant': (sizes) => transformersDinov2(sizes, { swiglu: true }),
  Dinov2ForImageClassification: (sizes) => ({
    ...prefixed('dinov2.', transformersDinov2(sizes)),
    ...linear('classifier', sizes.classes!, 2 * sizes.width),
  }),
  Dinov2WithRegistersModel: (sizes) => ({
    ...transformersDinov2(sizes),
    'embeddings.register_tokens': [1, sizes.registers!, sizes.width],
  }),
  CLIPVisionModel: ({ width: C, depth, mlp, patch: p, grid }) =>
    prefixed('vision_model.', {
      'embeddings.class_embedding': [C],
      'embeddings.patch_embedding.weight': [C, 3, p, p],
      'embeddings.position_embedding.weight': [1 + grid[0] * grid[1], C],
      ...norm('pre_layrnorm', C),
      ...blocks(depth, (i) => ({
        ...linear(`encoder.layers.${i}.self_attn.k_proj`, C, C),
        ...linear(`encoder.layers.${i}.self_attn.v_proj`, C, C),
        ...linear(`encoder.layers.${i}.self_attn.q_proj`, C, C),
        ...linear(`encoder.layers.${i}.self_attn.out_proj`, C, C),
        ...norm(`encoder.layers.${i}.layer_norm1`, C),
        ...linear(`encoder.layers.${i}.mlp.fc1`, mlp, C),
        ...linear(`encoder.layers.${i}.mlp.fc2`, C, mlp),
        ...norm(`encoder.layers.${i}.layer_norm2`, C),
      })),
      ...norm('post_layernorm', C),
    }),
  CLIPModel: (sizes) => ({
    logit_scale: [],
    'text_model.embeddings.token_embedding.weight': [7, 6],
    'text_model.encoder.layers.0.self_attn.q_proj.weight': [6, 6],
    'text_projection.weight': [4, 6],
    ...checkpoints.CLIPVisionModel!(sizes),
    'visual_projection.weight': [4, sizes.width],
  }),
};

/** Seeded numbers in [-1, 1) of about 24 bits (mulberry32). */
function randomOf(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 31 - 1;
  };
}

/** Seeded values: norms around 1, matrices that keep the size of what they multiply, all else small but not zero. */
export function randomTensors(shapes: Shapes, seed = 1): Record<string, RawTensor> {
  const random = randomOf(seed);
  const entries = Object.entries(shapes).map(([name, shape]) => {
    const size = shape.reduce((product, length) => product * length, 1);
    const isScale = (/\.weight$/.test(name) && shape.length === 1) || /gamma|lambda1/.test(name);
    const isMatrix = shape.length >= 2 && /\.weight$/.test(name) && !/position_embedding/.test(name);
    const spread = isMatrix ? 1.7 / Math.sqrt(size / shape[0]!) : 0.5;
    const data = new Float32Array(size);
    for (let i = 0; i < size; i++) data[i] = (isScale ? 1 : 0) + spread * random(); // millions of them
    return [name, { dtype: 'F32', shape, data }] as const;
  });
  return Object.fromEntries(entries);
}

/** A checkpoint's file. */
export function fileOf(shapes: Shapes, seed = 1): Uint8Array {
  return serializeSafetensors(randomTensors(shapes, seed));
}

/** An image [1, 3, H, W]. */
export function imageValues(height: number, width: number, seed = 9): Float32Array {
  const random = randomOf(seed);
  return Float32Array.from({ length: 3 * height * width }, () => 2 * random());
}
