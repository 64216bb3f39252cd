import { disposeWeights } from '@slimsam/weights';
import type { Model } from '../../models/network.ts';
import type { JobResult } from '../job.ts';
import { getFile } from '../store/blobs.ts';
import type { Store } from '../store/store.ts';

/** Where jobs are done. */
export interface Workplace {
  readonly store: Store;
  /** For files of this process alone. */
  readonly folder: string;
  readonly adapter: string;
  readonly worker: string;
  readonly version: string;
  /** The model of the last job: the next one mostly has the same. */
  readonly models: Map<string, Model>;
}

/** A workplace and the job's signal. */
export interface JobContext extends Workplace {
  readonly signal: AbortSignal;
}

/** What a kind of job gives. */
export type JobYield = Pick<JobResult, 'value' | 'outputs'>;

/** A model of the store. It stays the workplace's, which keeps one. @throws when the blob is missing or no model */
export async function modelOf(
  { model: hash, decoderHeads }: { readonly model: string; readonly decoderHeads?: number | undefined },
  { store, folder, models }: Workplace,
): Promise<Model> {
  const key = `${hash} ${decoderHeads}`;
  const known = models.get(key);
  if (known) return known;
  const file = `${folder}/${hash}.safetensors`;
  await getFile(store, hash, file);
  const { loadModel } = await import('../../models/load-model.ts');
  const model = await loadModel(file, decoderHeads === undefined ? {} : { decoderHeads });
  for (const { weights } of models.values()) disposeWeights(weights);
  models.clear();
  models.set(key, model);
  return model;
}
