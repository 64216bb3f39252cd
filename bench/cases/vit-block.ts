import { samPresets } from '@slimsam/vit';
import { scope } from '@slimsam/weights';
import { type Case, values } from '../../packages/tensor-webgpu/bench/cases/case.ts';
import { addBlock } from '../../packages/vit/src/onnx/encoder-graph.ts';
import type { Graph } from '../../packages/vit/src/onnx/graph.ts';
import { reshape } from '../../packages/vit/src/onnx/layers.ts';
import { block } from '../../packages/vit/src/sam/encoder.ts';
import { type Block, blockOutput } from './vit-block-float64.ts';
import { jaxBlock } from './vit-block-jax.ts';

/** SAM-B's sizes, with random weights. */
export const { config: samBConfig, sizes: samB } = samPresets['sam-vit-base'];

const side = samBConfig.imageSize / samBConfig.patchSize;
const { heads, headWidth, windowSize } = samBConfig;
const looked = [
  [0, 0],
  [31, 47],
] as const; // tokens whose values are compared; the gradient of the output is zero elsewhere

/** Shapes of one block's weights by their names. */
function blockWeights(isGlobal: boolean): Record<string, readonly number[]> {
  const { width: C, mlpWidth } = samB;
  const inner = heads * headWidth;
  const table = [2 * (isGlobal ? side : windowSize) - 1, headWidth];
  const linear = (name: string, O: number, I: number) => ({ [`${name}.weight`]: [O, I], [`${name}.bias`]: [O] });
  const norm = (name: string) => ({ [`${name}.weight`]: [C], [`${name}.bias`]: [C] });
  return {
    ...norm('norm1'),
    ...linear('attn.qkv', 3 * inner, C),
    'attn.rel_pos_h': table,
    'attn.rel_pos_w': table,
    ...linear('attn.proj', C, inner),
    ...norm('norm2'),
    ...linear('mlp.lin1', mlpWidth, C),
    ...linear('mlp.lin2', C, mlpWidth),
  };
}

/** A block of ViT-B on the 64 x 64 tokens of an image of 1024. */
function vitBlock(name: string, isGlobal: boolean): Case {
  const C = samB.width;
  const config = { ...samBConfig, globalBlocks: isGlobal ? [0] : [] };
  const shapes = blockWeights(isGlobal);
  const names = Object.keys(shapes);
  const windows = isGlobal ? 1 : Math.ceil(side / windowSize) ** 2;
  const tokens = isGlobal ? side * side : windowSize * windowSize;
  const matrices = 2 * C * (windows * tokens * 4 * C + side * side * 2 * samB.mlpWidth);
  const largest = windows * heads * tokens * tokens;
  const blockOf = (inputs: readonly Float64Array[]): Block => ({
    side,
    size: isGlobal ? side : windowSize,
    heads,
    headWidth,
    x: inputs[0]!,
    weights: Object.fromEntries(names.map((weight, i) => [weight, inputs[i + 1]!])),
  });
  return {
    name,
    family: 'attention',
    flops: matrices + 4 * windows * heads * tokens * tokens * headWidth,
    largest: Math.max(largest, windows * tokens * samB.mlpWidth),
    make: () => {
      const spread = (weight: string, shape: readonly number[]) => {
        if (shape.length === 2) return weight.includes('rel_pos') ? 0.1 : Math.sqrt(1 / shape[1]!);
        return weight.startsWith('norm') ? 1 : 0.1;
      };
      const inputs = [
        values([1, side, side, C], 1),
        ...names.map((weight, i) => values(shapes[weight]!, i + 2, spread(weight, shapes[weight]!))),
      ];
      const dy = values([1, side, side, C], 99);
      const kept = new Set(looked.map(([y, x]) => y * side + x));
      dy.data.forEach((_, i) => {
        if (!kept.has(Math.floor(i / C))) dy.data[i] = 0;
      });
      return { inputs, dy };
    },
    compute: (x, ...list) => {
      const weights = Object.fromEntries(list.map((weight, i) => [`block.${names[i]}`, weight]));
      return block(scope(weights, 'block'), config, x!, { index: 0, tap: () => {} });
    },
    onnx(graph, [x, ...weights]) {
      const bound: Graph = {
        ...graph,
        has: (weight) => weight.slice('block.'.length) in shapes,
        shapeOf: (weight) => shapes[weight.slice('block.'.length)]!,
        weight(weight) {
          const { shape, data } = weights[names.indexOf(weight.slice('block.'.length))]!;
          return graph.constant(weight, 'F32', shape, data);
        },
      };
      const tokens = reshape(bound, 'tokens', graph.input('x0', x!.shape), [-1, C]);
      const block = { name: 'block', side: isGlobal ? side : windowSize, width: C };
      return reshape(bound, 'grid', addBlock(bound, config, tokens, block), [1, side, side, C]);
    },
    jax: (jax, x, ...list) =>
      jaxBlock(
        jax,
        x!,
        { side, size: isGlobal ? side : windowSize, heads, headWidth },
        (weight) => list[names.indexOf(weight)]!.ref,
      ),
    error(pass, results, { inputs, dy }) {
      const exact = inputs.map(({ data }) => Float64Array.from(data));
      if (pass === 'forward') {
        const expected = blockOutput(blockOf(exact), looked);
        let [difference, size] = [0, 0];
        looked.forEach(([y, x], i) => {
          expected[i]!.forEach((value, c) => {
            difference = Math.max(difference, Math.abs(value - results[0]![(y * side + x) * C + c]!));
            size = Math.max(size, Math.abs(value));
          });
        });
        return difference / size;
      }
      // the derivative along one direction in all inputs, by central differences in float64
      const directions = inputs.map(({ shape }, i) => values(shape, 1000 + i, Math.sqrt(1 / exact[i]!.length)).data);
      const loss = (step: number) => {
        const moved = exact.map((list, i) => list.map((value, k) => value + step * directions[i]![k]!));
        const output = blockOutput(blockOf(moved), looked);
        return looked.reduce(
          (sum, [y, x], i) => output[i]!.reduce((all, value, c) => all + value * dy.data[(y * side + x) * C + c]!, sum),
          0,
        );
      };
      const expected = (loss(1e-4) - loss(-1e-4)) / 2e-4;
      const own = results.map((list, i) => list.reduce((sum, value, k) => sum + value * directions[i]![k]!, 0));
      const scale = Math.max(...own.map(Math.abs));
      return Math.abs(own.reduce((a, b) => a + b) - expected) / scale;
    },
  };
}

export const blockCases: readonly Case[] = [
  vitBlock('ViT-B block, windows', false),
  vitBlock('ViT-B block, global', true),
];
