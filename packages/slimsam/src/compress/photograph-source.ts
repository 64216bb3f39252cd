import type { RgbImage } from '@slimsam/vit';

/** What compressing asks of photographs. */
export interface PhotographSource {
  /** Stable, in order. */
  readonly names: readonly string[];
  /** Of names, sizes and times: part of the run's identity. */
  readonly identity: string;
  /** The photographs of these indices in their order, resized; those that cannot be read are left out. */
  read(
    indices: Iterable<number>,
    options: {
      readonly size: number;
      readonly fit: 'longest' | 'square';
      readonly signal?: AbortSignal;
    },
  ): AsyncGenerator<{ readonly index: number; readonly name: string; readonly image: RgbImage }>;
  /** Those that could not be read so far, and why. */
  readonly skipped: readonly { readonly name: string; readonly reason: string }[];
}
