import { checkFields } from '@slimsam/weights';
import { createGunzip, createReadStream, extract, path } from '#node';
import { refuse } from '../coco/bad-record.ts';
import type { ReadImagesOptions } from './read-sa1b.ts';
import { type PackedSa1bImage, parseSa1b, reason, sa1bImage } from './sa1b-image.ts';

/** An image or JSON file of this size is not SA-1B's. */
const mostBytes = 2 ** 28;
/** Files that wait for their other half: SA-1B's shards have pairs side by side. */
const mostWaiting = 1000;

/**
 * Reads SA-1B's shards: a tar file (or .tar.gz) of pairs `sa_1.jpg`, `sa_1.json`, in the file's order, unpacked as they come; nothing is
 * written. An image's `bytes` are kept while the image is.
 *
 * @throws when the file is missing, no tar, or ends early; when a pair is wrong, or one half of it is missing; when the signal aborts
 */
export async function* readSa1bTar(
  file: string,
  options: ReadImagesOptions = {},
): AsyncGenerator<PackedSa1bImage, void, void> {
  checkFields('readSa1bTar', { file, options }, { file: 'string', options: 'object?' });
  const { onBad, signal } = options;
  const unpacked = extract();
  const source = createReadStream(file);
  const fail = (error: Error) => unpacked.destroy(error);
  source.on('error', fail);
  if (/[.]t?gz$/.test(file)) source.pipe(createGunzip().on('error', fail)).pipe(unpacked);
  else source.pipe(unpacked);
  const waiting = new Map<string, Uint8Array>();
  let pairs = 0;
  try {
    for await (const entry of unpacked) {
      signal?.throwIfAborted();
      const { name, type, size = 0 } = entry.header;
      const base = path.posix.basename(name);
      if (type !== 'file' || base.startsWith('.') || !/[.](jpe?g|json)$/i.test(base)) {
        entry.resume();
        continue;
      }
      if (size > mostBytes) throw new Error(`expected files of at most ${mostBytes} bytes, got ${size} for '${name}'`);
      const parts: Uint8Array[] = [];
      for await (const part of entry) parts.push(part as Uint8Array);
      const bytes = new Uint8Array(Buffer.concat(parts));
      if (bytes.length !== size) throw new Error(`expected ${size} bytes of '${name}', got ${bytes.length}`);
      const stem = base.replace(/[.]\w+$/, '');
      const otherName = /json$/i.test(base) ? `${stem}.jpg` : `${stem}.json`;
      const other = waiting.get(otherName);
      if (!other) {
        waiting.set(/json$/i.test(base) ? base : `${stem}.jpg`, bytes);
        if (waiting.size > mostWaiting)
          throw new Error(`expected images beside their JSON files, got ${mostWaiting} without`);
        continue;
      }
      waiting.delete(otherName);
      pairs++;
      const [json, jpeg] = /json$/i.test(base) ? [bytes, other] : [other, bytes];
      const content = parseSa1b(`${file}: ${stem}.json`, new TextDecoder().decode(json), onBad);
      if (content) yield sa1bImage(`${file}: ${stem}.json`, content, { bytes: async () => jpeg, onBad });
    }
  } catch (error) {
    if (signal?.aborted) throw error;
    const message = reason(error);
    throw message.startsWith('readSa1b') ? error : new Error(`readSa1bTar: '${file}': ${message}`, { cause: error });
  } finally {
    source.destroy();
    unpacked.destroy();
  }
  for (const name of waiting.keys()) {
    const problem = `expected an image and a JSON file of one name, got one of them`;
    refuse({ source: `readSa1bTar: '${file}'`, record: name, field: '', problem }, onBad);
  }
  if (pairs === 0) throw new Error(`readSa1bTar: expected pairs of .jpg and .json in '${file}', got none`);
}
