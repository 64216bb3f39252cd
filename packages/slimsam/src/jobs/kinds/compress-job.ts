import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { compressCell, isLeft } from '../../sweep/compress-cell.ts';
import type { JobOf } from '../job.ts';
import { putFile } from '../store/blobs.ts';
import { inRunFolder } from './in-run-folder.ts';
import { withStored } from './photographs.ts';
import { type JobContext, type JobYield, modelOf } from './workplace.ts';

/** A whole compression, a cell of a sweep. */
export async function compressJob(job: JobOf<'compress'>, context: JobContext): Promise<JobYield> {
  const { store, adapter, signal } = context;
  const { batch, accumulate, recompute, seed, size, held, saveMinutes, recipe } = job;
  const model = await modelOf(job, context);
  return inRunFolder(job, context, ({ run, onEvent }) =>
    withStored(job.photographs, context, async (photographs) => {
      const cell = await compressCell(model, {
        ...{ photographs, recipe, seed, batch, accumulate, recompute, run, saveMinutes, signal, onEvent },
        facts: { adapter },
        ...(size !== undefined && { size }),
        ...(held !== undefined && { held }),
      });
      const outputs: Record<string, string> = {};
      for (const name of await readdir(run.folder)) {
        if (isLeft(name)) outputs[name] = await putFile(store, path.join(run.folder, name));
      }
      return { value: { ...cell }, outputs };
    }),
  );
}
