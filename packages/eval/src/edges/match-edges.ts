import type { MaskSize } from '../masks/rle.ts';

/** Which pixels of two edge maps have a partner in the other. */
export interface MatchedEdges {
  /** [height * width], 1 where the pixel of `found` has a partner */
  readonly found: Uint8Array;
  /** Pixels of either map that have one. */
  readonly count: number;
}

/**
 * Matches pixels of two edge maps one to one, as many as can be, partners being at most `tolerance` pixels apart: the nearest first, then
 * augmenting paths (Hopcroft and Karp 1973). BSDS500's correspondPixels has the same aim; it stops short of it by random sampling.
 *
 * @param found @param truth [height * width] of 0 and 1, row by row
 */
export function matchEdges(
  found: Uint8Array,
  truth: Uint8Array,
  { size: [height, width], tolerance }: { readonly size: MaskSize; readonly tolerance: number },
): MatchedEdges {
  const graph = graphOf(found, truth, { height, width, tolerance });
  const partners = nearestFirst(graph);
  while (augment(graph, partners));
  const matched = new Uint8Array(found.length);
  let count = 0;
  partners.ofFound.forEach((partner, i) => {
    if (partner < 0) return;
    matched[graph.places[i]!] = 1;
    count++;
  });
  return { found: matched, count };
}

/** Possible partners: of the i-th found pixel `targets[starts[i]]` to `targets[starts[i + 1] - 1]`, the nearest first. */
interface Graph {
  /** Of the found pixels in the image. */
  readonly places: Int32Array;
  readonly starts: Int32Array;
  readonly targets: Int32Array;
  /** Squared distances, beside the targets. */
  readonly distances: Int32Array;
  readonly truths: number;
}

/** -1: none. */
interface Partners {
  readonly ofFound: Int32Array;
  readonly ofTruth: Int32Array;
}

function graphOf(
  found: Uint8Array,
  truth: Uint8Array,
  { height, width, tolerance }: { height: number; width: number; tolerance: number },
): Graph {
  const reach = Math.floor(tolerance);
  const offsets: { x: number; y: number; distance: number }[] = [];
  for (let y = -reach; y <= reach; y++) {
    for (let x = -reach; x <= reach; x++) {
      const distance = x * x + y * y;
      if (distance <= tolerance * tolerance) offsets.push({ x, y, distance });
    }
  }
  offsets.sort((a, b) => a.distance - b.distance);
  const number = new Int32Array(truth.length).fill(-1);
  let truths = 0;
  truth.forEach((inside, at) => {
    if (inside) number[at] = truths++;
  });
  const places = Int32Array.from(indicesOf(found));
  const starts = new Int32Array(places.length + 1);
  const targets: number[] = [];
  const distances: number[] = [];
  places.forEach((at, i) => {
    const [px, py] = [at % width, Math.floor(at / width)];
    for (const { x, y, distance } of offsets) {
      const [tx, ty] = [px + x, py + y];
      if (tx < 0 || tx >= width || ty < 0 || ty >= height) continue;
      const target = number[ty * width + tx]!;
      if (target < 0) continue;
      targets.push(target);
      distances.push(distance);
    }
    starts[i + 1] = targets.length;
  });
  return { places, starts, targets: Int32Array.from(targets), distances: Int32Array.from(distances), truths };
}

function indicesOf(mask: Uint8Array): number[] {
  const indices: number[] = [];
  mask.forEach((inside, at) => {
    if (inside) indices.push(at);
  });
  return indices;
}

/** Pairs of the least distance before those of larger ones. */
function nearestFirst({ places, starts, targets, distances, truths }: Graph): Partners {
  const ofFound = new Int32Array(places.length).fill(-1);
  const ofTruth = new Int32Array(truths).fill(-1);
  const next = starts.slice(0, -1); // the first target that is not tried yet
  for (const distance of [...new Set(distances)].sort((a, b) => a - b)) {
    for (let i = 0; i < places.length; i++) {
      for (; next[i]! < starts[i + 1]! && distances[next[i]!]! <= distance; next[i]!++) {
        const target = targets[next[i]!]!;
        if (ofFound[i]! >= 0 || ofTruth[target]! >= 0) continue;
        ofFound[i] = target;
        ofTruth[target] = i;
      }
    }
  }
  return { ofFound, ofTruth };
}

/** One phase: augments along as many disjoint shortest paths as are found. @returns whether there was one */
function augment({ places, starts, targets }: Graph, { ofFound, ofTruth }: Partners): boolean {
  const levels = new Int32Array(places.length).fill(-1);
  let layer: number[] = [];
  ofFound.forEach((partner, i) => {
    if (partner >= 0) return;
    levels[i] = 0;
    layer.push(i);
  });
  let reached = false;
  for (let level = 1; layer.length > 0 && !reached; level++) {
    const following: number[] = [];
    for (const i of layer) {
      for (let k = starts[i]!; k < starts[i + 1]!; k++) {
        const owner = ofTruth[targets[k]!]!;
        if (owner < 0) reached = true;
        else if (levels[owner]! < 0) {
          levels[owner] = level;
          following.push(owner);
        }
      }
    }
    layer = following;
  }
  if (!reached) return false;
  const next = starts.slice(0, -1);
  let any = false;
  for (let root = 0; root < places.length; root++) {
    if (ofFound[root]! >= 0 || levels[root] !== 0) continue;
    const path = [root];
    while (path.length > 0) {
      const i = path.at(-1)!;
      if (next[i]! >= starts[i + 1]!) {
        path.pop(); // a dead end
        if (path.length > 0) next[path.at(-1)!]!++;
        continue;
      }
      const owner = ofTruth[targets[next[i]!]!]!;
      if (owner < 0) {
        for (const member of path) {
          const target = targets[next[member]!]!;
          ofFound[member] = target;
          ofTruth[target] = member;
          levels[member] = -1; // of no other path
        }
        any = true;
        break;
      }
      if (levels[owner] === levels[i]! + 1) path.push(owner);
      else next[i]!++;
    }
  }
  return any;
}
