import { checkFields } from '@slimsam/weights';
import { detectionChecker, type GroundTruthChecker, groundTruthChecker, type ReadOptions } from './check-records.ts';
import type { CocoDetection, CocoInstance, Detections, GroundTruth } from './instances.ts';
import { readJsonLists } from './read-json.ts';

type FileOptions = Omit<ReadOptions, 'source'> & { readonly signal?: AbortSignal };

/**
 * The annotations of a COCO or LVIS instances file, as they come; polygons become run lengths, so that the file is never whole in memory.
 * Images and categories are read first, in a pass of their own.
 *
 * @throws when the file is not JSON, or a record is wrong: the message names file, record and field
 */
export async function* readCocoAnnotations(
  file: string,
  options: FileOptions = {},
): AsyncGenerator<CocoInstance, void, void> {
  checkFields('readCocoAnnotations', { file, options }, { file: 'string', options: 'object?' });
  yield* annotationsOf(file, await readHead(file, options), options);
}

async function readHead(file: string, options: FileOptions): Promise<GroundTruthChecker> {
  const checker = groundTruthChecker({ ...options, source: `'${file}'` });
  for await (const { list, index, value } of readJsonLists(file, { ...options, lists: ['images', 'categories'] })) {
    if (list === 'images') checker.image(value, index);
    else checker.category(value, index);
  }
  if (checker.images.size === 0) throw new Error(`'${file}': images: expected at least one, got none`);
  if (checker.categories.size === 0) throw new Error(`'${file}': categories: expected at least one, got none`);
  return checker;
}

async function* annotationsOf(
  file: string,
  checker: GroundTruthChecker,
  options: FileOptions,
): AsyncGenerator<CocoInstance, void, void> {
  for await (const { index, value } of readJsonLists(file, { ...options, lists: ['annotations'] })) {
    const annotation = checker.annotation(value, index);
    if (annotation) yield annotation;
  }
}

/** A whole instances file: masks as pycocotools' strings. @throws as readCocoAnnotations, and when there is no annotation */
export async function readGroundTruth(file: string, options: FileOptions = {}): Promise<GroundTruth> {
  checkFields('readGroundTruth', { file, options }, { file: 'string', options: 'object?' });
  const checker = await readHead(file, options);
  const annotations: CocoInstance[] = [];
  for await (const annotation of annotationsOf(file, checker, options)) annotations.push(annotation);
  if (annotations.length === 0) throw new Error(`'${file}': annotations: expected at least one, got none`);
  return {
    source: `'${file}'`,
    images: [...checker.images.values()],
    categories: [...checker.categories.values()],
    annotations,
  };
}

/** A whole results file: a list of detections. @throws as readCocoAnnotations, and when there is no detection */
export async function readDetections(
  file: string,
  groundTruth: GroundTruth,
  options: FileOptions = {},
): Promise<Detections> {
  checkFields('readDetections', { file, options }, { file: 'string', options: 'object?' });
  checkFields('readDetections', groundTruth, { images: 'list', categories: 'list' });
  const check = detectionChecker(groundTruth, { ...options, source: `'${file}'` });
  const detections: CocoDetection[] = [];
  for await (const { index, value } of readJsonLists(file, { ...options, lists: [''] })) {
    const detection = check(value, index);
    if (detection) detections.push(detection);
  }
  if (detections.length === 0) throw new Error(`'${file}': expected a list of detections, got none`);
  return { source: `'${file}'`, detections };
}
