import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { makeFolder, writeFileAtomic } from '@slimsam/weights';
import { z } from 'zod';
import type { CompressedCell } from './compress-cell.ts';

/** One compression of a sweep: plain data, all that tells it from the others. */
export interface SweepCell {
  /** Name of the recipe. */
  readonly recipe: string;
  readonly ratio: number;
  readonly seed: number;
}

/** A finished one. */
export interface FinishedCell extends SweepCell, CompressedCell {
  /** All that its weights depend on, as text. */
  readonly facts: string;
  /** What computed. */
  readonly adapter: string;
}

const figures = {
  error: z.number(),
  relative: z.number(),
  cosine: z.number(),
  parameters: z.number(),
  macs: z.number(),
};

/** The schema of `CompressedCell`. */
export const compressedCell: z.ZodType<CompressedCell> = z.object({
  ...z.object(figures).partial().shape,
  skipped: z.array(z.object({ name: z.string(), reason: z.string() })),
});

const cellFile: z.ZodType<FinishedCell> = z.intersection(
  compressedCell,
  z.object({ recipe: z.string(), ratio: z.number(), seed: z.int(), facts: z.string(), adapter: z.string() }),
);

/** A cell's run folder within the sweep's. */
export const folderOf = (sweep: string, { recipe, ratio, seed }: SweepCell): string =>
  path.join(sweep, `${recipe}-${ratio}-${seed}`);

const fileOf = (sweep: string, cell: SweepCell): string => path.join(folderOf(sweep, cell), 'cell.json');

/**
 * Reads what a cell came to; undefined where it is not finished.
 *
 * @throws when the file is no cell, or of a sweep of other facts
 */
export async function readSweepCell(sweep: string, cell: SweepCell, facts: string): Promise<FinishedCell | undefined> {
  const file = fileOf(sweep, cell);
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (text === undefined) return undefined;
  let found: FinishedCell;
  try {
    found = cellFile.parse(JSON.parse(text));
  } catch (error) {
    throw new Error(`sweep: expected a finished cell in '${file}', got another file; remove it`, { cause: error });
  }
  if (found.facts === facts) return found;
  throw new Error(`sweep: expected in '${file}' a cell of ${facts}, got ${found.facts}; take another folder`);
}

/** Keeps what a cell came to, beside its model. */
export async function writeSweepCell(sweep: string, cell: FinishedCell): Promise<void> {
  await makeFolder(folderOf(sweep, cell));
  await writeFileAtomic(fileOf(sweep, cell), `${JSON.stringify(cell, null, 2)}\n`);
}
