/**
 * The pixel of a mask that is farthest from its border (city-block distance, the image's edge counts as border).
 *
 * @param mask [height * width], 1 inside
 */
export function interiorPoint(
  mask: Uint8Array,
  { width, height }: { width: number; height: number },
): [number, number] {
  const distance = new Uint16Array(mask.length);
  const at = (x: number, y: number) => (x < 0 || y < 0 || x >= width || y >= height ? 0 : distance[y * width + x]!);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++)
      if (mask[y * width + x]) distance[y * width + x] = 1 + Math.min(at(x - 1, y), at(x, y - 1));
  }
  let best = 0;
  let [bestX, bestY] = [0, 0];
  for (let y = height - 1; y >= 0; y--) {
    for (let x = width - 1; x >= 0; x--) {
      if (!mask[y * width + x]) continue;
      const here = Math.min(distance[y * width + x]!, 1 + Math.min(at(x + 1, y), at(x, y + 1)));
      distance[y * width + x] = here;
      if (here > best) [best, bestX, bestY] = [here, x, y];
    }
  }
  return [bestX, bestY];
}
