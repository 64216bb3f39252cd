import { checkFields, requireBackend, truncatedNormal, type Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { type SamWidths, samShapes } from '../checkpoint/sam-shapes.ts';
import { gridSize, type SamConfig } from './config.ts';

/** Widths of a new SAM, by the names of segment-anything's arguments. */
export interface SamSizes {
  /** Width of the encoder's residual stream: heads x headWidth. */
  readonly width: number;
  readonly depth: number;
  readonly mlpWidth: number;
  /** Width of the embedding and the decoder. */
  readonly promptWidth: number;
  readonly maskChannels: number;
  readonly decoderMlpWidth: number;
  readonly iouHiddenWidth: number;
}

/**
 * Random weights to train from, under Meta's names: truncated normals for the encoder, torch's default for the decoder's linear
 * layers, zeros for biases and relative positions. A pure function of the seed, the same on every platform; SAM-B takes 0.7 s.
 *
 * The decoder's attention between tokens and image starts with equal projections of queries and keys, so that a point attends to
 * its own place from the first step: after 300 steps of `examples/train-teacher.ts` the mIoU is 0.36, without it 0.00.
 */
export function initSam(config: SamConfig, sizes: SamSizes, options: { readonly seed: number }): Weights {
  checkFields('initSam', { config, sizes }, { config: 'object', sizes: 'object' });
  checkFields('initSam', options, { seed: 'number' });
  return initWeights(samShapes(widthsOf(config, sizes)), options.seed);
}

/** The shapes of the weights that `initSam` makes, by their names: enough to count with. */
export function samWeightShapes(config: SamConfig, sizes: SamSizes): Readonly<Record<string, readonly number[]>> {
  checkFields('samWeightShapes', { config, sizes }, { config: 'object', sizes: 'object' });
  return samShapes(widthsOf(config, sizes));
}

/** Random weights of these shapes, as `initSam` draws them. */
export function initWeights(shapes: Readonly<Record<string, readonly number[]>>, from: number): Weights {
  requireBackend('initSam');
  const weights: Record<string, tf.Tensor> = {};
  let seed = from * 100_003 + 1;
  for (const [name, shape] of Object.entries(shapes)) {
    if (isKeyOfQuery(name)) seed--; // draws what the query drew
    const deviation = deviationOf(name, shape);
    weights[name] =
      deviation === undefined
        ? tf.fill([...shape], name.endsWith('.weight') ? 1 : 0)
        : truncatedNormal(shape, { deviation, seed: seed++ });
  }
  return weights;
}

/** The widths of all weights of a new SAM. */
export function widthsOf(config: SamConfig, sizes: SamSizes): SamWidths {
  const grid = gridSize(config);
  const { width, depth, mlpWidth, promptWidth, maskChannels, decoderMlpWidth, iouHiddenWidth } = sizes;
  return {
    embed: width,
    patchSize: config.patchSize,
    grid,
    blocks: Array.from({ length: depth }, (_, i) => ({
      inner: config.heads * config.headWidth,
      value: config.heads * config.headWidth,
      head: config.headWidth,
      mlp: mlpWidth,
      side: config.globalBlocks.includes(i) ? grid : config.windowSize,
    })),
    prompt: promptWidth,
    maskChannels,
    decoderMlp: decoderMlpWidth,
    decoderCross: promptWidth / 2,
    iouHidden: iouHiddenWidth,
  };
}

const crossAttention = 'mask_decoder\\.transformer\\..*(token_to_image|image_to_token)\\.';
const isKeyOfQuery = (name: string) => new RegExp(`^${crossAttention}k_proj\\.weight$`).test(name);

type Deviation = (shape: readonly number[]) => number;
const ofInputs: Deviation = (shape) => Math.sqrt(shape[0]! / shape.reduce((product, size) => product * size, 1));

/** The first rule that a name matches tells its standard deviation. */
const deviations: readonly (readonly [RegExp, Deviation])[] = [
  [/^image_encoder\.(pos_embed|.*\.(attn\.proj|mlp\.lin2)\.weight)$/, () => 0.02],
  [/^image_encoder\..*weight$/, ofInputs],
  [/^prompt_encoder\.(point_embeddings|not_a_point)/, () => 0.2],
  [/(_embed|_token|_tokens)\.weight$|gaussian_matrix$/, () => 1],
  [/^prompt_encoder\.mask_downscaling/, ofInputs],
  [new RegExp(`^${crossAttention}[qk]_proj`), (shape) => 2 * ofInputs(shape)],
  [/^mask_decoder\.output_upscaling/, ([inputs]) => Math.sqrt(1 / inputs!)], // [in, out, 2, 2]
  [/./, (shape) => ofInputs(shape) / Math.sqrt(3)],
];

/** undefined for what starts as a constant: norms, biases and relative positions. */
function deviationOf(name: string, shape: readonly number[]): number | undefined {
  if (shape.length === 1 || name.includes('.rel_pos_')) return undefined;
  return deviations.find(([pattern]) => pattern.test(name))![1](shape);
}
