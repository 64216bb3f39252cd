import { decodeImage } from '@slimsam/vit/images';
import { checkAugment, variationOf } from './augment.ts';
import { fitImage } from './fit-image.ts';
import { hashText } from './hash.ts';
import {
  checkIndex,
  checkRead,
  type Photographs,
  type ReadPhotographs,
  type SkippedPhotograph,
} from './photographs.ts';

/** An encoded photograph: a File of a browser, or a Blob with a name. */
export interface PhotographFile {
  readonly name: string;
  readonly blob: Blob;
}

/**
 * Photographs in files that a browser holds, such as those dropped on a page. Each is decoded when it is read, one ahead of the reader;
 * damaged ones are left out and noted in `skipped`.
 *
 * @throws when there are none
 */
export function photographsInFiles(files: readonly PhotographFile[]): Photographs {
  if (files.length === 0) throw new Error('photographsInFiles: expected one photograph at least, got none');
  const skipped = new Map<string, SkippedPhotograph>();
  let waited = 0;
  let closed = false;

  async function* read(indices: Iterable<number>, options: ReadPhotographs): ReturnType<Photographs['read']> {
    const { size, fit = 'longest', augment, signal } = options;
    checkRead(options);
    if (augment) checkAugment(augment);
    const wanted = [...indices];
    for (const index of wanted) checkIndex(index, files.length);
    const decode = (index: number | undefined) =>
      index === undefined ? undefined : decodeImage(files[index]!.blob).catch((error: Error) => error);
    let next = decode(wanted[0]);
    for (const [i, index] of wanted.entries()) {
      signal?.throwIfAborted();
      if (closed) throw new Error('photographs: expected open photographs, got closed ones');
      const start = performance.now();
      const decoded = await next!;
      waited += (performance.now() - start) / 1000;
      next = decode(wanted[i + 1]);
      const { name } = files[index]!;
      if (decoded instanceof Error) {
        skipped.set(name, { name, reason: decoded.message });
        if (skipped.size === files.length)
          throw new Error(
            `photographs: expected photographs that can be decoded, got none; '${name}': ${decoded.message}`,
          );
        continue;
      }
      yield {
        ...{ index, name },
        image: fitImage(decoded, { size, fit, ...(augment && { variation: variationOf(augment, name) }) }),
      };
    }
  }

  return {
    names: files.map(({ name }) => name),
    identity: `files-${files.length}-${hashText(JSON.stringify(files.map(({ name, blob }) => [name, blob.size]))).toString(16)}`,
    read,
    get skipped() {
      return [...skipped.values()];
    },
    get waited() {
      return waited;
    },
    async close() {
      closed = true;
    },
  };
}
