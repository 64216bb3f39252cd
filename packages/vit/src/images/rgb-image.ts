/** An image of 8-bit RGB pixels. */
export interface RgbImage {
  readonly width: number;
  readonly height: number;
  /** [height, width, 3] */
  readonly data: Uint8Array;
}

/** Pixels for a PNG. */
export interface RasterToEncode {
  readonly width: number;
  readonly height: number;
  /** [height, width] grey or [height, width, 3] */
  readonly data: Uint8Array;
}
