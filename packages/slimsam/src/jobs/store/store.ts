import { checkFields } from '@slimsam/weights';

/** A thing in a store. */
export interface StoredThing {
  readonly key: string;
  readonly bytes: number;
  /** When it was written, by the store's clock, milliseconds. */
  readonly modified: number;
}

/**
 * Where jobs find their inputs and leave their results: a folder, or S3. Things are whole or not there, and never change.
 * Keys are words of [a-z0-9-], with slashes between them.
 */
export interface Store {
  /** Where it is, for messages: without passwords. */
  readonly location: string;
  has(key: string): Promise<boolean>;
  /** The whole thing; undefined where there is none. */
  read(key: string): Promise<Uint8Array | undefined>;
  /** Copies the whole thing to a file of the disk. @returns false where there is none */
  readFile(key: string, file: string): Promise<boolean>;
  /** Writes where nothing is. @returns false where something is there already, which stays. @throws when the store is full */
  create(key: string, content: Uint8Array | { readonly file: string }): Promise<boolean>;
  /** All things whose keys begin so. */
  list(prefix: string): AsyncIterable<StoredThing>;
  remove(key: string): Promise<void>;
}

/** @throws when a key is none */
export function checkKey(key: string): string {
  checkFields('store', { key }, { key: 'string' });
  if (/^[a-z0-9-]+(\/[a-z0-9-]+)*$/.test(key)) return key;
  throw new Error(`store: expected a key of [a-z0-9-] and slashes, got ${JSON.stringify(key).slice(0, 100)}`);
}
