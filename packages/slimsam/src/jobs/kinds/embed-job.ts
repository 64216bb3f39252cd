import type { Forward } from '@slimsam/distill';
import { pixelsOf } from '../../compress/context.ts';
import { networkOf } from '../../models/network.ts';
import { cachedTeacher } from '../../teacher-cache/teacher-cache.ts';
import type { JobOf } from '../job.ts';
import { putBlob } from '../store/blobs.ts';
import { withStored } from './photographs.ts';
import { type JobContext, type JobYield, modelOf } from './workplace.ts';

/** The embeddings of one part of the photographs, each a blob as the teacher's cache keeps it (safetensors, half precision). */
export async function embedJob(job: JobOf<'embed'>, context: JobContext): Promise<JobYield> {
  const { store, signal } = context;
  const model = await modelOf(job, context);
  const network = networkOf(model, { size: job.size });
  const forward: Forward = (weights, images, taps) => network.forward(weights, images, { taps });
  return withStored(job.photographs, context, async (photographs, { photographs: stored }) => {
    const outputs: Record<string, string> = {};
    const kept: { place: number; bytes: Uint8Array }[] = [];
    const teacher = cachedTeacher(
      { forward, weights: model.weights },
      {
        get: async () => undefined,
        put: async (place, bytes) => void kept.push({ place: Number(place), bytes }),
      },
    );
    for await (const { index, pixels } of pixelsOf({ network, photographs, signal }, [...stored.keys()])) {
      const { embedding } = await teacher.features({ images: pixels, names: [String(stored[index]!.place)] }, []);
      embedding.dispose();
      for (const { place, bytes } of kept.splice(0)) outputs[String(place)] = await putBlob(store, bytes);
    }
    return { value: { skipped: photographs.skipped.map(({ name, reason }) => ({ name, reason })) }, outputs };
  });
}
