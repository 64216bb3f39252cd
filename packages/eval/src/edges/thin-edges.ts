/** Neighbours from the east counterclockwise: x1 to x8 of Guo and Hall; y points down. */
const around: readonly (readonly [x: number, y: number])[] = [
  [1, 0],
  [1, -1],
  [0, -1],
  [-1, -1],
  [-1, 0],
  [-1, 1],
  [0, 1],
  [1, 1],
];

/** For each pattern of neighbours (bit k - 1 is xk) whether the two sub-iterations delete the pixel: bit 0 and bit 1. */
const deletes: Uint8Array = Uint8Array.from({ length: 256 }, (_, pattern) => {
  const x = (k: number) => (pattern >> ((k - 1) % 8)) & 1;
  const pairs = [1, 2, 3, 4];
  const count = (test: (k: number) => number) => pairs.reduce((sum, i) => sum + test(i), 0);
  if (count((i) => (x(2 * i - 1) === 0 && (x(2 * i) || x(2 * i + 1)) ? 1 : 0)) !== 1) return 0;
  const least = Math.min(
    count((i) => x(2 * i - 1) | x(2 * i)),
    count((i) => x(2 * i) | x(2 * i + 1)),
  );
  if (least < 2 || least > 3) return 0;
  const first = (x(2) | x(3) | (1 - x(8))) & x(1);
  const second = (x(6) | x(7) | (1 - x(4))) & x(5);
  return (first ? 0 : 1) | (second ? 0 : 2);
});

/**
 * Thins to lines of one pixel until nothing changes: Guo and Hall 1989, as `bwmorph(…, 'thin', Inf)`. In place.
 *
 * @param mask [height * width] of 0 and 1, row by row
 */
export function thinEdges(mask: Uint8Array, width: number): void {
  const height = mask.length / width;
  let live: number[] = [];
  mask.forEach((inside, at) => {
    if (inside) live.push(at);
  });
  const patternAt = (at: number): number => {
    const [x, y] = [at % width, Math.floor(at / width)];
    let pattern = 0;
    for (let k = 0; k < 8; k++) {
      const [nx, ny] = [x + around[k]![0], y + around[k]![1]];
      if (nx >= 0 && nx < width && ny >= 0 && ny < height && mask[ny * width + nx]) pattern |= 1 << k;
    }
    return pattern;
  };
  for (let before = -1; before !== live.length; ) {
    before = live.length;
    for (const bit of [1, 2]) {
      const gone = live.filter((at) => deletes[patternAt(at)]! & bit);
      for (const at of gone) mask[at] = 0;
      if (gone.length > 0) live = live.filter((at) => mask[at]);
    }
  }
}
