/** How a two-part ONNX model wants its image. */
export interface ImageConvention {
  /** The encoder's input: [1, 3, H, W]. */
  readonly input: string;
  /** The longest side is resized to the input's side, the rest padded with 0 at the right and the bottom; 'own': the image as it is. */
  readonly fit: 'longest' | 'own';
  /** Per channel, of pixels in [0, 255]: (x - mean) / std. */
  readonly mean: readonly [number, number, number];
  readonly std: readonly [number, number, number];
  /** Encoder outputs that the decoder takes under the same names. */
  readonly embeddings: readonly string[];
}

/** How it wants its prompts and gives its masks. */
interface PromptConvention {
  /** Axes of 1 before [points, 2]: segment-anything has one, batches of prompts two. */
  readonly points: string;
  readonly labels: string;
  readonly leading: 1 | 2;
  readonly labelType: 'float32' | 'int64';
  /** Coordinates are of the resized image, or of the image itself. */
  readonly space: 'resized' | 'image';
  /** Adds the point (0, 0) with the label -1 where there is no box. */
  readonly padding: boolean;
  /** Takes mask_input, has_mask_input and orig_im_size as segment-anything's decoder does, or the size alone. */
  readonly extras: 'masks-and-size' | 'size' | 'none';
  readonly masks: string;
  readonly scores: string;
  /** Masks are logits in the image's own size, or of the padded square, to be enlarged and cut. */
  readonly maskSize: 'image' | 'square';
  /** Labels 2 and 3 are a box's corners, always, or in some files of this convention: these are tried out at the first box. */
  readonly corners: 'known' | 'some files';
  /** The first mask is the one for prompts that are not ambiguous; else the best by score is it. */
  readonly firstIsSingle: boolean;
}

/** The conventions of a pair of files. */
export interface OnnxConvention {
  readonly image: ImageConvention;
  readonly prompt: PromptConvention;
}

const imagenet = { mean: [123.675, 116.28, 103.53], std: [58.395, 57.12, 57.375] } as const;
const zeroToOne = { mean: [0, 0, 0], std: [255, 255, 255] } as const;

const segmentAnything: OnnxConvention = {
  image: { input: 'image', fit: 'longest', ...imagenet, embeddings: ['image_embeddings'] },
  prompt: {
    ...{ points: 'point_coords', labels: 'point_labels', leading: 1, labelType: 'float32', space: 'resized' },
    ...{ padding: true, extras: 'masks-and-size', masks: 'masks', scores: 'iou_predictions', maskSize: 'image' },
    ...{ corners: 'known', firstIsSingle: true },
  },
};

/**
 * Known conventions, by name. A variant is a spread of one of them: `{ ...onnxConventions['segment-anything'], image: { … } }`.
 * - segment-anything: segment_anything/utils/onnx.py's decoder, an encoder with the input `image`; exportOnnx of @slimsam/vit.
 * - mobile-sam: MobileSAM's export_onnx_model.py, the same decoder; its encoder too wants SAM's preprocessing.
 * - edge-sam: EdgeSAM's export_onnx_model.py: points and corners alone, four masks of the square.
 * - efficient-sam: EfficientSAM's export_to_onnx.py: the image as it is in [0, 1], prompts in its pixels.
 * - transformers.js: the folders of onnx-community and Xenova (vision_encoder.onnx, prompt_encoder_mask_decoder.onnx), whose decoder knows
 *   no boxes, and exportOnnx's, whose decoder does.
 */
export const onnxConventions: Readonly<
  Record<'segment-anything' | 'mobile-sam' | 'edge-sam' | 'efficient-sam' | 'transformers.js', OnnxConvention>
> = {
  'segment-anything': segmentAnything,
  'mobile-sam': segmentAnything,
  'edge-sam': {
    image: segmentAnything.image,
    prompt: { ...segmentAnything.prompt, padding: false, extras: 'none', scores: 'scores', maskSize: 'square' },
  },
  'efficient-sam': {
    image: { input: 'batched_images', fit: 'own', ...zeroToOne, embeddings: ['image_embeddings'] },
    prompt: {
      ...{ points: 'batched_point_coords', labels: 'batched_point_labels', leading: 2, labelType: 'float32' },
      ...{ space: 'image', padding: false, extras: 'size', masks: 'output_masks', scores: 'iou_predictions' },
      ...{ maskSize: 'image', corners: 'known', firstIsSingle: false },
    },
  },
  'transformers.js': {
    image: {
      ...{ input: 'pixel_values', fit: 'longest', ...imagenet },
      embeddings: ['image_embeddings', 'image_positional_embeddings'],
    },
    prompt: {
      ...{ points: 'input_points', labels: 'input_labels', leading: 2, labelType: 'int64', space: 'resized' },
      ...{ padding: false, extras: 'none', masks: 'pred_masks', scores: 'iou_scores', maskSize: 'square' },
      ...{ corners: 'some files', firstIsSingle: false },
    },
  },
};

/**
 * The convention that files have by the names of their inputs; undefined when it is none of ours.
 *
 * @param inputs of both models
 */
export function conventionOf(inputs: ReadonlySet<string>): OnnxConvention | undefined {
  return (['transformers.js', 'efficient-sam', 'segment-anything', 'edge-sam'] as const)
    .map((name) => onnxConventions[name])
    .find(
      ({ image, prompt }) =>
        [image.input, prompt.points, prompt.labels].every((name) => inputs.has(name)) &&
        (prompt.extras === 'masks-and-size') === inputs.has('mask_input'),
    );
}
