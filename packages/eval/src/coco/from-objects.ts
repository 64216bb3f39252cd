import { checkFields } from '@slimsam/weights';
import { detectionChecker, groundTruthChecker, type ReadOptions } from './check-records.ts';
import type { Detections, GroundTruth } from './instances.ts';

/** The lists of a COCO or LVIS instances file, as JSON.parse gives them. */
export interface CocoJson {
  readonly images: readonly unknown[];
  readonly categories: readonly unknown[];
  readonly annotations: readonly unknown[];
}

const present = <T>(value: T | undefined): value is T => value !== undefined;

/** Checks what JSON.parse gave of an instances file. @throws when a record is wrong: the message names record and field */
export function groundTruthOf(json: CocoJson, options: ReadOptions = {}): GroundTruth {
  checkFields('groundTruthOf', { options }, { options: 'object?' });
  checkFields('groundTruthOf', json, { images: 'list', categories: 'list', annotations: 'list' });
  const checker = groundTruthChecker(options);
  const images = json.images.map(checker.image).filter(present);
  const categories = json.categories.map(checker.category).filter(present);
  const annotations = json.annotations.map(checker.annotation).filter(present);
  return { source: options.source ?? 'ground truth', images, categories, annotations };
}

/** Checks what JSON.parse gave of a results file. @throws when a record is wrong: the message names record and field */
export function detectionsOf(
  json: readonly unknown[],
  groundTruth: GroundTruth,
  options: ReadOptions = {},
): Detections {
  checkFields('detectionsOf', { json, options }, { json: 'list', options: 'object?' });
  checkFields('detectionsOf', groundTruth, { images: 'list', categories: 'list' });
  const check = detectionChecker(groundTruth, options);
  return { source: options.source ?? 'detections', detections: json.map(check).filter(present) };
}
