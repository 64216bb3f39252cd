import { checkFields } from '@slimsam/weights';
import { kmeansGenerator } from 'ml-kmeans';
import { hashText } from './hash.ts';
import { sample } from './order.ts';
import { checkIndex, type Photograph, type Photographs, type ReadPhotographs } from './photographs.ts';

/**
 * Some of the photographs, in the order of the indices. Closing them closes all.
 *
 * @throws when there are no indices, or one is wrong or there twice
 */
export function subsetOf(photographs: Photographs, indices: readonly number[]): Photographs {
  checkFields('subsetOf', { photographs, indices }, { photographs: 'object', indices: 'list' });
  if (indices.length === 0) throw new Error('subsetOf: expected one index at least, got none');
  const places = new Map<number, number>();
  for (const [place, index] of indices.entries()) {
    checkIndex(index, photographs.names.length);
    if (places.has(index)) throw new Error(`subsetOf: expected different indices, got ${index} twice`);
    places.set(index, place);
  }

  function* translated(wanted: Iterable<number>): Generator<number, void, undefined> {
    for (const place of wanted) {
      checkIndex(place, indices.length);
      yield indices[place]!;
    }
  }

  return {
    names: indices.map((index) => photographs.names[index]!),
    get identity() {
      return `${photographs.identity}-${indices.length}-${hashText(indices.join()).toString(16)}`;
    },
    async *read(wanted: Iterable<number>, options: ReadPhotographs) {
      for await (const photograph of photographs.read(translated(wanted), options)) {
        yield { ...photograph, index: places.get(photograph.index)! };
      }
    },
    ...(photographs.file && {
      file: async (place: number) => {
        checkIndex(place, indices.length);
        return photographs.file!(indices[place]!);
      },
    }),
    get skipped() {
      return photographs.skipped;
    },
    get waited() {
      return photographs.waited;
    },
    close: () => photographs.close(),
  };
}

/** How `kMeansSubset` chooses. */
export interface KMeansSubset extends Omit<ReadPhotographs, 'augment'> {
  /** Photographs to choose. */
  readonly count: number;
  readonly seed: number;
  /** A photograph's vector, as the teacher sees it: its embedding's mean over all places, for example. All are of one length. */
  readonly embed: (photograph: Photograph) => Promise<ArrayLike<number>>;
  readonly onEmbedded?: (progress: { readonly done: number; readonly count: number }) => void;
}

/** Rounds of k-means; the centres hardly move afterwards. */
const mostRounds = 50;

/**
 * Chooses photographs that differ: k-means (k-means++ at the start) of their embeddings, and the one nearest to each centre. Reads each
 * photograph once; damaged ones are not chosen.
 *
 * @returns their indices, ascending, for `subsetOf`
 * @throws when count is not 1, 2, …, as many as there are, when vectors are empty, of unequal lengths or not finite, see `Photographs.read`
 */
export async function kMeansSubset(photographs: Photographs, options: KMeansSubset): Promise<number[]> {
  checkFields('kMeansSubset', { options }, { options: 'object' });
  checkFields('kMeansSubset', photographs, { names: 'list', read: 'function' });
  const { count, seed, embed, onEmbedded, ...how } = options;
  const all = photographs.names.map((_, index) => index);
  if (!Number.isInteger(count) || count < 1 || count > all.length) {
    throw new Error(`kMeansSubset: expected a count of 1 to ${all.length}, got ${count}`);
  }
  const indices: number[] = [];
  const vectors: number[][] = [];
  for await (const photograph of photographs.read(all, how)) {
    const vector = Array.from(await embed(photograph));
    checkVector(vector, { length: vectors[0]?.length ?? vector.length, name: photograph.name });
    indices.push(photograph.index);
    vectors.push(vector);
    onEmbedded?.({ done: indices.length, count: all.length });
  }
  if (count > indices.length) {
    throw new Error(`kMeansSubset: expected ${count} photographs that can be decoded, got ${indices.length}`);
  }
  const chosen = await nearestToCentres(vectors, { count, seed, signal: how.signal });
  return chosen.map((at) => indices[at]!).sort((a, b) => a - b);
}

function checkVector(vector: readonly number[], { length, name }: { length: number; name: string }): void {
  if (vector.length > 0 && vector.length === length && vector.every(Number.isFinite)) return;
  const got = vector.length === length ? 'other values' : `${vector.length}`;
  throw new Error(`kMeansSubset: expected ${Math.max(1, length)} finite numbers from embed for '${name}', got ${got}`);
}

async function nearestToCentres(
  vectors: readonly number[][],
  { count, seed, signal }: { count: number; seed: number; signal: AbortSignal | undefined },
): Promise<number[]> {
  const different = new Map(vectors.map((vector, at) => [vector.join(), at]));
  if (different.size <= count) {
    const rest = vectors.map((_, at) => at).filter((at) => different.get(vectors[at]!.join()) !== at);
    const size = count - different.size;
    return [...different.values(), ...(size > 0 ? sample(rest, { size, seed }) : [])];
  }
  let centres: number[][] = [];
  for (const { centroids } of kmeansGenerator([...vectors], count, { seed, maxIterations: mostRounds })) {
    centres = centroids;
    await new Promise((resolve) => setTimeout(resolve)); // a signal, a page, other work
    signal?.throwIfAborted();
  }
  const free = new Set(vectors.keys());
  return centres.map((centre) => {
    let nearest = -1;
    let least = Number.POSITIVE_INFINITY;
    for (const at of free) {
      const distance = squaredDistance(vectors[at]!, centre);
      if (distance < least) [nearest, least] = [at, distance];
    }
    free.delete(nearest);
    return nearest;
  });
}

function squaredDistance(a: readonly number[], b: readonly number[]): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i]! - b[i]!) ** 2;
  return sum;
}
