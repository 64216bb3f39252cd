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

/**
 * Numbers the regions in the order of their first pixels, row by row: a pixel takes the label of its neighbours that came before; labels
 * that meet are joined, the smaller one becoming the other's parent.
 */
function findRegions(mask: Uint8Array, { width, value }: { width: number; value: 0 | 1 }): Regions {
  const labels = new Int32Array(mask.length);
  const parents = [0];
  const rootOf = (label: number): number => {
    let root = label;
    while (parents[root] !== root) root = parents[root]!;
    return root;
  };
  for (let row = 0; row < mask.length; row += width) {
    for (let x = 0; x < width; x++) {
      const i = row + x;
      if (mask[i] !== value) continue;
      const up = row > 0 ? labels[i - width]! : 0;
      const left = x > 0 ? labels[i - 1] || (row > 0 ? labels[i - width - 1]! : 0) : 0; // these two touch each other
      const right = row > 0 && x < width - 1 ? labels[i - width + 1]! : 0;
      if (up === 0 && left > 0 && right > 0) {
        const [a, b] = [rootOf(left), rootOf(right)];
        parents[Math.max(a, b)] = Math.min(a, b);
      }
      labels[i] = up || left || right || parents.push(parents.length) - 1;
    }
  }
  const numbers = [0]; // of each label's region; a parent comes before its children
  const sizes: number[] = [];
  for (let label = 1; label < parents.length; label++) {
    numbers.push(parents[label] === label ? sizes.push(0) : numbers[parents[label]!]!);
  }
  for (let i = 0; i < labels.length; i++) {
    const number = numbers[labels[i]!]!;
    labels[i] = number;
    if (number > 0) sizes[number - 1]!++;
  }
  return { labels, sizes };
}
