import type { FilePart, RgbImage } from '@slimsam/vit/images';
import type { FitImage } from '../fit-image.ts';

/** Where a photograph's pixels are: in a file, encoded, or decoded. All of it can be sent to a worker. */
export type PixelSource =
  | { readonly kind: 'file'; readonly part: FilePart }
  | { readonly kind: 'encoded'; readonly bytes: Uint8Array }
  | { readonly kind: 'image'; readonly image: RgbImage };

/** What a worker does for one photograph. */
export interface DecodeTask extends FitImage {
  readonly source: PixelSource;
  /** The file that keeps the resized pixels, and whether to write it where it is missing. */
  readonly cache?: { readonly file: string; readonly write: boolean };
}

/** What comes of it. */
export type Decoded =
  | {
      readonly kind: 'image';
      readonly image: RgbImage;
      /** Bytes of the cache's file, when it was written. */
      readonly written?: number;
      /** Why it was not. */
      readonly unwritten?: string;
    }
  /** The photograph is damaged. */
  | { readonly kind: 'damaged'; readonly reason: string }
  /** Nobody waited for it any more, so that it did not begin. */
  | { readonly kind: 'left' };

/** To a worker: a task, or those to leave when they have not begun. */
export type ToWorker = { readonly id: number; readonly task: DecodeTask } | { readonly leave: readonly number[] };

/** From a worker. */
export interface FromWorker {
  readonly id: number;
  readonly decoded: Decoded;
}
