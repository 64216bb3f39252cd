/** Pixels that are decoded: a tab holds them several times. */
const mostPixels = 64e6;

/** @throws when a picture is larger than a tab can hold */
export function checkPixels({ width, height }: { readonly width: number; readonly height: number }): void {
  if (width * height > mostPixels)
    throw new Error(
      `picture: expected at most ${mostPixels / 1e6} megapixels, got ${width} x ${height}; scale it down first`,
    );
}
