import type { Box } from '../coco/instances.ts';
import type { EvalImage } from '../data/eval-image.ts';
import type { RgbImage } from '../image.ts';

/** What a model is told about one object, in pixels of the image. */
export interface Prompt {
  readonly points?: readonly (readonly [x: number, y: number])[];
  /** One for each point: 1 in the object, 0 outside of it. */
  readonly labels?: readonly (0 | 1)[];
  readonly box?: Box;
  /** Several masks for one ambiguous prompt (SAM gives three), with a score each; else one. */
  readonly multimask: boolean;
  /** Asks for `logits`. */
  readonly logits?: boolean;
  /** What the model itself answered to the same object's prompt before, with a point less. */
  readonly previous?: Segmented;
}

/** A model's answer to one prompt. */
export interface Segmented {
  /** [height * width] of the image each, row by row, not 0 inside */
  readonly masks: readonly Uint8Array[];
  /** The model's own guess of each mask's IoU; a score for COCO's ranking. */
  readonly scores: readonly number[];
  /** If asked for, of each mask: [height * width] of the image; above 0 is inside. */
  readonly logits?: readonly Float32Array[];
  /** Anything the model wants back as `previous`. */
  readonly state?: unknown;
}

/** An image for a model: encode it once for each object of this type, whatever is asked of it. */
export interface ImageToSegment extends Omit<EvalImage, 'annotations' | 'boundaries'> {
  /** Decoded by sharp, once. */
  readonly pixels: () => Promise<RgbImage>;
}

/** All that a model must do: an answer to each prompt, in their order. */
export type Segment = (image: ImageToSegment, prompts: readonly Prompt[]) => Promise<readonly Segmented[]>;

/** The same function with its answers checked. @throws when a number or a size is wrong */
export function checkedSegment(segment: Segment): Segment {
  return async (image, prompts) => {
    if (prompts.length === 0) return [];
    const answers = await segment(image, prompts);
    const at = `segment: '${image.name}'`;
    if (answers.length !== prompts.length) {
      throw new Error(`${at}: expected ${prompts.length} answers, got ${answers.length}`);
    }
    for (const [i, { masks, scores, logits }] of answers.entries()) {
      if (masks.length === 0 || masks.length !== scores.length) {
        throw new Error(`${at}: expected masks with a score each, got ${masks.length} and ${scores.length}`);
      }
      if (prompts[i]!.logits && logits?.length !== masks.length) {
        throw new Error(`${at}: expected logits of each mask as asked for, got ${logits?.length ?? 'none'}`);
      }
      const all = [...masks, ...(logits ?? [])];
      const wrong = all.find((mask) => mask.length !== image.width * image.height);
      if (wrong) {
        throw new Error(`${at}: expected masks of ${image.height} x ${image.width} pixels, got ${wrong.length} pixels`);
      }
    }
    return answers;
  };
}
