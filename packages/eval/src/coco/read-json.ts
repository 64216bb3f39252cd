import { openRegularFile, printable } from '@slimsam/weights';
import { JSONParser } from '@streamparser/json';

/** One value of a file, and where it stands. */
export interface JsonItem {
  /** The list it is in: 'images'; '' for a file that is one list. */
  readonly list: string;
  readonly index: number;
  readonly value: unknown;
}

/**
 * The elements of a JSON file's lists, as they come: of the lists in its object, or of the list that it is. The file is never whole in
 * memory.
 *
 * @param lists names of the lists that are wanted; '' for the file's own list
 * @throws when the file cannot be read, is not JSON, ends early, or is neither (the message names file, byte and the last element)
 */
export async function* readJsonLists(
  file: string,
  { lists, signal }: { readonly lists: readonly string[]; readonly signal?: AbortSignal },
): AsyncGenerator<JsonItem, void, void> {
  const handle = await openRegularFile(file).catch((error: unknown) => {
    throw new Error(`'${file}': expected a JSON file, got ${text(error)}`, { cause: error });
  });
  const found: JsonItem[] = [];
  let last = 'nothing';
  const parser = new JSONParser({
    paths: lists.map((list) => (list === '' ? '$.*' : `$.${list}.*`)),
    keepStack: false,
  });
  parser.onValue = ({ value, key, stack }) => {
    const list = stack.length > 1 ? String(stack[1]?.key) : '';
    found.push({ list, index: Number(key), value });
  };
  let failure: Error | undefined;
  parser.onError = (error) => {
    failure ??= error;
  };
  let at = 0;
  try {
    for (const buffer = new Uint8Array(1 << 20); ; ) {
      signal?.throwIfAborted();
      const { bytesRead } = await handle.read(buffer, 0, buffer.length);
      if (bytesRead === 0) break;
      parser.write(buffer.subarray(0, bytesRead)); // which passes over a byte order mark
      if (failure) {
        const place = `near byte ${at + bytesRead} after ${last}`;
        throw new Error(`'${file}': expected JSON, got an error ${place}: ${text(failure)}`, { cause: failure });
      }
      at += bytesRead;
      for (const item of found) {
        last = `${item.list}[${item.index}]`;
        yield item;
      }
      found.length = 0;
    }
    if (!parser.isEnded)
      throw new Error(`'${file}': expected a whole JSON file, got its end at byte ${at} after ${last}`);
  } finally {
    await handle.close();
  }
}

function text(error: unknown): string {
  return printable(error instanceof Error ? error.message : String(error));
}
