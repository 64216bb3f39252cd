import { parseSafetensors } from '@slimsam/weights';
import type { PartScorer } from '../../compress/part-scorer.ts';
import { type Job, jobHead } from '../../jobs/job.ts';
import { storeList, storePhotographs } from '../../jobs/kinds/photographs.ts';
import { storeModel } from '../../jobs/kinds/store-model.ts';
import { getBlob } from '../../jobs/store/blobs.ts';
import type { Model } from '../../models/network.ts';
import type { Photographs } from '../../photographs/photographs.ts';
import type { TeacherCache } from '../../teacher-cache/teacher-cache.ts';
import { type Crew, resultsOf } from '../many-machines.ts';

/** What both kinds of job take. */
interface Inputs {
  readonly photographs: Photographs;
  readonly seed: number;
  readonly size: number | undefined;
  readonly signal: AbortSignal;
}

/** Photographs whose embeddings a worker computes at once. */
const partSize = 32;

/** Scores parts of the photographs by jobs: to the last bit what this process would come to on the same adapter. */
export function scoreByJobs(crew: Crew, { photographs, seed, size, signal }: Inputs): PartScorer {
  return async function* ({ model, parts, scoring, dimensions }) {
    const { store } = crew;
    const file = await storeModel(store, model);
    const { accumulate, sigma, index, recompute } = scoring;
    const how = { accumulate, index, recompute, ...(sigma !== undefined && { sigma }) };
    const jobs: Job[] = [];
    for (const [i, { indices, first }] of parts.entries()) {
      const stored = await storePhotographs(photographs, { store, indices, signal });
      const list = await storeList(store, {
        identity: photographs.identity,
        photographs: stored.map((one) => ({ ...one, place: first + one.place })),
      });
      jobs.push({
        ...jobHead({ part: i + 1, parts: parts.length }, seed),
        ...{ kind: 'score', model: file, photographs: list, scoring: how, dimensions },
        ...(size !== undefined && { size }),
      });
    }
    for (const { outputs, value } of await resultsOf(crew, 'scores', jobs)) {
      const count = Number(value.count);
      if (count === 0) yield { scores: {}, count };
      else {
        const { tensors } = parseSafetensors(await getBlob(store, outputs.scores!), 'scores of a part');
        const scores = Object.entries(tensors).map(([name, { data }]) => [name, Float32Array.from(data)] as const);
        yield { scores: Object.fromEntries(scores), count };
      }
    }
  };
}

/** Fills the cache of a teacher's embeddings by jobs; what is in it stays. */
export async function embedByJobs(
  crew: Crew,
  { model, cache, photographs, seed, size, signal }: Inputs & { readonly model: Model; readonly cache: TeacherCache },
): Promise<void> {
  const { store } = crew;
  const { names, identity } = photographs;
  const parts = Math.ceil(names.length / partSize);
  const indicesOf = (part: number) => {
    const first = (part - 1) * partSize;
    return Array.from({ length: Math.min(partSize, names.length - first) }, (_, i) => first + i);
  };
  const wanted: number[] = [];
  for (let part = 1; part <= parts; part++) {
    const known = await Promise.all(indicesOf(part).map((index) => cache.get(names[index]!)));
    if (!known.every(Boolean)) wanted.push(part);
  }
  if (wanted.length === 0) return;
  const file = await storeModel(store, model);
  /** Photographs go to the store as their jobs go to the queue. */
  async function* jobs(): AsyncGenerator<Job> {
    for (const part of wanted) {
      const stored = await storePhotographs(photographs, { store, indices: indicesOf(part), signal });
      const list = await storeList(store, { identity, photographs: stored });
      yield {
        ...jobHead({ part, parts }, seed),
        ...{ kind: 'embed', model: file, photographs: list },
        ...(size !== undefined && { size }),
      };
    }
  }
  for await (const { job, result } of crew.done('embeddings', { jobs: jobs(), total: wanted.length })) {
    const own = indicesOf(job.shard.part);
    for (const [place, hash] of Object.entries(result.outputs))
      await cache.put(names[own[Number(place)]!]!, await getBlob(store, hash));
  }
}
