import { mkdtemp, readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { disposeWeights } from '@slimsam/weights';
import { compress } from '../../compress/compress.ts';
import type { Compressed, PrunedEvent } from '../../compress/events.ts';
import { openRun, savePruned } from '../../run/open-run.ts';
import { type JobOf, jobHash } from '../job.ts';
import { putFile } from '../store/blobs.ts';
import { loadCheckpoint, removeCheckpoints, saveCheckpoint } from '../store/checkpoints.ts';
import { withStored } from './photographs.ts';
import { type JobContext, type JobYield, modelOf } from './workplace.ts';

/** Files of a run folder that a finished run leaves. */
const left = /^(run\.json|metrics\.jsonl|slim\.(safetensors|plan\.json))$/;

/**
 * A whole compression in a run folder of its own. Its checkpoints go to the store, so that another machine goes on where this one
 * vanished; bit for bit as if nothing had happened.
 */
export async function compressJob(job: JobOf<'compress'>, context: JobContext): Promise<JobYield> {
  const { store, adapter, signal } = context;
  const { batch, accumulate, recompute, seed, size, held, saveMinutes, recipe } = job;
  const hash = jobHash(job);
  const model = await modelOf(job, context);
  const folder = await mkdtemp(path.join(context.folder, 'run-'));
  try {
    let number = await loadCheckpoint(store, { job: hash, folder });
    return await withStored(job.photographs, context, async (photographs) => {
      const run = await openRun(folder);
      let result: Compressed | undefined;
      try {
        const stages = compress(model, {
          ...{ photographs, recipe, seed, batch, accumulate, recompute, run, saveMinutes, signal },
          facts: { adapter },
          ...(size !== undefined && { size }),
          ...(held !== undefined && { held }),
        });
        let pruned: PrunedEvent | undefined;
        for await (const event of stages) {
          if (event.type === 'pruned') pruned = event;
          if (event.type === 'done') result = event.result;
          if (event.type === 'checkpoint') number = await saveCheckpoint(store, { job: hash, folder, after: number });
        }
        await savePruned(path.join(folder, 'slim.safetensors'), result!);
        const outputs: Record<string, string> = {};
        for (const name of await readdir(folder)) {
          if (left.test(name)) outputs[name] = await putFile(store, path.join(folder, name));
        }
        await removeCheckpoints(store, hash);
        const { validation, skipped } = result!;
        return {
          value: {
            ...(validation && { relative: validation.relative, cosine: validation.cosine, error: validation.error }),
            ...(pruned && { parameters: pruned.parameters, macs: pruned.macs }),
            skipped: skipped.map(({ name, reason }) => ({ name, reason })),
          },
          outputs,
        };
      } finally {
        if (result) disposeWeights(result.model.weights);
        await run.close();
      }
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
