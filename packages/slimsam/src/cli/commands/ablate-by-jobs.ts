import type { EvalImage } from '@slimsam/eval';
import type { Sam } from '@slimsam/vit';
import { labelledRow } from '../../ablation/rows.ts';
import { type AblationBudget, type AblationCell, type CellResult, cellFindings } from '../../ablation/run-cell.ts';
import { type Job, jobHead } from '../../jobs/job.ts';
import { putImage, putShard } from '../../jobs/kinds/evaluation.ts';
import { storeAll } from '../../jobs/kinds/photographs.ts';
import { storeModel } from '../../jobs/kinds/store-model.ts';
import type { Store } from '../../jobs/store/store.ts';
import type { Photographs } from '../../photographs/photographs.ts';
import { type Crew, cellsDone } from '../many-machines.ts';

/** Computes cells of a grid by jobs, and gives each as it ends: to the last bit what one process comes to on the same adapter. */
export async function* cellsByJobs(
  crew: Crew,
  inputs: {
    readonly teacher: Sam;
    readonly photographs: Photographs;
    readonly budget: AblationBudget;
    readonly facts: string;
    readonly open: readonly AblationCell[];
    /** Images with masks that are measured on. */
    readonly tests: AsyncIterable<EvalImage> | undefined;
    /** The photographs with their masks, for the row that scores by them. */
    readonly labels: AsyncIterable<EvalImage> | undefined;
    readonly scenes: number;
    readonly saveMinutes: number;
    readonly signal: AbortSignal;
  },
): AsyncGenerator<CellResult, void, undefined> {
  const { store } = crew;
  const { teacher, photographs, budget, facts, open, scenes, saveMinutes, signal } = inputs;
  const model = await storeModel(store, teacher);
  const list = await storeAll(photographs, { store, signal });
  const tests = inputs.tests && (await storeImages(store, inputs.tests, signal));
  const labels = inputs.labels && (await storeImages(store, inputs.labels, signal));
  const jobOf = ({ row, ratio, seed }: AblationCell): Job => ({
    ...jobHead({ part: 1, parts: 1 }, seed), // whole in itself: the same in a larger grid
    ...{ kind: 'ablate', model, photographs: list, scenes, row, ratio, budget, saveMinutes },
    ...(tests !== undefined && { tests }),
    ...(labels !== undefined && row === labelledRow && { labels }),
  });
  for await (const { cell, result } of cellsDone(crew, { cells: open, jobOf }))
    yield { ...cell, facts, adapter: result.adapter, ...cellFindings.parse(result.value) };
}

/** Keeps images with their masks. @returns the hash of their list */
async function storeImages(store: Store, images: AsyncIterable<EvalImage>, signal: AbortSignal): Promise<string> {
  const kept: { index: number; image: string }[] = [];
  for await (const image of images) {
    signal.throwIfAborted();
    kept.push({ index: kept.length, image: await putImage(store, image) });
  }
  return putShard(store, { total: kept.length, images: kept });
}
