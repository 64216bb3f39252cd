import type { Box } from '../coco/instances.ts';
import type { EdgeCounts } from '../edges/edge-scores.ts';
import type { CompressedRle } from '../masks/rle.ts';

/** One line of a results folder's images.jsonl: all that summaries, reports and comparisons need of an image. */
export interface ImageRecord {
  /** Place in the whole set, shards or not. */
  readonly index: number;
  readonly id: number;
  readonly name: string;
  readonly width: number;
  readonly height: number;
  /** SHA-256 of the image's file and its annotations. */
  readonly data: string;
  /** SHA-256 of the prompts. */
  readonly prompts: string;
  /** Annotations without pixels, of which no prompt can be made. */
  readonly left_out: readonly number[];
  readonly truths: readonly TruthRecord[];
  readonly results: readonly ResultRecord[];
  /** Of the protocol edges. */
  readonly edges?: EdgeCounts;
}

/** As COCO's instances files have it. */
export interface TruthRecord {
  readonly id: number;
  readonly category_id: number;
  readonly area: number;
  readonly iscrowd: 0 | 1;
  readonly ignore: 0 | 1;
  readonly bbox: Box;
  readonly segmentation: CompressedRle;
}

/** One mask of the model. */
export interface ResultRecord {
  /** The annotation that the prompt is of; missing for a detector's boxes. */
  readonly annotation_id?: number;
  readonly category_id: number;
  /** The model's own guess of the IoU, or the detector's score. */
  readonly score: number;
  readonly segmentation: CompressedRle;
  /** With the annotation. */
  readonly iou?: number;
  readonly boundary_iou?: number;
  /** After each click. */
  readonly click_ious?: readonly number[];
  /** Of the best of several masks. */
  readonly best_iou?: number;
}
