import type { RgbImage } from '@slimsam/vit/images';
import { checkFields } from '@slimsam/weights';
import { checkAugment, variationOf } from './augment.ts';
import { fitImage } from './fit-image.ts';
import { hashBytes, hashText } from './hash.ts';
import { checkIndex, checkRead, type Photograph, type Photographs, type ReadPhotographs } from './photographs.ts';

/**
 * Photographs whose pixels are in memory: in browsers, or drawn by a program. They are resized when they are read.
 *
 * @throws when there are none, or data does not fit its size
 */
export function photographsInMemory(
  images: readonly { readonly name: string; readonly image: RgbImage }[],
): Photographs {
  checkFields('photographsInMemory', { images }, { images: 'list' });
  if (images.length === 0) throw new Error('photographsInMemory: expected one photograph at least, got none');
  for (const { name, image } of images) {
    const { width, height, data } = image;
    if (width >= 1 && height >= 1 && data.length === width * height * 3) continue;
    throw new Error(
      `photographsInMemory: expected '${name}' with data [height, width, 3], got ${width} x ${height} pixels and ${data.length} bytes`,
    );
  }
  let waited = 0;
  let closed = false;
  let identity: string | undefined;

  async function* read(
    indices: Iterable<number>,
    options: ReadPhotographs,
  ): AsyncGenerator<Photograph, void, undefined> {
    const { size, fit = 'longest', augment, signal } = options;
    checkRead(options);
    if (augment) checkAugment(augment);
    for (const index of indices) {
      checkIndex(index, images.length);
      signal?.throwIfAborted();
      if (closed) throw new Error('photographs: expected open photographs, got closed ones');
      const start = performance.now();
      const { name, image } = images[index]!;
      const resized = fitImage(image, { size, fit, ...(augment && { variation: variationOf(augment, name) }) });
      waited += (performance.now() - start) / 1000;
      yield { index, name, image: resized };
    }
  }

  return {
    names: images.map(({ name }) => name),
    get identity() {
      identity ??= identityOf(images);
      return identity;
    },
    read,
    skipped: [],
    get waited() {
      return waited;
    },
    async close() {
      closed = true;
    },
  };
}

function identityOf(images: readonly { readonly name: string; readonly image: RgbImage }[]): string {
  const facts = images.map(({ name, image: { width, height, data } }) => [name, width, height, hashBytes(data)]);
  return `memory-${images.length}-${hashText(JSON.stringify(facts)).toString(16)}`;
}
