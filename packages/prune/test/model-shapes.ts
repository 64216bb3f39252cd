/** Shapes of models at full size, without their values. */
export type Shapes = Record<string, { shape: number[] }>;

interface Sizes {
  width: number;
  depth: number;
  mlp: number;
}

const norm = (name: string, C: number) => ({ [`${name}.weight`]: [C], [`${name}.bias`]: [C] });
const linear = (name: string, O: number, I: number) => ({ [`${name}.weight`]: [O, I], [`${name}.bias`]: [O] });
const asShapes = (table: Record<string, number[]>): Shapes =>
  Object.fromEntries(Object.entries(table).map(([name, shape]) => [name, { shape }]));

/** A SAM's image encoder. */
export function encoderShapes(
  { width: C, depth, mlp }: Sizes,
  how: {
    heads: number;
    headWidth: number;
    grid: number;
    window: number;
    globalBlocks: readonly number[];
    prompt: number;
  },
): Shapes {
  const A = how.heads * how.headWidth;
  const blocks = Array.from({ length: depth }, (_, i) => {
    const b = `blocks.${i}`;
    const table = [2 * (how.globalBlocks.includes(i) ? how.grid : how.window) - 1, how.headWidth];
    return {
      ...norm(`${b}.norm1`, C),
      ...norm(`${b}.norm2`, C),
      ...linear(`${b}.attn.qkv`, 3 * A, C),
      ...linear(`${b}.attn.proj`, C, A),
      ...{ [`${b}.attn.rel_pos_h`]: table, [`${b}.attn.rel_pos_w`]: table },
      ...linear(`${b}.mlp.lin1`, mlp, C),
      ...linear(`${b}.mlp.lin2`, C, mlp),
    };
  });
  const all = Object.assign(
    {
      ...linear('patch_embed.proj', C, 3),
      'patch_embed.proj.weight': [C, 3, 16, 16],
      pos_embed: [1, how.grid, how.grid, C],
    },
    ...blocks,
    { 'neck.0.weight': [how.prompt, C, 1, 1], ...norm('neck.1', how.prompt) },
    { 'neck.2.weight': [how.prompt, how.prompt, 3, 3], ...norm('neck.3', how.prompt) },
  );
  return asShapes(
    Object.fromEntries(Object.entries(all).map(([name, shape]) => [`image_encoder.${name}`, shape as number[]])),
  );
}

/** DINOv2 ViT-S/14. */
export function dinoShapes({ width: C, depth, mlp }: Sizes = { width: 384, depth: 12, mlp: 1536 }): Shapes {
  const blocks = Array.from({ length: depth }, (_, i) => {
    const b = `blocks.${i}`;
    return {
      ...norm(`${b}.norm1`, C),
      ...norm(`${b}.norm2`, C),
      ...linear(`${b}.attn.qkv`, 3 * C, C),
      ...linear(`${b}.attn.proj`, C, C),
      ...{ [`${b}.ls1.gamma`]: [C], [`${b}.ls2.gamma`]: [C] },
      ...linear(`${b}.mlp.fc1`, mlp, C),
      ...linear(`${b}.mlp.fc2`, C, mlp),
    };
  });
  return asShapes(
    Object.assign(
      { cls_token: [1, 1, C], pos_embed: [1, 1370, C], mask_token: [1, C] },
      { ...linear('patch_embed.proj', C, 3), 'patch_embed.proj.weight': [C, 3, 14, 14] },
      ...blocks,
      norm('norm', C),
    ),
  );
}

/** Scores that differ from channel to channel. */
export function someScores(size: number, seed: number): Float32Array {
  return Float32Array.from({ length: size }, (_, i) => 1 + Math.sin(12.9898 * (i + 1) + 78.233 * seed) ** 2);
}
