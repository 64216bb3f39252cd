import type { Prompt, Segment, Segmented } from '@slimsam/eval';
import { createPredictor, type EmbeddedImage, type ImageEmbedding, type ImagePrompts, type Sam } from '@slimsam/vit';
import { checkFields } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';

/** A SAM as runProtocol takes a model. */
export interface SamSegmenter {
  readonly segment: Segment;
  /** Frees what is kept of the last image. */
  dispose(): void;
}

/**
 * A SAM for the protocols of @slimsam/eval: encodes an image once, answers its prompts in batches of equal form, and keeps each answer's
 * logits for the next click.
 */
export function segmentWithSam(sam: Sam): SamSegmenter {
  checkFields('segmentWithSam', sam, { weights: 'object', config: 'object' });
  const { weights, config } = sam;
  const predictor = createPredictor(weights, config);
  let last: { readonly image: object; readonly embedded: EmbeddedImage } | undefined;
  const dispose = () => {
    last?.embedded.dispose();
    last = undefined;
  };
  const segment: Segment = async (image, prompts) => {
    if (last?.image !== image) {
      dispose();
      last = { image, embedded: predictor.embed(await image.pixels()) };
    }
    const groups = new Map<string, number[]>();
    prompts.forEach((prompt, index) => {
      const { points, box, multimask, logits } = prompt;
      const form = JSON.stringify([points?.length, Boolean(box), multimask, hasLogits(prompt), Boolean(logits)]);
      groups.set(form, [...(groups.get(form) ?? []), index]);
    });
    const answers: Segmented[] = [];
    for (const indices of groups.values()) {
      const found = await predictGroup(
        predictor,
        last.embedded,
        indices.map((index) => prompts[index]!),
      );
      indices.forEach((index, i) => {
        answers[index] = found[i]!;
      });
    }
    return answers;
  };
  return { segment, dispose };
}

const hasLogits = ({ previous }: Prompt): boolean => previous?.state instanceof Float32Array;

/** Prompts of one form. */
async function predictGroup(
  predictor: ReturnType<typeof createPredictor>,
  image: ImageEmbedding,
  prompts: readonly Prompt[],
): Promise<Segmented[]> {
  const [first] = prompts as [Prompt, ...Prompt[]];
  const side = Math.sqrt(hasLogits(first) ? (first.previous!.state as Float32Array).length : 0);
  const maskInput = hasLogits(first)
    ? tf.stack(prompts.map(({ previous }) => tf.tensor3d(previous!.state as Float32Array, [1, side, side])))
    : undefined;
  const asked: ImagePrompts = {
    ...(first.points && {
      points: prompts.map(({ points }) => points!.map(([x, y]): [number, number] => [x, y])),
      labels: prompts.map(({ labels }) => [...labels!]),
    }),
    ...(first.box && { boxes: prompts.map(({ box }) => corners(box!)) }),
    ...(maskInput && { maskInput: maskInput as tf.Tensor4D }),
  };
  try {
    const { multimask, logits: asksLogits = false } = first;
    const { masks, scores, lowRes, ...found } = await predictor.predict(image, asked, {
      multimask,
      logits: asksLogits,
    });
    const logits = await lowRes.data().finally(() => lowRes.dispose());
    const size = logits.length / prompts.length; // of the first mask, where there are several
    return prompts.map((_, i) => ({
      masks: masks[i]!,
      scores: scores[i]!,
      ...(asksLogits && { logits: found.logits![i]! }),
      state: logits.slice(i * size, i * size + size / masks[i]!.length) as Float32Array,
    }));
  } finally {
    maskInput?.dispose();
  }
}

const corners = ([x, y, width, height]: readonly [number, number, number, number]): [
  number,
  number,
  number,
  number,
] => [x, y, x + width, y + height];
