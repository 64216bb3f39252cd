import path from 'node:path';
import { disposeWeights } from '@slimsam/weights';
import { type CompressOptions, compress } from '../compress/compress.ts';
import type { CompressEvent, Compressed } from '../compress/events.ts';
import type { Model } from '../models/network.ts';
import { type RunFolder, savePruned } from '../run/open-run.ts';
import { readMetrics } from '../run/read-metrics.ts';

/** What a compression came to: plain data. */
export interface CompressedCell {
  /** Of the features on held-back photographs; missing where nothing was aligned. */
  readonly error?: number | undefined;
  readonly relative?: number | undefined;
  readonly cosine?: number | undefined;
  /** Of the image encoder; missing where nothing was pruned. */
  readonly parameters?: number | undefined;
  readonly macs?: number | undefined;
  readonly skipped: readonly { readonly name: string; readonly reason: string }[];
}

/** Files of a run folder that a finished run leaves. */
export const isLeft = (name: string): boolean =>
  /^(run\.json|metrics\.jsonl|slim\.(safetensors|plan\.json))$/.test(name);

/** Compresses in a run folder, to its end: `slim.safetensors` and its plan are left there. @throws as `compress` does */
export async function compressCell(
  model: Model,
  options: Omit<CompressOptions, 'run'> & {
    readonly run: RunFolder;
    readonly onEvent?: (event: CompressEvent) => void | Promise<void>;
  },
): Promise<CompressedCell> {
  const { onEvent, run } = options;
  let result: Compressed | undefined;
  try {
    for await (const event of compress(model, options)) {
      if (event.type === 'done') result = event.result;
      await onEvent?.(event);
    }
    const { validation, skipped } = result!;
    await savePruned(path.join(run.folder, 'slim.safetensors'), result!);
    const metrics = await readMetrics(path.join(run.folder, 'metrics.jsonl')); // of all processes that had the run
    const pruned = metrics.findLast((event) => event.type === 'pruned');
    return {
      ...(validation && { error: validation.error, relative: validation.relative, cosine: validation.cosine }),
      ...(pruned && { parameters: pruned.parameters, macs: pruned.macs }),
      skipped: skipped.map(({ name, reason }) => ({ name, reason })),
    };
  } finally {
    if (result) disposeWeights(result.model.weights);
  }
}
