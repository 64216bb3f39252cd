import type { RgbImage } from '@slimsam/vit/images';
import type { Augment } from './augment.ts';

/** One photograph, resized. */
export interface Photograph {
  /** Its place among `names`. */
  readonly index: number;
  readonly name: string;
  readonly image: RgbImage;
}

/** How photographs are resized (by Pillow's bilinear filter) and varied. */
export interface ReadPhotographs {
  /** Pixels. */
  readonly size: number;
  /** 'longest', the default: the longest side has `size` pixels, as SAM reads it. 'square': both sides have, as plain ViTs do. */
  readonly fit?: 'longest' | 'square';
  /** Flips and scales at random; none unless given. */
  readonly augment?: Augment;
  readonly signal?: AbortSignal;
}

/** A photograph that is left out, and why. */
export interface SkippedPhotograph {
  readonly name: string;
  readonly reason: string;
}

/** Photographs by number, wherever they are kept. */
export interface Photographs {
  /** In an order that depends on the source alone. */
  readonly names: readonly string[];
  /** A hash of names, bytes and times (of pixels, where they are in memory): photographs of equal identity are taken for the same. */
  readonly identity: string;
  /**
   * Reads photographs in the order of the indices, some of them ahead while the caller works. A damaged one is left out and noted in
   * `skipped`.
   *
   * @throws when an index or option is wrong, when none of all photographs can be decoded, when closed, when a signal aborts and, if
   * strict, at a damaged photograph
   */
  read(indices: Iterable<number>, options: ReadPhotographs): AsyncGenerator<Photograph, void, undefined>;
  /** Grows as damaged photographs are met. */
  readonly skipped: readonly SkippedPhotograph[];
  /** Seconds that readers have waited for photographs. */
  readonly waited: number;
  /** A photograph's file, as it is: JPEG, PNG, …. Missing where photographs are pixels in memory. */
  file?(index: number): Promise<Uint8Array>;
  /** Frees workers; reading ends with an error. Closing twice does nothing more. */
  close(): Promise<void>;
}

/** @throws when an option of `read` is wrong */
export function checkRead({ size, fit = 'longest' }: ReadPhotographs): void {
  if (!Number.isSafeInteger(size) || size < 1 || size > 16_384) {
    throw new Error(`photographs: expected a size of 1 to 16384 pixels, got ${size}`);
  }
  if (fit !== 'longest' && fit !== 'square') {
    throw new Error(`photographs: expected fit as 'longest' or 'square', got '${String(fit)}'`);
  }
}

/** @throws when it is not an index of one of `count` photographs */
export function checkIndex(index: number, count: number): void {
  if (Number.isInteger(index) && index >= 0 && index < count) return;
  throw new Error(`photographs: expected an index of 0 to ${count - 1}, got ${index}`);
}
