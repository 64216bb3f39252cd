import { type RawTensor, serializeSafetensors } from '@slimsam/weights';
import { disturbed, scorePart } from '../../compress/score-parts.ts';
import { networkOf } from '../../models/network.ts';
import type { JobOf } from '../job.ts';
import { putBlob } from '../store/blobs.ts';
import { withStored } from './photographs.ts';
import { type JobContext, type JobYield, modelOf } from './workplace.ts';

/** Scores all channels that may be pruned on one part of the photographs: a tensor [channels] by dimension. */
export async function scoreJob(job: JobOf<'score'>, context: JobContext): Promise<JobYield> {
  const { store, signal } = context;
  const { seed, size, photographs: hash, scoring, dimensions } = job;
  const model = await modelOf(job, context);
  const network = networkOf(model, { size });
  return withStored(hash, context, async (photographs, { photographs: stored }) => {
    const { accumulate, sigma, index, recompute } = scoring;
    const steps = scorePart(
      { network, photographs, signal, recompute },
      {
        part: { indices: stored.map((_, i) => i), first: stored[0]!.place },
        ...{ criterion: 'taylor', accumulate, lossOf: disturbed(sigma), index, seed, dimensions },
        weights: model.weights,
      },
    );
    let next = await steps.next();
    while (!next.done) next = await steps.next();
    const { scores, count } = next.value;
    const tensors: Record<string, RawTensor> = {};
    for (const [name, data] of Object.entries(scores)) tensors[name] = { dtype: 'F32', shape: [data.length], data };
    const outputs: Record<string, string> = {};
    if (count > 0) outputs.scores = await putBlob(store, serializeSafetensors(tensors));
    return { value: { count, skipped: photographs.skipped.map(({ name, reason }) => ({ name, reason })) }, outputs };
  });
}
