import { checkFields, openRegularFile, readTextFile } from '@slimsam/weights';
import { path, readdir } from '#node';
import { type OnBad, refuse } from '../coco/bad-record.ts';
import { parseSa1b, reason, type Sa1bImage, sa1bImage } from './sa1b-image.ts';

export interface ReadImagesOptions {
  /** Receives images and annotations that are wrong and left out; without it the first one is an error. */
  readonly onBad?: OnBad;
  readonly signal?: AbortSignal;
}

/**
 * Reads a folder of SA-1B pairs (`sa_1.json` with `sa_1.jpg`), in the order of the JSON files' names (numbers as numbers), one at a
 * time. `predicted_iou`, `stability_score` and `crop_box` may be missing.
 *
 * @throws when the folder is missing or has no .json file; when a file is not SA-1B JSON (the error names file and field) or its image
 * is missing; when the signal aborts
 */
export async function* readSa1b(
  folder: string,
  options: ReadImagesOptions = {},
): AsyncGenerator<Sa1bImage, void, void> {
  checkFields('readSa1b', { folder, options }, { folder: 'string', options: 'object?' });
  const { onBad, signal } = options;
  const names = await readdir(folder).catch((error: unknown) => {
    throw new Error(`readSa1b: expected a folder '${folder}', got ${reason(error)}`, { cause: error });
  });
  const files = names.filter((name) => name.endsWith('.json') && !name.startsWith('.')).sort(byNumber);
  if (files.length === 0) throw new Error(`readSa1b: expected .json files with images in '${folder}', got none`);
  for (const name of files) {
    signal?.throwIfAborted();
    const image = await readPair(folder, name, onBad);
    if (image) yield image;
  }
}

/** Numbers in names as numbers. */
export function byNumber(a: string, b: string): number {
  return a.localeCompare(b, 'en', { numeric: true });
}

async function readPair(folder: string, name: string, onBad: OnBad | undefined): Promise<Sa1bImage | undefined> {
  const file = path.join(folder, name);
  const bad = (field: string, problem: string) =>
    refuse({ source: `readSa1b: '${file}'`, record: '', field, problem }, onBad);
  let text: string;
  try {
    text = await readTextFile(file);
  } catch (error) {
    bad('', `expected a JSON file, got ${reason(error)}`);
    return undefined;
  }
  const content = parseSa1b(file, text, onBad);
  if (!content) return undefined;
  const imagePath = path.join(folder, content.image.file_name);
  try {
    await (await openRegularFile(imagePath)).close();
  } catch (error) {
    bad('image.file_name', `expected an image '${imagePath}', got ${reason(error)}`);
    return undefined;
  }
  const bytes = async () => {
    const image = await openRegularFile(imagePath);
    return new Uint8Array(await image.readFile().finally(() => image.close()));
  };
  return { ...sa1bImage(file, content, { bytes, onBad }), imagePath };
}
