import type { Box } from '../coco/instances.ts';
import type { AnyRle } from '../masks/rle.ts';

/** One object of an image. */
export interface EvalAnnotation {
  readonly id: number;
  readonly bbox: Box;
  /** Pixels, as the data states it. */
  readonly area: number;
  readonly segmentation: AnyRle;
  /** Points in the object: [x, y] in pixels. */
  readonly pointCoords?: readonly (readonly [number, number])[];
  readonly categoryId?: number;
  /** A region of many objects: no prompt is made of it. */
  readonly crowd?: boolean;
  readonly ignore?: boolean;
}

/** One image of a set, as a protocol needs it. */
export interface EvalImage {
  readonly id: number;
  /** Its file's name, different for each image of the set. */
  readonly name: string;
  readonly width: number;
  readonly height: number;
  readonly annotations: readonly EvalAnnotation[];
  /** Boundaries that people drew, for the protocol edges: [height * width] each, not 0 on one. */
  readonly boundaries?: readonly Uint8Array[];
  /** Where its file lies, unless it is in an archive. */
  readonly imagePath?: string;
  /** The file: JPEG, PNG, … */
  readonly bytes: () => Promise<Uint8Array>;
}
