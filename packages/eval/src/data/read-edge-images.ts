import { checkFields } from '@slimsam/weights';
import { path, readdir, readFile } from '#node';
import { refuse } from '../coco/bad-record.ts';
import { optionalPeer } from '../optional-peer.ts';
import type { EvalImage } from './eval-image.ts';
import { byNumber, type ReadImagesOptions } from './read-sa1b.ts';
import { reason } from './sa1b-image.ts';

const picture = /[.](jpe?g|png|webp|tiff?)$/i;

/**
 * Reads images and people's boundaries of them, for the protocol edges: `boundaries/100007-1.png`, `100007-2.png`, … of
 * `images/100007.jpg`, one for each person, white on black. Decoded by sharp (an optional peer).
 *
 * BSDS500's are MATLAB files; `scipy.io.loadmat(f)['groundTruth'][0][i]['Boundaries'][0, 0]` is the i-th person's.
 *
 * @throws when a folder is missing or has no image; when an image has no boundaries, or they are no image or of another size; when the
 * signal aborts
 */
export async function* readEdgeImages(
  folders: { readonly images: string; readonly boundaries: string },
  options: ReadImagesOptions = {},
): AsyncGenerator<EvalImage, void, void> {
  checkFields('readEdgeImages', { options }, { options: 'object?' });
  checkFields('readEdgeImages', folders, { images: 'string', boundaries: 'string' });
  const { onBad, signal } = options;
  const { default: sharp } = await optionalPeer('readEdgeImages', 'sharp', () => import('sharp'));
  const list = (folder: string) =>
    readdir(folder).catch((error: unknown) => {
      throw new Error(`readEdgeImages: expected a folder '${folder}', got ${reason(error)}`, { cause: error });
    });
  const names = (await list(folders.images)).filter((name) => picture.test(name) && !name.startsWith('.'));
  if (names.length === 0) throw new Error(`readEdgeImages: expected images in '${folders.images}', got none`);
  const drawn = new Map<string, string[]>();
  for (const file of (await list(folders.boundaries)).sort(byNumber)) {
    const stem = /^(.+)-\d+[.]png$/i.exec(file)?.[1];
    if (stem !== undefined) drawn.set(stem, [...(drawn.get(stem) ?? []), path.join(folders.boundaries, file)]);
  }
  for (const [index, name] of names.sort(byNumber).entries()) {
    signal?.throwIfAborted();
    const imagePath = path.join(folders.images, name);
    let field = '';
    try {
      const { width, height } = await sharp(imagePath).metadata();
      const boundaries: Uint8Array[] = [];
      for (field of drawn.get(name.replace(picture, '')) ?? []) {
        const { data, info } = await sharp(field).toColourspace('b-w').raw().toBuffer({ resolveWithObject: true });
        if (info.channels !== 1 || info.width !== width || info.height !== height) {
          throw new Error(
            `expected grey levels of ${width} x ${height} pixels as the image has, got ${info.channels} channels of ${info.width} x ${info.height}`,
          );
        }
        boundaries.push(new Uint8Array(data));
      }
      field = folders.boundaries;
      if (boundaries.length === 0)
        throw new Error(`expected boundaries '${name.replace(picture, '')}-1.png', …, got none`);
      yield {
        ...{ id: index + 1, name, width, height, imagePath, annotations: [], boundaries },
        bytes: async () => new Uint8Array(await readFile(imagePath)),
      };
    } catch (error) {
      refuse({ source: 'readEdgeImages', record: `'${name}'`, field, problem: reason(error) }, onBad);
    }
  }
}
