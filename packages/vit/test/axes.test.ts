import { dims } from '@slimsam/weights';
import { expect, it } from 'vitest';
import { bottleneckTaps, embeddingTaps, encoderAxes, encoderCosts, parseSamConfig, samPresets } from '../src/index.ts';

const { config } = samPresets['sam-vit-base'];

/** Shapes of SAM-B's image encoder at other widths: of the stream, of q (all heads) and of the MLPs. */
function shapesOf(C: number, A: number, M: number): Record<string, { shape: number[] }> {
  const norm = (name: string, width: number) => ({ [`${name}.weight`]: [width], [`${name}.bias`]: [width] });
  const linear = (name: string, O: number, I: number) => ({ [`${name}.weight`]: [O, I], [`${name}.bias`]: [O] });
  const shapes: Record<string, number[]> = {
    'patch_embed.proj.weight': [C, 3, 16, 16],
    'patch_embed.proj.bias': [C],
    pos_embed: [1, 64, 64, C],
    'neck.0.weight': [256, C, 1, 1],
    'neck.2.weight': [256, 256, 3, 3],
    ...norm('neck.1', 256),
    ...norm('neck.3', 256),
  };
  for (let i = 0; i < 12; i++) {
    const table = [config.globalBlocks.includes(i) ? 127 : 27, A / 12];
    Object.assign(shapes, {
      ...norm(`blocks.${i}.norm1`, C),
      ...norm(`blocks.${i}.norm2`, C),
      ...linear(`blocks.${i}.attn.qkv`, 3 * A, C),
      ...linear(`blocks.${i}.attn.proj`, C, A),
      ...linear(`blocks.${i}.mlp.lin1`, M, C),
      ...linear(`blocks.${i}.mlp.lin2`, C, M),
      [`blocks.${i}.attn.rel_pos_h`]: table,
      [`blocks.${i}.attn.rel_pos_w`]: table,
    });
  }
  return Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [`image_encoder.${name}`, { shape }]));
}

const sizeOf = (shape: readonly number[]) => shape.reduce((product, length) => product * length, 1);
const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);

it.each([
  { name: 'SAM-B', C: 768, A: 768, M: 3072, parameters: 89_670_912, linear: 368.704, reference: 368.859, all: 483.585 },
  {
    name: 'uniform SlimSAM-50',
    C: 384,
    A: 384,
    M: 1536,
    parameters: 23_897_216,
    linear: 94.793,
    reference: 94.87,
    all: 152.234,
  },
  {
    name: 'uniform SlimSAM-77',
    C: 168,
    A: 168,
    M: 696,
    parameters: 5_658_968,
    linear: 20.89,
    reference: 20.925,
    all: 46.02,
  },
])('counts the MACs and parameters of $name', ({ C, A, M, parameters, linear, reference, all }) => {
  const shapes = shapesOf(C, A, M);
  expect(sum(Object.values(shapes).map(({ shape }) => sizeOf(shape)))).toBe(parameters);
  const costs = encoderCosts(shapes, config);
  const macs = sum(Object.entries(costs.applications).map(([name, times]) => times * sizeOf(shapes[name]!.shape)));
  expect(macs / 1e9).toBeCloseTo(linear, 3);
  // the reference's counter adds one for each element after GELU, the patch embedding's bias at each position and others' once
  const extras = 12 * 4096 * M + 4096 * C + 12 * (3 * A + C + M + C);
  expect((macs + extras) / 1e9).toBeCloseTo(reference, 3);
  const products = costs.attention.map(
    ({ qkv, windows, tokens }) => 2 * windows * tokens ** 2 * (shapes[qkv]!.shape[0]! / 3),
  );
  expect((macs + sum(products)) / 1e9).toBeCloseTo(all, 3);
});

it('lists every axis that a dimension is', () => {
  const shapes = shapesOf(168, 168, 696);
  const found = dims(encoderAxes(shapes, config), shapes);
  expect(found.size).toBe(1 + 12 * 3);
  expect(found.get('blocks.3.heads')?.size).toBe(12);
  expect(found.get('embed')?.size).toBe(168);
  expect(found.get('blocks.3.head')?.size).toBe(14);
  expect(found.get('blocks.11.mlp')?.size).toBe(696);
  const withEmbed = Object.entries(shapes).filter(
    ([name, { shape }]) => !/neck.[123]|rel_pos|qkv.bias|lin1.bias/.test(name) && shape.includes(168),
  );
  expect(found.get('embed')?.members).toHaveLength(withEmbed.length);
});

it('names the taps of both stages', () => {
  const shapes = shapesOf(168, 168, 696);
  const taps = bottleneckTaps(shapes, config);
  expect(taps.globalQkv).toEqual([2, 5, 8, 11].map((i) => `blocks.${i}.attn.qkv`));
  expect(taps.windowQkv).toHaveLength(8);
  expect(taps.mlpHidden).toHaveLength(12);
  expect(embeddingTaps(shapes, config)).toHaveLength(25);
});

it('names wrong and unknown fields of a config', () => {
  expect(() => parseSamConfig({ ...config, heads: 0, extra: 1 })).toThrow(/heads.*extra/);
  expect(() => parseSamConfig({ ...config, imageSize: 1000 })).toThrow('a multiple of patchSize, got 1000 and 16');
});
