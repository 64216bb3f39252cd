/** Pixels, row by row. */
export interface RgbImage {
  readonly width: number;
  readonly height: number;
  /** [height * width * 3], R G B */
  readonly data: Uint8Array;
}
