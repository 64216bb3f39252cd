import type { PixelSource } from '../decoding/task.ts';
import type { SkippedPhotograph } from '../photographs.ts';

/** A photograph that was found: nothing of it has been read. */
export interface Entry {
  readonly name: string;
  readonly source: PixelSource;
  /** Of its encoded bytes. */
  readonly bytes: number;
  /** When its file was changed, milliseconds; 0 for what is in memory. */
  readonly modified: number;
}

/** What a source holds. */
export interface Listing {
  readonly entries: Entry[];
  readonly skipped: SkippedPhotograph[];
  /** Files of other kinds. */
  passedOver: number;
}

/** File names that promise a photograph; their content decides. */
export const isImageName = (name: string): boolean => /\.(jpe?g|png|webp|tiff?|gif|avif|bmp)$/i.test(name);

export const isTarName = (name: string): boolean => /\.tar$/i.test(name);

/** Hidden files: of macOS's archiver, of editors, of writes that go on. */
export const isHidden = (name: string): boolean => name.startsWith('.');

/** A text as it can be shown on a terminal. */
export const quoted = (text: string): string => `'${JSON.stringify(text).slice(1, -1).replaceAll('\\"', '"')}'`;
