import type { Weights } from '@slimsam/weights';
import { gridSize, type SamConfig } from '../sam/config.ts';
import { encoderDepth } from '../sam/encoder.ts';
import { addDecoder, type DecoderOutputs } from './decoder-graph.ts';
import { addEncoder } from './encoder-graph.ts';
import { createGraph, type Float, type Graph, type GraphRecord } from './graph.ts';
import { reshape, shape, sizes, transpose } from './layers.ts';
import { addMask, addPoints, addPositionGrid } from './prompt-graph.ts';

/** image [batch, 3, S, S] -> image_embeddings [batch, C, h, w]. */
export function encoderOf(weights: Weights, config: SamConfig, float: Float): GraphRecord {
  const graph = createGraph('sam encoder', weights, float);
  const S = config.imageSize;
  const g = gridSize(config);
  const image = graph.input('image', ['batch', 3, S, S]);
  const pixels = graph.cast('image.half', image, { from: 'F32', to: float });
  const C = graph.shapeOf('prompt_encoder.no_mask_embed.weight')[1]!;
  const embedding = addEncoder(graph, config, pixels, encoderDepth(weights));
  graph.output('image_embeddings', ['batch', C, g, g], embedding);
  return graph.record;
}

/**
 * Prompt encoder, mask decoder and upsampling with the inputs and outputs of segment_anything/utils/onnx.py (SamOnnxModel); there
 * `prompts` is 1.
 *
 * A point without a box comes with a padding point, (0, 0) with the label -1, that the caller adds; corners of a box have the
 * labels 2 and 3.
 */
export function decoderOf(
  weights: Weights,
  config: SamConfig,
  { float, singleMask }: { float: Float; singleMask: boolean },
): GraphRecord {
  const graph = createGraph('sam decoder', weights, float);
  const g = gridSize(config);
  const [M, C] = graph.shapeOf('mask_decoder.mask_tokens.weight') as [number, number];
  const outside = { from: 'F32', to: float } as const;
  const embeddings = graph.input('image_embeddings', [1, C, g, g]);
  const points = graph.input('point_coords', ['prompts', 'points', 2]);
  const labels = graph.input('point_labels', ['prompts', 'points']);
  const maskInput = graph.input('mask_input', ['mask_prompts', 1, 4 * g, 4 * g]);
  const has = graph.input('has_mask_input', [1]);
  const originalSize = graph.input('orig_im_size', [2]);

  const sparse = addPoints(graph, config, { points, labels });
  const dense = addMask(graph, {
    masks: graph.cast('mask_input.half', maskInput, outside),
    has: graph.cast('has_mask_input.half', has, outside),
  });
  const embedding = graph.cast('image_embeddings.half', embeddings, outside);
  const image = graph.node('Add', 'image_embeddings.dense', [embedding, dense]);
  const cells = reshape(graph, 'image_embeddings.cells', image, [-1, C, g * g]);
  const prompts = sizes(graph, 'point_coords.prompts', points, [0, 1]);
  const everyPrompt = shape(graph, 'image_embeddings.shape', [prompts, [g * g, C]]);
  const forEach = (name: string, x: string) =>
    reshape(graph, `${name}.flat`, graph.node('Expand', `${name}.expand`, [x, everyPrompt]), [-1, C]);
  const decoded = addDecoder(
    graph,
    config,
    {
      image: forEach('image_embeddings', transpose(graph, 'image_embeddings.tokens', cells, [0, 2, 1])),
      places: forEach('prompt_encoder.dense_pe', addPositionGrid(graph, config)),
      sparse,
    },
    { first: 0 },
  );
  const { masks, scores } = singleMask ? selectMask(graph, decoded, { points, M }) : decoded;
  const count = singleMask ? 1 : M;
  graph.output('iou_predictions', ['prompts', count], scores);
  graph.output('low_res_masks', ['prompts', count, 4 * g, 4 * g], masks);
  addUpsampling(graph, config, { masks: 'low_res_masks', originalSize, count });
  return graph.record;
}

/**
 * Of the four masks the one that suits the number of points: the first when there are more than two, padding included, else the best of the
 * other three by its score.
 */
function selectMask(
  graph: Graph,
  { masks, scores }: DecoderOutputs,
  { points, M }: { points: string; M: number },
): DecoderOutputs {
  const count = graph.node('Cast', 'select.points', [sizes(graph, 'select.count', points, [1, 2])], {
    to: graph.float === 'F32' ? 1 : 10,
  });
  const many = graph.node('Sub', 'select.many', [count, graph.scalar(2.5)]); // positive from three points on
  const only = graph.constant('only the first mask', graph.float, [1, M], [1000, ...new Array<number>(M - 1).fill(0)]);
  const preference = graph.node('Mul', 'select.preference', [many, only]);
  const weighed = graph.node('Add', 'select.scores', [scores, preference]);
  const best = graph.node('ArgMax', 'select.best', [weighed], { axis: 1, keepdims: 1 }); // [Z, 1]
  const mask = graph.node('GatherND', 'select.mask', [masks, best], { batch_dims: 1 }); // [Z, 4h, 4w]
  return {
    masks: graph.node('Unsqueeze', 'select.masks', [mask, graph.integers(1)]),
    scores: graph.node('GatherElements', 'select.iou', [scores, best], { axis: 1 }),
  };
}

/**
 * Masks in the size of the image, in float32: bilinear to the padded square, without the padding, bilinear to the original size
 * [height, width].
 */
function addUpsampling(
  graph: Graph,
  { imageSize: S }: SamConfig,
  { masks, originalSize, count }: { masks: string; originalSize: string; count: number },
): void {
  const resize = (name: string, x: string, size: string) => {
    const all = graph.node('Concat', `${name}.sizes`, [sizes(graph, `${name}.masks`, x, [0, 2]), size], { axis: 0 });
    return graph.node('Resize', name, [x, '', '', all], {
      mode: 'linear',
      coordinate_transformation_mode: 'half_pixel',
    });
  };
  const square = resize('masks.square', masks, graph.integers(S, S));
  const longest = graph.node('ReduceMax', 'orig_im_size.longest', [originalSize], { keepdims: 1 });
  const scale = graph.node('Div', 'orig_im_size.scale', [graph.scalar(S, 'F32'), longest]);
  const scaled = graph.node('Mul', 'orig_im_size.scaled', [scale, originalSize]);
  const rounded = graph.node('Floor', 'orig_im_size.rounded', [
    graph.node('Add', 'orig_im_size.half', [scaled, graph.scalar(0.5, 'F32')]),
  ]);
  const clamped = graph.node('Max', 'orig_im_size.clamped', [rounded, graph.scalar(1, 'F32')]); // a very long image
  const toIntegers = (name: string, x: string) => graph.node('Cast', name, [x], { to: 7 });
  const inputSize = toIntegers('input_size', clamped);
  const cut = graph.node('Slice', 'masks.cut', [square, graph.integers(0, 0), inputSize, graph.integers(2, 3)]);
  const full = resize('masks', cut, toIntegers('orig_im_size.integers', originalSize));
  graph.record.outputs.unshift({ name: full, type: 'F32', shape: ['prompts', count, 'height', 'width'] });
}
