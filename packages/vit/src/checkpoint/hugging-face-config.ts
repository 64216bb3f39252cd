import * as z from 'zod/mini';
import { parseBy } from '../parse-by.ts';
import type { SamConfig } from '../sam/config.ts';
import type { Processor } from './read-processor.ts';
import type { SamWidths } from './sam-shapes.ts';

const samEpsilon = 1e-6;
const positive = z.int().check(z.positive());
const samModelConfig = z.object({
  vision_config: z.object({
    num_attention_heads: z._default(positive, 12),
    window_size: z._default(positive, 14),
    global_attn_indexes: z._default(z.array(z.int().check(z.nonnegative())), [2, 5, 8, 11]),
    layer_norm_eps: z._default(z.number().check(z.positive()), samEpsilon),
  }),
  mask_decoder_config: z.prefault(z.object({ num_attention_heads: z._default(positive, 8) }), {}),
});

/**
 * What Hugging Face's config.json and its image processor say and shapes do not. Missing fields have SamConfig's defaults.
 *
 * @throws when a field has another type, naming it
 */
export function readHuggingFaceConfig(
  json: unknown,
  processor: Processor | undefined,
  source: string,
): Partial<SamConfig> {
  const model = parseBy(samModelConfig, json, { expected: `loadSam: expected SamModel's config in ${source}` });
  const { pixelMean, pixelStd } = processor ?? {};
  return {
    heads: model.vision_config.num_attention_heads,
    windowSize: model.vision_config.window_size,
    globalBlocks: model.vision_config.global_attn_indexes,
    decoderHeads: model.mask_decoder_config.num_attention_heads,
    ...(model.vision_config.layer_norm_eps !== samEpsilon && { epsilon: model.vision_config.layer_norm_eps }),
    ...(pixelMean && { pixelMean }),
    ...(pixelStd && { pixelStd }),
  };
}

/** @throws when a processor does not what `preprocess` does: resize the longest side to the model's by the bilinear filter, then pad */
export function checkSamProcessor(processor: Processor, imageSize: number): void {
  const { size, crop, resample = 'bilinear', resize, pad, source } = processor;
  const square = (sides: { height: number; width: number }) => sides.height === imageSize && sides.width === imageSize;
  const wrong: [key: string, expected: string, got: unknown] | undefined = !resize
    ? ['do_resize', 'true', false]
    : size && !('longest' in size && size.longest === imageSize)
      ? ['size', `{ longest_edge: ${imageSize} }`, size]
      : resample !== 'bilinear'
        ? ['resample', '2 (bilinear)', resample]
        : crop
          ? ['crop_size', 'nothing', crop]
          : pad === false || (pad && !square(pad))
            ? ['pad_size', `${imageSize} x ${imageSize}`, pad]
            : undefined;
  if (!wrong) return;
  const [key, expected, got] = wrong;
  throw new Error(
    `loadSam: expected ${key} to be ${expected} in ${source}, got ${JSON.stringify(got)}; resizeSam changes the size of a model, other preprocessing is not done here`,
  );
}

/** The two files that transformers' SamModel and SamProcessor read beside model.safetensors. */
export function huggingFaceConfigs(
  config: SamConfig,
  widths: SamWidths,
): { 'config.json': object; 'preprocessor_config.json': object } {
  const { imageSize, patchSize, heads, decoderHeads } = config;
  const { embed, prompt, blocks, maskChannels, grid } = widths;
  const mlp = blocks[0]!.mlp;
  return {
    'config.json': {
      architectures: ['SamModel'],
      model_type: 'sam',
      vision_config: {
        model_type: 'sam_vision_model',
        hidden_size: embed,
        output_channels: prompt,
        num_hidden_layers: blocks.length,
        num_attention_heads: heads,
        num_channels: 3,
        image_size: imageSize,
        patch_size: patchSize,
        hidden_act: 'gelu',
        layer_norm_eps: config.epsilon ?? samEpsilon,
        qkv_bias: true,
        mlp_ratio: mlp / embed,
        mlp_dim: mlp,
        use_abs_pos: true,
        use_rel_pos: !Number.isNaN(blocks[0]!.side),
        window_size: config.windowSize,
        global_attn_indexes: config.globalBlocks,
        num_pos_feats: prompt / 2,
      },
      prompt_encoder_config: {
        hidden_size: prompt,
        image_size: imageSize,
        patch_size: patchSize,
        image_embedding_size: grid,
        mask_input_channels: maskChannels,
        num_point_embeddings: 4,
      },
      mask_decoder_config: {
        hidden_size: prompt,
        mlp_dim: widths.decoderMlp,
        num_hidden_layers: 2,
        num_attention_heads: decoderHeads,
        attention_downsample_rate: prompt / widths.decoderCross,
        num_multimask_outputs: 3,
        iou_head_depth: 3,
        iou_head_hidden_dim: widths.iouHidden,
        layer_norm_eps: 1e-6,
      },
    },
    'preprocessor_config.json': {
      image_processor_type: 'SamImageProcessor',
      processor_class: 'SamProcessor',
      do_convert_rgb: true,
      do_resize: true,
      size: { longest_edge: imageSize },
      resample: 2,
      do_rescale: true,
      rescale_factor: 1 / 255,
      do_normalize: true,
      image_mean: config.pixelMean.map((channel) => channel / 255),
      image_std: config.pixelStd.map((channel) => channel / 255),
      do_pad: true,
      pad_size: { height: imageSize, width: imageSize },
    },
  };
}
