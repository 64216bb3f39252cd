import type { Weights } from '@slimsam/weights';
import { huggingFaceConfigs } from '../checkpoint/hugging-face-config.ts';
import { readWidths } from '../checkpoint/sam-shapes.ts';
import { gridSize, type SamConfig } from '../sam/config.ts';
import { encoderDepth } from '../sam/encoder.ts';
import { addDecoder } from './decoder-graph.ts';
import { addEncoder } from './encoder-graph.ts';
import { createGraph, type Float, type Graph, type GraphRecord } from './graph.ts';
import { reshape, shape, sizes, transpose } from './layers.ts';
import { addNoMask, addPoints, addPositionGrid } from './prompt-graph.ts';

const batch = 'batch_size';
const pointBatch = 'point_batch_size';

/** pixel_values [B, 3, S, S] -> image_embeddings and image_positional_embeddings, both [B, C, h, w]. */
export function visionEncoderOf(weights: Weights, config: SamConfig, float: Float): GraphRecord {
  const graph = createGraph('vision_encoder', weights, float);
  const S = config.imageSize;
  const g = gridSize(config);
  const C = graph.shapeOf('prompt_encoder.no_mask_embed.weight')[1]!;
  const input = graph.input('pixel_values', [batch, 3, S, S]);
  const pixels = graph.cast('pixel_values.half', input, { from: 'F32', to: float });
  graph.output('image_embeddings', [batch, C, g, g], addEncoder(graph, config, pixels, encoderDepth(weights)));
  const name = 'image_positional_embeddings';
  const channels = transpose(graph, `${name}.channels`, addPositionGrid(graph, config), [1, 0]);
  const one = reshape(graph, `${name}.grid`, channels, [1, C, g, g]);
  const images = shape(graph, `${name}.shape`, [sizes(graph, 'pixel_values.batch', input, [0, 1]), [C, g, g]]);
  graph.output(name, [batch, C, g, g], graph.node('Expand', `${name}.expand`, [one, images]));
  return graph.record;
}

/**
 * Prompt encoder and mask decoder as transformers.js calls them: input_points [B, N, P, 2], input_labels [B, N, P], image_embeddings and
 * image_positional_embeddings [B, C, h, w] -> iou_scores [B, N, 3], pred_masks [B, N, 3, 4h, 4w].
 *
 * Labels as in transformers' SamModel: 1 inside, 0 outside, -1 background (not a point), -10 ignored. SamModel of transformers.js
 * passes no boxes on, so that a box is two points here, with segment-anything's labels 2 and 3. As in both, a padding point is
 * added, unless there are boxes.
 */
export function promptDecoderOf(weights: Weights, config: SamConfig, float: Float): GraphRecord {
  const graph = createGraph('prompt_encoder_mask_decoder', weights, float);
  const g = gridSize(config);
  const C = graph.shapeOf('prompt_encoder.no_mask_embed.weight')[1]!;
  const points = graph.input('input_points', [batch, pointBatch, 'nb_points_per_image', 2]);
  const labels = graph.input('input_labels', [batch, pointBatch, 'nb_points_per_image'], 'I64');
  const embeddings = ['image_embeddings', 'image_positional_embeddings'].map((name) => {
    const outside = graph.input(name, [batch, C, g, g]);
    return graph.cast(`${name}.half`, outside, { from: 'F32', to: float });
  });
  const [embedding, positions] = embeddings as [string, string];
  const sparse = addPaddedPoints(graph, config, { points, labels });
  const prompts = sizes(graph, 'input_points.prompts', points, [0, 2]); // [B, N]
  const everyPrompt = shape(graph, 'image_embeddings.shape', [prompts, [g * g, C]]);
  const forEach = (name: string, x: string) => {
    const cells = reshape(graph, `${name}.cells`, x, [-1, 1, C, g * g]);
    const tokens = transpose(graph, `${name}.tokens`, cells, [0, 1, 3, 2]); // [B, 1, h * w, C]
    const expanded = graph.node('Expand', `${name}.expand`, [tokens, everyPrompt]);
    return reshape(graph, `${name}.flat`, expanded, [-1, C]);
  };
  const image = graph.node('Add', 'image_embeddings.dense', [embedding, addNoMask(graph)]);
  const { masks, scores } = addDecoder(
    graph,
    config,
    { image: forEach('image_embeddings', image), places: forEach('image_positional_embeddings', positions), sparse },
    { first: 1 },
  );
  const byImage = (name: string, x: string, rest: readonly number[]) =>
    graph.node('Reshape', `${name}.by_image`, [x, shape(graph, `${name}.shape`, [prompts, rest])]);
  graph.output('iou_scores', [batch, pointBatch, 3], byImage('iou_scores', scores, [3]));
  const size = [3, 4 * g, 4 * g];
  graph.output('pred_masks', [batch, pointBatch, ...size], byImage('pred_masks', masks, size));
  return graph.record;
}

/** [B, N, P, 2] and [B, N, P] -> tokens [B * N, P or P + 1, C]. */
function addPaddedPoints(graph: Graph, config: SamConfig, inputs: { points: string; labels: string }): string {
  const name = 'input_points';
  const count = sizes(graph, `${name}.count`, inputs.points, [2, 3]); // [P]
  const flat = (name: string, x: string, rest: number[]) =>
    graph.node('Reshape', `${name}.flat`, [x, shape(graph, `${name}.flat.shape`, [[-1], count, rest])]);
  const points = flat(name, inputs.points, [2]); // [Z, P, 2]
  const prompts = sizes(graph, `${name}.flat.prompts`, points, [0, 1]); // [Z]
  const labels = graph.node('Cast', 'input_labels.float', [flat('input_labels', inputs.labels, [])], { to: 1 });

  const all = reshape(graph, 'input_labels.all', labels, [-1]);
  const isCorner = graph.node('GreaterOrEqual', 'input_labels.is_corner', [all, graph.scalar(2, 'F32')]);
  const corners = graph.node('Cast', 'input_labels.corners', [isCorner], { to: 1 });
  const boxes = graph.node('ReduceMax', 'input_labels.boxes', [corners], { keepdims: 1 }); // [1]
  const missing = graph.node('Sub', 'padding.float', [graph.scalar(1, 'F32'), boxes]);
  const padding = graph.node('Cast', 'padding', [missing], { to: 7 }); // [0] or [1]
  const pad = (name: string, x: string, value: number, rest: number[]) => {
    const more = graph.node('Expand', `${name}.padding`, [
      graph.scalar(value, 'F32'),
      shape(graph, `${name}.padding.shape`, [prompts, padding, rest]),
    ]);
    return graph.node('Concat', `${name}.padded`, [x, more], { axis: 1 });
  };
  const padded = { points: pad(name, points, 0, [2]), labels: pad('input_labels', labels, -1, []) };
  const tokens = addPoints(graph, config, padded);
  const isIgnored = graph.node('Equal', 'input_labels.is_ignored', [padded.labels, graph.scalar(-10, 'F32')]);
  const mask = graph.node('Unsqueeze', 'input_labels.ignored', [isIgnored, graph.integers(2)]);
  return graph.node('Where', `${name}.tokens`, [mask, graph.scalar(0), tokens]);
}

/**
 * config.json and preprocessor_config.json. A width that is not the same in every block is not said, since transformers has no word for it
 * (transformers.js does not read it).
 *
 * @param external the files whose weights stand beside them
 */
export function transformersJsConfigs(
  weights: Weights,
  config: SamConfig,
  external: readonly string[],
): Record<string, object> {
  const widths = readWidths(weights);
  const { 'config.json': model, ...others } = huggingFaceConfigs(config, widths);
  const { vision_config: vision } = model as { vision_config: Record<string, unknown> };
  const uniform = widths.blocks.every(({ mlp }) => mlp === widths.blocks[0]!.mlp);
  const { mlp_dim: _, mlp_ratio: __, ...rest } = vision;
  const format = Object.fromEntries(external.map((name) => [name, 1]));
  return {
    'config.json': {
      ...model,
      vision_config: uniform ? vision : rest,
      ...(external.length > 0 && { 'transformers.js_config': { use_external_data_format: format } }),
    },
    ...others,
  };
}
