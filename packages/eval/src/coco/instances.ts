import type { AnyRle } from '../masks/rle.ts';

/** [x, y, width, height] in pixels. */
export type Box = readonly [x: number, y: number, width: number, height: number];

/** An image of a COCO or LVIS file. */
export interface CocoImage {
  readonly id: number;
  readonly width: number;
  readonly height: number;
  readonly fileName: string;
  /** LVIS: categories that are known not to be in the image. */
  readonly absent: readonly number[];
  /** LVIS: categories whose instances are not all annotated. */
  readonly incomplete: readonly number[];
}

export interface CocoCategory {
  readonly id: number;
  readonly name: string;
  /** LVIS: rare, common or frequent. */
  readonly frequency?: 'r' | 'c' | 'f';
}

/** One annotated object. */
export interface CocoInstance {
  readonly id: number;
  readonly imageId: number;
  readonly categoryId: number;
  /** As the file states it, in pixels. */
  readonly area: number;
  readonly box: Box;
  /** A region of many objects: detections in it are neither right nor wrong. */
  readonly crowd: boolean;
  /** The file's own mark; pycocotools does not use it, LVIS does. */
  readonly ignore: boolean;
  /** Missing where the file was read for boxes. */
  readonly segmentation?: AnyRle;
}

/** The content of a COCO or LVIS instances file, checked. */
export interface GroundTruth {
  /** Where it comes from: a file's name, for messages. */
  readonly source: string;
  readonly images: readonly CocoImage[];
  readonly categories: readonly CocoCategory[];
  readonly annotations: readonly CocoInstance[];
}

/** One detection, of the results of a model. */
export interface CocoDetection {
  readonly imageId: number;
  readonly categoryId: number;
  readonly score: number;
  readonly box: Box;
  /**
   * Pixels. As pycocotools has it, of the box if the first detection of the file has a box, else of the mask: it decides which detections
   * without a match count in the figures by size.
   */
  readonly area: number;
  readonly segmentation?: AnyRle;
}

/** The content of a results file, checked against its ground truth. */
export interface Detections {
  readonly source: string;
  readonly detections: readonly CocoDetection[];
}
