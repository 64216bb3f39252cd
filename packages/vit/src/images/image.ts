import { checkFields, printable } from '@slimsam/weights';
import { decodePixels } from '#decode-pixels';
import { type ImagePixels, toRgb } from './image-pixels.ts';
import { type DecodeImageOptions, type ImageSource, isSource } from './image-source.ts';
import type { RgbImage } from './rgb-image.ts';

/** How `readImageFolder` treats its files. */
export interface ReadImageFolderOptions extends DecodeImageOptions {
  /** Throws at a file that cannot be decoded, rather than skipping it. */
  readonly strict?: boolean;
  /** Hears of a skipped file; by default it is a warning on the console. */
  readonly onSkip?: (path: string, error: Error) => void;
  readonly signal?: AbortSignal;
}

const extensions = ['.jpg', '.jpeg', '.png', '.webp', '.tif', '.tiff', '.gif', '.avif', '.bmp'];

/**
 * Decodes an image to 8-bit RGB, turned upright by its EXIF orientation; of an animation, the first frame. What holds pixels already (a
 * canvas and its ImageData, an ImageBitmap, an image or video of the page) only loses its alpha. Values are what Pillow's
 * `convert('RGB')` gives: grey is spread to three channels, alpha is dropped, colour profiles are not applied, and CMYK is turned by
 * (255 - C)(255 - K) / 255. They differ for grey of 16 bits: Pillow cuts it off at 255, here the upper 8 bits are kept, as Pillow does with
 * colours of 16 bits; see `scaleByMaximum`.
 *
 * Node decodes with sharp, at most 134 million pixels in any shape unless `mostPixels` allows more. Browsers decode with createImageBitmap and read the
 * pixels from an OffscreenCanvas, whose largest size is the browser's; there, colours are rounded where alpha is less than 1, and
 * black where it is 0.
 *
 * The file's content decides on its format, whatever its name: JPEG, PNG, WebP, GIF, TIFF, AVIF or BMP (without run lengths), and in
 * browsers only those of them that they read. SVG is refused. In Node only regular files are read: a FIFO is an error, not an endless wait.
 *
 * @throws when the image is missing, truncated, too large or no image, naming it
 */
export async function decodeImage(
  source: ImageSource | ImagePixels,
  options: DecodeImageOptions = {},
): Promise<RgbImage> {
  checkFields('decodeImage', { options }, { options: 'object?' });
  const { scaleByMaximum = false, mostPixels = 2 ** 27 } = options;
  if (!isSource(source)) return toRgb(source, 'decodeImage');
  try {
    return await decodePixels(source, {
      scaleByMaximum,
      mostPixels,
      onDim: (what) => warnOnce(`decodeImage: ${nameOf(source)} ${what}`),
    });
  } catch (error) {
    const words = (error instanceof Error ? error.message : String(error)).trim().replaceAll(/\s*\n\s*/g, '; ');
    const reason = printable(words, { longest: 300 });
    throw new Error(
      `decodeImage: expected an image that can be decoded, got '${reason}' for ${printable(nameOf(source))}`,
      { cause: error },
    );
  }
}

let warned = false;

function warnOnce(text: string): void {
  if (!warned) console.warn(text);
  warned = true;
}

function nameOf(source: ImageSource): string {
  if (source instanceof Uint8Array) return `${source.length} bytes`;
  if (source instanceof Blob) return `a Blob of ${source.size} bytes`;
  if (typeof source === 'string' || source instanceof URL) return `'${source}'`;
  const { path, offset = 0, length = 'all' } = source;
  return `'${path}' (${length} bytes from ${offset} on)`;
}

/**
 * Decodes the images of a folder one by one, sorted by name. Other files and subfolders are passed over.
 *
 * @throws when the folder is missing or has no image, when none of its images can be decoded, or, if `strict`, at the first of those
 */
export async function* readImageFolder(
  folder: string,
  options: ReadImageFolderOptions = {},
): AsyncGenerator<{ path: string; image: RgbImage }> {
  checkFields('readImageFolder', { folder, options }, { folder: 'string', options: 'object?' });
  const { strict = false, onSkip = warn, signal, ...how } = options;
  const paths = await imagePaths(folder);
  let decoded = 0;
  for (const path of paths) {
    signal?.throwIfAborted();
    let image: RgbImage;
    try {
      image = await decodeImage(path, how);
    } catch (error) {
      if (strict || !(error instanceof Error)) throw error;
      onSkip(path, error);
      continue;
    }
    decoded++;
    yield { path, image };
  }
  if (decoded === 0) {
    throw new Error(
      `readImageFolder: expected images that can be decoded, got ${paths.length} that cannot in '${folder}'`,
    );
  }
}

async function imagePaths(folder: string): Promise<string[]> {
  const { extname, join, readdir } = await import('#node');
  const names = await readdir(folder).catch((error: Error) => {
    throw new Error(`readImageFolder: expected a folder, got '${error.message}'`, { cause: error });
  });
  const images = names.filter((name) => extensions.includes(extname(name).toLowerCase())).sort();
  if (images.length === 0) {
    throw new Error(
      `readImageFolder: expected images (${extensions.join(', ')}) in '${folder}', got ${names.length} other files`,
    );
  }
  return images.map((name) => join(folder, name));
}

function warn(path: string, error: Error): void {
  console.warn(`skipped ${path}: ${error.message}`);
}
