/** The connected pixels of one value. */
interface Regions {
  /** [height * width]: 0 for pixels of the other value, else the region's number from 1 on */
  readonly labels: Int32Array;
  /** Pixels of each region; that of region 1 first. */
  readonly sizes: readonly number[];
}

/**
 * Fills holes and removes islands of fewer than `minArea` pixels, which are connected along edges or corners; the largest island stays
 * whatever its size (segment-anything, utils/amg.py: remove_small_regions, holes before islands).
 *
 * @param mask [height * width] of 0 and 1, changed in place
 * @returns whether there was any such hole or island
 */
export function removeSmallRegions(mask: Uint8Array, { width, minArea }: { width: number; minArea: number }): boolean {
  const holes = findRegions(mask, { width, value: 0 });
  const hasHoles = holes.sizes.some((size) => size < minArea);
  if (hasHoles) {
    holes.labels.forEach((label, i) => {
      if (label > 0 && holes.sizes[label - 1]! < minArea) mask[i] = 1;
    });
  }
  const islands = findRegions(mask, { width, value: 1 });
  const hasIslands = islands.sizes.some((size) => size < minArea);
  if (hasIslands) {
    const largest = 1 + islands.sizes.indexOf(islands.sizes.reduce((most, size) => Math.max(most, size)));
    islands.labels.forEach((label, i) => {
      if (label > 0 && label !== largest && islands.sizes[label - 1]! < minArea) mask[i] = 0;
    });
  }
  return hasHoles || hasIslands;
}

/** Numbers the regions in the order of their first pixels, row by row. */
function findRegions(mask: Uint8Array, { width, value }: { width: number; value: 0 | 1 }): Regions {
  const height = mask.length / width;
  const labels = new Int32Array(mask.length);
  const sizes: number[] = [];
  const open: number[] = []; // pixels whose neighbours are still to be seen
  for (let start = 0; start < mask.length; start++) {
    if (mask[start] !== value || labels[start] !== 0) continue;
    const label = sizes.length + 1;
    let size = 0;
    labels[start] = label;
    open.push(start);
    for (let pixel = open.pop(); pixel !== undefined; pixel = open.pop()) {
      size++;
      const [x, y] = [pixel % width, Math.floor(pixel / width)];
      for (let v = Math.max(0, y - 1); v <= Math.min(height - 1, y + 1); v++) {
        for (let u = Math.max(0, x - 1); u <= Math.min(width - 1, x + 1); u++) {
          const neighbour = v * width + u;
          if (mask[neighbour] === value && labels[neighbour] === 0) {
            labels[neighbour] = label;
            open.push(neighbour);
          }
        }
      }
    }
    sizes.push(size);
  }
  return { labels, sizes };
}
