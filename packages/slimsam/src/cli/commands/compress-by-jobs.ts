import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseSafetensors } from '@slimsam/weights';
import type { PartScorer } from '../../compress/part-scorer.ts';
import { type Job, jobHead } from '../../jobs/job.ts';
import { storeList, storePhotographs } from '../../jobs/kinds/photographs.ts';
import { getBlob, putFile } from '../../jobs/store/blobs.ts';
import type { Store } from '../../jobs/store/store.ts';
import type { Model } from '../../models/network.ts';
import type { Photographs } from '../../photographs/photographs.ts';
import { saveModel } from '../../run/run-store-of.ts';
import type { TeacherCache } from '../../teacher-cache/teacher-cache.ts';
import type { Crew } from '../many-machines.ts';

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
    const file = await sendModel(store, model);
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
    for (const { outputs, value } of await crew.results('scores', jobs)) {
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
  const wanted: number[] = [];
  for (const [index, name] of photographs.names.entries()) if (!(await cache.get(name))) wanted.push(index);
  if (wanted.length === 0) return;
  const file = await sendModel(store, model);
  const parts = Math.ceil(wanted.length / partSize);
  const jobs: Job[] = [];
  for (let i = 0; i < parts; i++) {
    const indices = wanted.slice(i * partSize, (i + 1) * partSize);
    const stored = await storePhotographs(photographs, { store, indices, signal });
    const list = await storeList(store, { identity: photographs.identity, photographs: stored });
    jobs.push({
      ...jobHead({ part: i + 1, parts }, seed),
      ...{ kind: 'embed', model: file, photographs: list },
      ...(size !== undefined && { size }),
    });
  }
  for (const [i, { outputs }] of (await crew.results('embeddings', jobs)).entries()) {
    for (const [place, hash] of Object.entries(outputs)) {
      const index = wanted[i * partSize + Number(place)]!;
      await cache.put(photographs.names[index]!, await getBlob(store, hash));
    }
  }
}

/** Keeps a model in the store. @returns its file's hash */
export async function sendModel(store: Store, model: Model): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), 'slimsam-send-'));
  try {
    const file = path.join(folder, 'model.safetensors');
    await saveModel(file, model);
    return await putFile(store, file);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
