import { rm } from 'node:fs/promises';
import path from 'node:path';
import { readSa1b } from '@slimsam/eval';
import { planPathOf } from '@slimsam/prune';
import type { Sam } from '@slimsam/vit';
import { checkFields, writeFileAtomic } from '@slimsam/weights';
import type { Compressed } from '../compress/events.ts';
import { type Evaluation, evaluateSam } from '../evaluate/evaluate-sam.ts';
import { isSam, type Model } from '../models/network.ts';
import type { Photographs } from '../photographs/photographs.ts';
import { savePruned } from '../run/open-run.ts';
import { writeRunReport } from './run-report.ts';

/** What a finished run leaves, and where. */
export interface FinishedRun {
  readonly model: string;
  readonly plan: string;
  readonly report: string;
  readonly validation: Compressed['validation'];
  readonly evaluations: Readonly<Record<string, Evaluation>> | undefined;
  readonly facts: Readonly<Record<string, unknown>>;
  readonly skipped: Compressed['skipped'];
}

/**
 * Writes what a run has come to into its folder: `slim.safetensors`, `slim.plan.json` (which of the original's channels were kept),
 * `results.json`, and `report.html` with its pictures.
 */
export async function finishRun(
  folder: string,
  inputs: {
    readonly original: Model;
    readonly result: Compressed;
    readonly facts: Readonly<Record<string, unknown>>;
    readonly photographs: Photographs;
    /** Labelled images in SA-1B's format. */
    readonly validate?: string | undefined;
    readonly signal?: AbortSignal;
  },
): Promise<FinishedRun> {
  checkFields('finishRun', { folder, inputs }, { folder: 'string', inputs: 'object' });
  const { original, result, facts, photographs, validate, signal } = inputs;
  const at = (name: string) => path.join(folder, name);
  await savePruned(at('slim.safetensors'), result);
  const evaluations: Record<string, Evaluation> = {};
  const sams: Record<string, Sam> = {};
  for (const [name, model] of Object.entries({ original, slim: result.model })) {
    if (!isSam(model)) continue;
    sams[name] = model;
    const images = validate === undefined ? undefined : readSa1b(validate, signal && { signal });
    evaluations[name] = await evaluateSam(model, images, signal && { signal });
  }
  const found = Object.keys(evaluations).length > 0 ? evaluations : undefined;
  const { page } = await writeRunReport(folder, {
    ...{ title: 'A slim model', summary: summaryOf(inputs), run: folder, evaluations: found },
    ...{ models: sams, labelled: validate, photographs, signal },
  });
  const finished: FinishedRun = {
    ...{ model: at('slim.safetensors'), plan: planPathOf(at('slim.safetensors')), report: page },
    ...{ validation: result.validation, evaluations: found, facts, skipped: result.skipped },
  };
  await writeFileAtomic(at('results.json'), `${JSON.stringify(finished, null, 2)}\n`);
  for (const name of [at('best.safetensors'), planPathOf(at('best.safetensors'))]) await rm(name, { force: true }); // the slim model is the best
  return finished;
}

function summaryOf({ result, facts }: { result: Compressed; facts: Readonly<Record<string, unknown>> }): string {
  const { validation, skipped } = result;
  const quality = validation
    ? `On held-back photographs its features have a relative error of ${validation.relative.toFixed(4)} and a cosine of ${validation.cosine.toFixed(4)} to the original's.`
    : 'It was not aligned.';
  return `Pruned and distilled on ${facts.photographs} photographs without labels, on ${facts.adapter}. ${quality} ${skipped.length} photographs could not be read.`;
}
