/** An image of 8-bit RGB pixels. */
export interface RgbImage {
  readonly width: number;
  readonly height: number;
  /** [height, width, 3] */
  readonly data: Uint8Array;
}

/** @throws when an image has no pixels, or its data does not fit its size */
export function checkImage({ width, height, data }: RgbImage, name: string): void {
  if (Math.min(width, height) >= 1 && data.length === width * height * 3) return;
  throw new Error(
    `${name}: expected an image with data [height, width, 3], got ${width} x ${height} pixels and ${data.length} bytes; decodeImage() makes one`,
  );
}

/** How `readImageFolder` treats its files. */
export interface ReadImageFolderOptions {
  /** Throws at a file that cannot be decoded, rather than skipping it. */
  readonly strict?: boolean;
  /** Hears of a skipped file; by default it is a warning on the console. */
  readonly onSkip?: (path: string, error: Error) => void;
  readonly signal?: AbortSignal;
}

const extensions = ['.jpg', '.jpeg', '.png', '.webp', '.tif', '.tiff', '.gif', '.avif'];

/**
 * Decodes an image file to 8-bit RGB, turned upright by its EXIF orientation; alpha is dropped and grey is spread to three channels.
 *
 * @throws when the file is missing, truncated or no image, naming it
 */
export async function decodeImage(path: string): Promise<RgbImage> {
  const { default: sharp } = await import('sharp');
  try {
    const { data, info } = await sharp(path, { failOn: 'truncated' })
      .autoOrient()
      .removeAlpha()
      .toColourspace('srgb')
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true });
    return { width: info.width, height: info.height, data: new Uint8Array(data.buffer, data.byteOffset, data.length) };
  } catch (error) {
    const reason = error instanceof Error ? error.message.trim() : String(error);
    throw new Error(`decodeImage: expected an image that can be decoded, got '${reason}' for '${path}'`, {
      cause: error,
    });
  }
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
  const { strict = false, onSkip = warn, signal } = options;
  const paths = await imagePaths(folder);
  let decoded = 0;
  for (const path of paths) {
    signal?.throwIfAborted();
    let image: RgbImage;
    try {
      image = await decodeImage(path);
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
  const { readdir } = await import('node:fs/promises');
  const { extname, join } = await import('node:path');
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
