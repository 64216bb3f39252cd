import { gridSize, type SamConfig } from '../sam/config.ts';
import type { Graph } from './graph.ts';
import {
  channelNorm,
  gelu,
  layerNorm,
  linear,
  perceptron,
  reshape,
  shape,
  sizes,
  transpose,
  upscale2x,
} from './layers.ts';

const decoder = 'mask_decoder';
const transformer = `${decoder}.transformer`;
const tokenEpsilon = 1e-5; // torch.nn.LayerNorm's own; the 2-D norms have 1e-6

/** What the decoder reads, for Z prompts. */
export interface DecoderInputs {
  /** [Z * h * w, C], the embedding with the dense prompt */
  readonly image: string;
  /** [Z * h * w, C], the positional encoding of each cell */
  readonly places: string;
  /** [Z, P, C] */
  readonly sparse: string;
}

/** Masks [Z, M, 4h, 4w], and their predicted IoU [Z, M]. */
export interface DecoderOutputs {
  readonly masks: string;
  readonly scores: string;
}

/**
 * The mask decoder, as `decodeMasks`, for the masks from `first` on (0 is the single one, 1 to 3 are those of an ambiguous prompt).
 * Tokens of all prompts stand one below another, so that every linear layer is one Gemm.
 */
export function addDecoder(
  graph: Graph,
  config: SamConfig,
  inputs: DecoderInputs,
  { first }: { first: 0 | 1 },
): DecoderOutputs {
  const [M, C] = graph.shapeOf(`${decoder}.mask_tokens.weight`) as [number, number];
  const prompts = sizes(graph, 'prompts', inputs.sparse, [0, 1]); // [Z]
  const learned = [graph.weight(`${decoder}.iou_token.weight`), graph.weight(`${decoder}.mask_tokens.weight`)];
  const own = graph.node('Concat', `${decoder}.output_tokens`, learned, { axis: 0 }); // [1 + M, C]
  const forEach = graph.node('Expand', `${decoder}.output_tokens.expand`, [
    own,
    shape(graph, `${decoder}.output_tokens.shape`, [prompts, [1 + M, C]]),
  ]);
  const all = graph.node('Concat', `${decoder}.tokens`, [forEach, inputs.sparse], { axis: 1 }); // [Z, 1 + M + P, C]
  const tokens = reshape(graph, `${decoder}.tokens.flat`, all, [-1, C]);
  const { queries, keys } = addTwoWayTransformer(graph, config, { ...inputs, tokens, prompts });

  const byPrompt = graph.node('Reshape', `${decoder}.tokens.out`, [
    queries,
    shape(graph, `${decoder}.tokens.shape`, [prompts, [-1, C]]),
  ]);
  const token = (name: string, index: number) =>
    graph.node('Gather', `${decoder}.${name}`, [byPrompt, graph.constant(`token ${index}`, 'I64', [], [index])], {
      axis: 1,
    });
  const kept = Array.from({ length: M - first }, (_, i) => first + i);
  const hyper = kept.map((i) =>
    perceptron(graph, `${decoder}.output_hypernetworks_mlps.${i}`, token(`mask_token_out.${i}`, 1 + i)),
  );
  const { pixels, channels, side } = addUpscaling(graph, config, keys);
  const kernels = graph.node('Concat', `${decoder}.hyper_in`, hyper, { axis: 1 });
  const masks = graph.node('MatMul', `${decoder}.masks.dot`, [
    reshape(graph, `${decoder}.hyper_in.masks`, kernels, [-1, kept.length, channels]),
    pixels,
  ]);
  const scores = perceptron(graph, `${decoder}.iou_prediction_head`, token('iou_token_out', 0)); // [Z, M]
  const ofKept = () => [scores, graph.integers(first), graph.integers(M), graph.integers(1)];
  return {
    masks: reshape(graph, `${decoder}.masks`, masks, [-1, kept.length, side, side]),
    scores: first === 0 ? scores : graph.node('Slice', `${decoder}.iou_predictions`, ofKept()),
  };
}

/** [Z * h * w, C] -> pixels [Z, C / 8, 16 * h * w]. */
function addUpscaling(
  graph: Graph,
  config: SamConfig,
  keys: string,
): { pixels: string; channels: number; side: number } {
  const g = gridSize(config);
  const name = `${decoder}.output_upscaling`;
  const [C] = graph.shapeOf(`${name}.0.weight`) as [number];
  const [, channels] = graph.shapeOf(`${name}.3.weight`) as [number, number];
  const image = transpose(
    graph,
    `${decoder}.src`,
    reshape(graph, `${decoder}.src.grid`, keys, [-1, g, g, C]),
    [0, 3, 1, 2],
  );
  const double = gelu(graph, `${name}.2`, channelNorm(graph, `${name}.1`, upscale2x(graph, `${name}.0`, image)));
  const quadruple = gelu(graph, `${name}.4`, upscale2x(graph, `${name}.3`, double));
  const pixels = reshape(graph, name, quadruple, [-1, channels, 16 * g * g]);
  return { pixels, channels, side: 4 * g };
}

/** Tokens, and the shape that gives them back by prompt and head. */
interface Stream {
  readonly x: string;
  heads(inner: number): string;
}

/** Tokens and image attend to each other, both ways (segment-anything, modeling/transformer.py). */
function addTwoWayTransformer(
  graph: Graph,
  config: SamConfig,
  { image, places, tokens, prompts }: DecoderInputs & { tokens: string; prompts: string },
): { queries: string; keys: string } {
  const H = config.decoderHeads;
  const cells = gridSize(config) ** 2;
  const byHead = new Map<number, string>();
  const ofTokens = (x: string): Stream => ({
    x,
    heads(inner) {
      const known = byHead.get(inner) ?? shape(graph, `${transformer}.heads.${inner}`, [prompts, [-1, H, inner / H]]);
      byHead.set(inner, known);
      return known;
    },
  });
  const ofImage = (x: string): Stream => ({ x, heads: (inner) => graph.integers(-1, cells, H, inner / H) });
  const add = (name: string, x: string, y: string) => graph.node('Add', `${transformer}.${name}`, [x, y]);
  const normed = (name: string, x: string) => layerNorm(graph, `${transformer}.${name}`, x, tokenEpsilon);
  const attend = (name: string, q: Stream, k: Stream, v: Stream) =>
    addAttention(graph, H, { name: `${transformer}.${name}`, q, k, v });
  const placed = (name: string, x: string, place: string) => add(`${name}.place`, x, place);

  let queries = tokens;
  let keys = image;
  for (let i = 0; i < 2; i++) {
    const layer = `layers.${i}`;
    // the first layer's tokens are their own positions
    const withPlace = ofTokens(i === 0 ? queries : placed(`${layer}.self_attn`, queries, tokens));
    const own = attend(`${layer}.self_attn`, withPlace, withPlace, ofTokens(queries));
    queries = normed(`${layer}.norm1`, i === 0 ? own : add(`${layer}.self_attn.add`, queries, own));
    const keysInPlace = ofImage(placed(`${layer}.keys`, keys, places));
    const [toImage, toTokens] = [`${layer}.cross_attn_token_to_image`, `${layer}.cross_attn_image_to_token`];
    const fromImage = attend(toImage, ofTokens(placed(toImage, queries, tokens)), keysInPlace, ofImage(keys));
    queries = normed(`${layer}.norm2`, add(`${toImage}.add`, queries, fromImage));
    const hidden = linear(graph, `${transformer}.${layer}.mlp.lin1`, queries);
    const active = graph.node('Relu', `${transformer}.${layer}.mlp.act`, [hidden]);
    const mlp = linear(graph, `${transformer}.${layer}.mlp.lin2`, active);
    queries = normed(`${layer}.norm3`, add(`${layer}.mlp.add`, queries, mlp));
    const fromTokens = attend(toTokens, keysInPlace, ofTokens(placed(toTokens, queries, tokens)), ofTokens(queries));
    keys = normed(`${layer}.norm4`, add(`${toTokens}.add`, keys, fromTokens));
  }
  const last = 'final_attn_token_to_image';
  const keysInPlace = ofImage(placed(`${last}.keys`, keys, places));
  const final = attend(last, ofTokens(placed(last, queries, tokens)), keysInPlace, ofImage(keys));
  return { queries: normed('norm_final_attn', add(`${last}.add`, queries, final)), keys };
}

/** Multi-head attention with its projections: q [Z * Q, C], k and v [Z * K, C] -> [Z * Q, C]. */
function addAttention(
  graph: Graph,
  H: number,
  { name, q, k, v }: { name: string; q: Stream; k: Stream; v: Stream },
): string {
  const [inner] = graph.shapeOf(`${name}.q_proj.weight`) as [number];
  const heads = (projection: string, stream: Stream, perm: readonly number[]) => {
    const projected = linear(graph, `${name}.${projection}`, stream.x);
    const split = graph.node('Reshape', `${name}.${projection}.split`, [projected, stream.heads(inner)]);
    return transpose(graph, `${name}.${projection}.heads`, split, perm);
  };
  const query = heads('q_proj', q, [0, 2, 1, 3]); // [Z, H, Q, D]
  const key = heads('k_proj', k, [0, 2, 3, 1]); // [Z, H, D, K]
  const value = heads('v_proj', v, [0, 2, 1, 3]);
  const scaled = graph.node('Mul', `${name}.q_proj.scaled`, [query, graph.scalar((inner / H) ** -0.5)]);
  const scores = graph.node('MatMul', `${name}.scores`, [scaled, key]);
  const shares = graph.node('Softmax', `${name}.softmax`, [scores], { axis: -1 });
  const mixed = graph.node('MatMul', `${name}.mix`, [shares, value]);
  const merged = reshape(graph, `${name}.merge`, transpose(graph, `${name}.mix.tokens`, mixed, [0, 2, 1, 3]), [
    -1,
    inner,
  ]);
  return linear(graph, `${name}.out_proj`, merged);
}
