import { gridSize, type SamConfig } from '../sam/config.ts';
import type { Graph } from './graph.ts';
import { channelNorm, convolution, gelu, layerNorm, linear, reshape, transpose } from './layers.ts';

const encoder = 'image_encoder';

/**
 * The image encoder: pixels [B, 3, S, S] -> embedding [B, C, h, w], as `encodeImage`. Between the patch embedding and the neck the tokens of all
 * images stand one below another, [B * h * w, C], so that every linear layer is one Gemm with the weight as it is in the checkpoint.
 */
export function addEncoder(graph: Graph, config: SamConfig, pixels: string, depth: number): string {
  const g = gridSize(config);
  const [width] = graph.shapeOf(`${encoder}.patch_embed.proj.weight`) as [number];
  const strides = [config.patchSize, config.patchSize];
  const patches = convolution(graph, `${encoder}.patch_embed.proj`, pixels, { bias: true, strides });
  const grid = transpose(graph, `${encoder}.patch_embed`, patches, [0, 2, 3, 1]);
  const placed = graph.node('Add', `${encoder}.pos_embed.add`, [grid, graph.weight(`${encoder}.pos_embed`)]);
  let x = reshape(graph, `${encoder}.tokens`, placed, [-1, width]);
  for (let i = 0; i < depth; i++) {
    const side = config.globalBlocks.includes(i) ? g : config.windowSize;
    x = addBlock(graph, config, x, { name: `${encoder}.blocks.${i}`, side, width });
  }
  const image = reshape(graph, `${encoder}.grid`, x, [-1, g, g, width]);
  return addNeck(graph, transpose(graph, `${encoder}.neck`, image, [0, 3, 1, 2]));
}

/** A block on windows of side x side patches: [B * h * w, C] -> the same. */
export function addBlock(
  graph: Graph,
  config: SamConfig,
  x: string,
  { name, side, width }: { name: string; side: number; width: number },
): string {
  const g = gridSize(config);
  const normed = layerNorm(graph, `${name}.norm1`, x, config.epsilon);
  const whole = side === g;
  const windows = whole ? normed : partition(graph, `${name}.partition`, normed, { g, side, width });
  const attended = addAttention(graph, config, windows, { name: `${name}.attn`, side });
  const back = whole ? attended : unpartition(graph, `${name}.unpartition`, attended, { g, side, width });
  const afterAttention = graph.node('Add', `${name}.attn.add`, [x, back]);
  const lin1 = linear(graph, `${name}.mlp.lin1`, layerNorm(graph, `${name}.norm2`, afterAttention, config.epsilon));
  const lin2 = linear(graph, `${name}.mlp.lin2`, gelu(graph, `${name}.mlp.act`, lin1));
  return graph.node('Add', `${name}.mlp.add`, [afterAttention, lin2]);
}

/** How a grid of g x g patches is cut. */
interface Cut {
  readonly g: number;
  readonly side: number;
  readonly width: number;
}

/** [B * g * g, C] -> [B * windows * side * side, C], padded with zeros below and to the right. */
function partition(graph: Graph, name: string, x: string, { g, side, width }: Cut): string {
  const count = Math.ceil(g / side);
  const missing = count * side - g;
  let grid = reshape(graph, `${name}.grid`, x, [-1, g, g, width]);
  if (missing > 0) grid = graph.node('Pad', `${name}.pad`, [grid, graph.integers(0, 0, 0, 0, 0, missing, missing, 0)]);
  const split = reshape(graph, `${name}.split`, grid, [-1, count, side, count, side, width]);
  const windows = transpose(graph, `${name}.windows`, split, [0, 1, 3, 2, 4, 5]);
  return reshape(graph, name, windows, [-1, width]);
}

/** The inverse of `partition`. */
function unpartition(graph: Graph, name: string, x: string, { g, side, width }: Cut): string {
  const count = Math.ceil(g / side);
  const split = reshape(graph, `${name}.split`, x, [-1, count, count, side, side, width]);
  let grid = transpose(graph, `${name}.grid`, split, [0, 1, 3, 2, 4, 5]);
  if (count * side > g) {
    const padded = reshape(graph, `${name}.padded`, grid, [-1, count * side, count * side, width]);
    const [from, to, axes] = [graph.integers(0, 0), graph.integers(g, g), graph.integers(1, 2)];
    grid = graph.node('Slice', `${name}.cut`, [padded, from, to, axes]);
  }
  return reshape(graph, name, grid, [-1, width]);
}

/**
 * Multi-head attention, with decomposed relative positions where there are any: [windows * N, C] -> the same, N = side^2. As further channels of queries and keys
 * the positions would save two sums over all scores; SAM-B then took 1.1 to 1.3 times the processor time in onnxruntime-node.
 */
function addAttention(
  graph: Graph,
  config: SamConfig,
  x: string,
  { name, side: s }: { name: string; side: number },
): string {
  const H = config.heads;
  const N = s * s;
  const D = graph.shapeOf(`${name}.qkv.weight`)[0]! / 3 / H;
  const qkv = linear(graph, `${name}.qkv`, x);
  const [q, k, v] = graph.split(`${name}.split`, qkv, [`${name}.q`, `${name}.k`, `${name}.v`]) as [
    string,
    string,
    string,
  ];
  const heads = (part: string, perm: readonly number[]) =>
    transpose(graph, `${part}.heads`, reshape(graph, `${part}.split`, part, [-1, N, H, D]), perm);
  const query = heads(q, [0, 2, 1, 3]); // [windows, H, N, D]
  const key = heads(k, [0, 2, 3, 1]); // [windows, H, D, N]
  const value = heads(v, [0, 2, 1, 3]);

  const scaled = graph.node('Mul', `${name}.q.scaled`, [query, graph.scalar(config.headWidth ** -0.5)]);
  const products = graph.node('MatMul', `${name}.scores`, [scaled, key]);
  const relative = graph.has(`${name}.rel_pos_h`);
  const scores = relative ? addRelativePositions(graph, { query, products }, { name, side: s, D, H }) : products;
  const shares = graph.node('Softmax', `${name}.softmax`, [scores], { axis: -1 });
  const mixed = graph.node('MatMul', `${name}.mix`, [shares, value]);
  const merged = reshape(graph, `${name}.merge`, transpose(graph, `${name}.mix.tokens`, mixed, [0, 2, 1, 3]), [
    -1,
    H * D,
  ]);
  return linear(graph, `${name}.proj`, merged);
}

/** Adds q . R along both axes to the products [windows, H, N, N]; the query [windows, H, N, D] is not scaled. */
function addRelativePositions(
  graph: Graph,
  { query, products }: { query: string; products: string },
  { name, side: s, D, H }: { name: string; side: number; D: number; H: number },
): string {
  const places = Int32Array.from({ length: s * s }, (_, i) => Math.floor(i / s) - (i % s) + s - 1);
  const rows = graph.constant(`relative positions of ${s}`, 'I64', [s, s], places); // [p, k]
  const table = (axis: 'h' | 'w') => {
    const gathered = graph.node('Gather', `${name}.rel_pos_${axis}.gather`, [
      graph.weight(`${name}.rel_pos_${axis}`),
      rows,
    ]);
    return transpose(graph, `${name}.rel_pos_${axis}.table`, gathered, [0, 2, 1]); // [p, D, k]
  };
  const grid = reshape(graph, `${name}.q.grid`, query, [-1, s, s, D]);
  const byColumn = transpose(graph, `${name}.q.columns`, grid, [0, 2, 1, 3]);
  const height = graph.node('MatMul', `${name}.rel_pos_h.dot`, [grid, table('h')]); // [windows * H, y, x, k]
  const width = graph.node('MatMul', `${name}.rel_pos_w.dot`, [byColumn, table('w')]); // [windows * H, x, y, k]
  const upright = transpose(graph, `${name}.rel_pos_w.rows`, width, [0, 2, 1, 3]);
  const byPlace = reshape(graph, `${name}.scores.grid`, products, [-1, s, s, s, s]); // [windows * H, y, x, ky, kx]
  const tall = graph.node('Unsqueeze', `${name}.rel_pos_h.bias`, [height, graph.integers(4)]);
  const wide = graph.node('Unsqueeze', `${name}.rel_pos_w.bias`, [upright, graph.integers(3)]);
  const withHeight = graph.node('Add', `${name}.scores.rel_pos_h`, [byPlace, tall]);
  const withBoth = graph.node('Add', `${name}.scores.rel_pos_w`, [withHeight, wide]);
  return reshape(graph, `${name}.scores.flat`, withBoth, [-1, H, s * s, s * s]);
}

/** 1 x 1 and 3 x 3 convolutions, each with a channel norm: [B, C, h, w] -> [B, 256, h, w]. */
function addNeck(graph: Graph, x: string): string {
  const narrow = channelNorm(graph, `${encoder}.neck.1`, convolution(graph, `${encoder}.neck.0`, x, { bias: false }));
  const mixed = convolution(graph, `${encoder}.neck.2`, narrow, { bias: false, pads: [1, 1, 1, 1] });
  return channelNorm(graph, `${encoder}.neck.3`, mixed);
}
