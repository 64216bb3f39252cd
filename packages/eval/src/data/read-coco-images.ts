import { checkFields } from '@slimsam/weights';
import { access, path, readFile } from '#node';
import { refuse } from '../coco/bad-record.ts';
import type { CocoInstance, GroundTruth } from '../coco/instances.ts';
import type { EvalImage } from './eval-image.ts';
import type { ReadImagesOptions } from './read-sa1b.ts';
import { reason } from './sa1b-image.ts';

/**
 * The images of a COCO or LVIS instances file (`readGroundTruth`), by ascending id, with their annotations; the files lie in `folder`.
 *
 * @throws when an image's file is missing (the error names its id), masks were not read, or the signal aborts
 */
export async function* readCocoImages(
  folder: string,
  groundTruth: GroundTruth,
  options: ReadImagesOptions = {},
): AsyncGenerator<EvalImage, void, void> {
  checkFields('readCocoImages', { folder, options }, { folder: 'string', options: 'object?' });
  checkFields('readCocoImages', groundTruth, { images: 'list', annotations: 'list' });
  const { onBad, signal } = options;
  const byImage = new Map<number, CocoInstance[]>();
  for (const annotation of groundTruth.annotations) {
    const list = byImage.get(annotation.imageId);
    if (list) list.push(annotation);
    else byImage.set(annotation.imageId, [annotation]);
  }
  for (const image of [...groundTruth.images].sort((a, b) => a.id - b.id)) {
    signal?.throwIfAborted();
    const imagePath = path.join(folder, image.fileName);
    const missing = await access(imagePath).then(
      () => undefined,
      (error: unknown) => reason(error),
    );
    if (missing || image.fileName === '') {
      const problem = `expected an image '${imagePath}', got ${missing ?? 'no name'}`;
      refuse({ source: groundTruth.source, record: `images, id ${image.id}`, field: 'file_name', problem }, onBad);
      continue;
    }
    yield {
      id: image.id,
      name: image.fileName,
      width: image.width,
      height: image.height,
      imagePath,
      bytes: async () => new Uint8Array(await readFile(imagePath)),
      annotations: (byImage.get(image.id) ?? []).map((annotation) => evalAnnotation(annotation, groundTruth.source)),
    };
  }
}

function evalAnnotation({ box, segmentation, ...annotation }: CocoInstance, source: string) {
  if (!segmentation) throw new Error(`readCocoImages: expected masks, got boxes alone of ${source}`);
  return { ...annotation, bbox: box, segmentation };
}
