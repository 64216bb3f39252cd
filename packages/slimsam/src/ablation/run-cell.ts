import { readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { countMacs, countParameters } from '@slimsam/prune';
import { encoderCosts, type Sam } from '@slimsam/vit';
import { disposeWeights, makeFolder, writeFileAtomic } from '@slimsam/weights';
import { z } from 'zod';
import { compress } from '../compress/compress.ts';
import type { CompressEvent } from '../compress/events.ts';
import { sample } from '../photographs/order.ts';
import type { Photographs } from '../photographs/photographs.ts';
import { subsetOf } from '../photographs/subset.ts';
import type { ScoringLoss } from '../recipe/scoring.ts';
import { openRun, type RunFolder } from '../run/open-run.ts';
import { readMetrics } from '../run/read-metrics.ts';
import type { LabelledImages } from './labelled-images.ts';
import { type ImageMeasures, measureStudent, measures, type TeacherAnswers } from './measure-student.ts';
import { ablationRows } from './rows.ts';

/** One compression of the grid: plain data, all that tells it from the others. */
export interface AblationCell {
  readonly row: string;
  readonly ratio: number;
  readonly seed: number;
}

/** What all cells of a grid have in common: plain data. */
export interface AblationBudget {
  /** Of each of the two stages. */
  readonly epochs: number;
  /** Optimizer steps of an epoch, at most. */
  readonly steps: number;
  readonly batch: number;
  /** The highest learning rate; it falls to 0 in each stage. */
  readonly rate: number;
  /** Photographs that score. */
  readonly sample: number;
  /** Photographs that are held back to choose the best epoch. */
  readonly held: number;
}

/** What a cell came to: plain data. Arrays have a number an image, in the order of the set. */
export interface CellResult extends AblationCell {
  /** Budget, teacher and photographs, as text: what all cells of a folder share. */
  readonly facts: string;
  /** What computed. */
  readonly adapter: string;
  readonly optimizerSteps: number;
  /** Of its optimizer steps. */
  readonly seconds: number;
  /** Of the image encoder. */
  readonly parameters: number;
  readonly macs: number;
  readonly sets: Readonly<Record<string, Readonly<Record<keyof ImageMeasures, readonly number[]>>>>;
}

const list = z.array(z.number());

/** What computed a cell, and in which grid. */
type Origin = Pick<CellResult, 'facts' | 'adapter'>;

/** What a cell came to, whoever computed it. */
type CellFindings = Omit<CellResult, keyof AblationCell | keyof Origin>;

/** The schema of `CellFindings`. */
export const cellFindings: z.ZodType<CellFindings> = z.object({
  ...{ optimizerSteps: z.int(), seconds: z.number(), parameters: z.number(), macs: z.number() },
  sets: z.record(z.string(), z.object({ error: list, cosine: list, teacher: list, labels: list })),
});

/** What a cell is computed from. */
export interface CellInputs {
  readonly teacher: Sam;
  readonly photographs: Photographs;
  readonly labels?: ScoringLoss | undefined;
  readonly budget: AblationBudget;
  /** By name: images with the teacher's answers. */
  readonly sets: Readonly<Record<string, { readonly images: LabelledImages; readonly answers: TeacherAnswers }>>;
  readonly facts: string;
  /** Minutes between two checkpoints, besides those after each epoch. */
  readonly saveMinutes: number;
  readonly onEvent?: ((event: CompressEvent) => void | Promise<void>) | undefined;
  readonly signal?: AbortSignal | undefined;
}

const cellFile = z.intersection(
  cellFindings,
  z.object({ row: z.string(), ratio: z.number(), seed: z.int(), facts: z.string(), adapter: z.string() }),
);

const fileOf = (folder: string, { row, ratio, seed }: AblationCell): string =>
  path.join(folder, 'cells', `${row}-${ratio}-${seed}.json`);

/**
 * Reads what a cell came to, if it is finished.
 *
 * @throws when the file is no cell, or of other facts
 */
export async function readCell(folder: string, cell: AblationCell, facts?: string): Promise<CellResult | undefined> {
  const file = fileOf(folder, cell);
  const text = await readFile(file, 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  let found: CellResult;
  try {
    found = cellFile.parse(JSON.parse(text));
  } catch (error) {
    throw new Error(`ablate: expected a finished cell in '${file}', got another file; remove it`, { cause: error });
  }
  if (facts !== undefined && found.facts !== facts)
    throw new Error(`ablate: expected in '${file}' a cell of ${facts}, got ${found.facts}; take another folder`);
  return found;
}

/** Keeps what a cell came to. */
export async function writeCell(folder: string, result: CellResult): Promise<void> {
  await makeFolder(path.join(folder, 'cells'));
  await writeFileAtomic(fileOf(folder, result), `${JSON.stringify(result)}\n`);
}

/** Compresses, measures and keeps one cell; a run that was broken off goes on. @throws as `compress` does */
export async function runCell(
  cell: AblationCell,
  inputs: CellInputs & {
    /** Where results and runs under way are kept. */ readonly folder: string;
    readonly adapter: string;
  },
): Promise<CellResult> {
  const { folder, facts, adapter } = inputs;
  const { row, ratio, seed } = cell;
  const running = path.join(folder, 'running', `${row}-${ratio}-${seed}`);
  const run = await openRun(running);
  let result: CellResult;
  try {
    result = { row, ratio, seed, facts, adapter, ...(await computeCell(cell, { ...inputs, run })) };
    await writeCell(folder, result);
  } finally {
    await run.close();
  }
  await rm(running, { recursive: true, force: true });
  return result;
}

/** Compresses and measures one cell in a run folder. @throws as `compress` does */
export async function computeCell(
  { row, ratio, seed }: AblationCell,
  inputs: CellInputs & { readonly run: RunFolder },
): Promise<CellFindings> {
  const { teacher, photographs, labels, budget, sets, facts, run, saveMinutes, onEvent, signal } = inputs;
  const made = ablationRows.get(row);
  if (!made) throw new Error(`ablate: expected a row of ${[...ablationRows.keys()].join(', ')}, got '${row}'`);
  const { batch, held } = budget;
  const all = photographs.names.map((_, index) => index);
  const count = Math.min(all.length, made.photographs === undefined ? all.length : made.photographs + held);
  const perEpoch = Math.min(budget.steps, Math.ceil((count - held) / batch));
  const epochs = Math.max(1, Math.round((budget.epochs * budget.steps) / perEpoch));
  const recipe = made.recipe({
    ...{ teacher, labels },
    common: {
      ...{ ratio, epochs, stepsPerEpoch: perEpoch, learningRate: budget.rate, decay: 'cosine' },
      sample: budget.sample,
    },
  });
  let student: Sam | undefined;
  try {
    for await (const event of compress(teacher, {
      ...{ photographs: subsetOf(photographs, sample(all, { size: count, seed })), recipe, seed, batch, held, run },
      ...{ saveMinutes, facts: { cell: facts } },
      ...(signal && { signal }),
    })) {
      if (event.type === 'done') student = event.result.model;
      await onEvent?.(event);
    }
    const { weights, config } = student!;
    const metrics = await readMetrics(path.join(run.folder, 'metrics.jsonl'));
    const steps = metrics.filter((event) => event.type === 'step');
    const seconds = steps.reduce((sum, step) => sum + step.seconds, 0);
    const found: Record<string, Record<keyof ImageMeasures, number[]>> = {};
    for (const [name, { images, answers }] of Object.entries(sets)) {
      const list = [...(await measureStudent(student!, { images, answers, signal })).values()];
      const column = (measure: keyof ImageMeasures) => list.map((image) => Number(image[measure].toFixed(4)));
      found[name] = Object.fromEntries(measures.map((measure) => [measure, column(measure)])) as (typeof found)[string];
    }
    return {
      ...{ optimizerSteps: steps.length, seconds: Math.round(seconds) },
      parameters: countParameters(weights, { prefix: 'image_encoder.' }),
      macs: countMacs(weights, encoderCosts(weights, config)).macs,
      sets: found,
    };
  } finally {
    if (student) disposeWeights(student.weights);
  }
}
