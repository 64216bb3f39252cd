import { readdir } from 'node:fs/promises';
import { readSa1b } from '@slimsam/eval';
import { resizeSam, type Sam } from '@slimsam/vit';
import { disposeWeights, makeFolder } from '@slimsam/weights';
import { Command, InvalidArgumentError } from 'commander';
import { writeAblationReport } from '../../ablation/ablation-report.ts';
import { type LabelledImages, sa1bImages, sceneImages } from '../../ablation/labelled-images.ts';
import { labelledLoss } from '../../ablation/labelled-loss.ts';
import { askTeacher, type TeacherAnswers } from '../../ablation/measure-student.ts';
import { ablationRows, labelledRow } from '../../ablation/rows.ts';
import {
  type AblationBudget,
  type AblationCell,
  type CellResult,
  readCell,
  runCell,
  writeCell,
} from '../../ablation/run-cell.ts';
import { hashWeights } from '../../compress/facts.ts';
import { loadOnlySam } from '../../models/load-model.ts';
import { openPhotographs } from '../../photographs/open-photographs.ts';
import type { Photographs } from '../../photographs/photographs.ts';
import { lock } from '../../run/lock.ts';
import { byJobs, type ManyMachinesOptions, onManyMachines, openCrew } from '../many-machines.ts';
import {
  type CommonOptions,
  common,
  naturalNumber,
  positiveInteger,
  positiveNumber,
  ratioList,
  userPath,
} from '../options.ts';
import { type Session, withBackend } from '../with-backend.ts';
import { cellsByJobs } from './ablate-by-jobs.ts';

interface Options extends CommonOptions, AblationBudget, ManyMachinesOptions {
  readonly images: string;
  readonly test?: string;
  readonly scenes: number;
  readonly rows: readonly string[];
  readonly ratios: readonly number[];
  readonly seeds: number;
  readonly size?: number;
  readonly minutes?: number;
  readonly save: number;
  readonly report: boolean;
  readonly out: string;
}

/** `slimsam ablate TEACHER --images DIR --test DIR`: a grid of ways to compress, in a folder that a stopped run goes on with. */
export function ablateCommand(signal: AbortSignal): Command {
  const command = new Command('ablate')
    .description('compares ways to compress a SAM, equal in optimizer steps, over seeds: a grid that can be stopped')
    .argument('<teacher>', 'a file, folder, address or Hub id of a SAM')
    .requiredOption(
      '--images <folder>',
      "photographs to compress on; with masks in SA-1B's format for 'taylor-labels'",
      userPath,
    )
    .option('--test <folder>', "images with masks in SA-1B's format, to measure on", userPath)
    .option('--scenes <n>', 'synthetic scenes to measure on', naturalNumber, 0)
    .option(
      '--rows <names>',
      `main, wide, all, or names with commas: ${[...ablationRows.keys()].join(', ')}`,
      rowNames,
      rowNames('main'),
    )
    .option('--ratios <shares>', 'of the channels to remove, with commas', ratioList, [0.5, 0.77])
    .option('--seeds <n>', 'runs of each', positiveInteger, 3)
    .option('--size <pixels>', "the teacher's, resized; its own unless given", positiveInteger)
    .option('--epochs <n>', 'of each stage', positiveInteger, 4)
    .option('--steps <n>', 'optimizer steps of an epoch', positiveInteger, 20)
    .option('--batch <n>', 'photographs in a step', positiveInteger, 4)
    .option('--rate <number>', 'the highest learning rate', positiveNumber, 5e-4)
    .option('--sample <n>', 'photographs that score', positiveInteger, 64)
    .option('--held <n>', 'photographs that are held back', positiveInteger, 16)
    .option('--save <minutes>', 'between two checkpoints of a cell, besides those after each epoch', positiveNumber, 10)
    .option('--minutes <n>', 'ends after the cell that is under way then', positiveNumber)
    .option('--report', 'only tells what came of the cells that are finished', false)
    .option('--out <folder>', 'cells, table and plots; the same command goes on in it', userPath, userPath('ablation'));
  onManyMachines(command);
  return common(
    command,
    'slimsam ablate sam.safetensors --images sa1b/train --test sa1b/test --rows main --out out/ablation',
  ).action((source: string, options: Options) =>
    withBackend(options, signal, (session) => run(session, source, options)),
  );
}

async function run(session: Session, source: string, options: Options): Promise<void> {
  const { signal, adapter } = session;
  const { images, test, scenes, rows, ratios, seeds, out, report } = options;
  if (test === undefined && scenes === 0)
    throw new Error('ablate: expected --test or --scenes to measure on, got neither');
  const spread = byJobs(options);
  if (spread && options.minutes !== undefined)
    throw new Error('ablate: expected --minutes without --store: stopped at any time, the same command goes on');
  const teacher = await teacherOf(source, options);
  const { epochs, steps, batch, rate, sample, held } = options;
  const budget = { epochs, steps, batch, rate, sample, held };
  const photographs = await openPhotographs(images, { signal });
  try {
    if (photographs.names.length <= held)
      throw new Error(
        `ablate: expected more than the ${held} photographs that are held back, got ${photographs.names.length}`,
      );
    const facts = JSON.stringify({
      ...{ budget, weights: await hashWeights(teacher.weights), size: teacher.config.imageSize },
      ...{ photographs: photographs.names.length, tests: test === undefined ? 0 : await countOf(test), scenes },
    });
    const cells = cellsOf({ rows, ratios, seeds });
    const done: CellResult[] = [];
    const open: AblationCell[] = [];
    for (const cell of cells) {
      const found = await readCell(out, cell, facts);
      if (found) done.push(found);
      else if (!report) open.push(cell);
    }
    session.note(`${cells.length} cells, ${done.length} of them finished${spread ? '' : `; computing on ${adapter}`}`);
    const grid = { teacher, photographs, budget, facts, open, signal };
    const computed =
      open.length === 0 ? [] : spread ? spreadCells(session, grid, options) : ownCells(session, grid, options);
    for await (const found of computed) {
      done.push(found);
      const [set, first] = Object.entries(found.sets)[0]!;
      session.note(
        `${idOf(found)}: IoU with the teacher's on ${set} ${mean(first.teacher).toFixed(4)}, ${found.seconds} s`,
      );
    }
    const { page } = await writeAblationReport(out, { cells: inOrder(cells, done), summary: summaryOf(options) });
    session.result(`${done.length} of ${cells.length} cells\nreport: ${page}`, {
      cells: done.length,
      of: cells.length,
      page,
    });
  } finally {
    disposeWeights(teacher.weights);
    await photographs.close();
  }
}

/** What all cells of a grid are computed from, and those that are left. */
interface Grid {
  readonly teacher: Sam;
  readonly photographs: Photographs;
  readonly budget: AblationBudget;
  readonly facts: string;
  readonly open: readonly AblationCell[];
  readonly signal: AbortSignal;
}

/** Computes the cells one after another, here. */
async function* ownCells(session: Session, grid: Grid, options: Options): AsyncGenerator<CellResult> {
  const { teacher, open, signal } = grid;
  const { images, test, scenes, out, save, minutes = Number.POSITIVE_INFINITY } = options;
  const byLabels = open.some(({ row }) => row === labelledRow);
  const labels = byLabels ? await labelledLoss(teacher, readSa1b(images, { signal })) : undefined;
  const given = new Map<string, LabelledImages>();
  if (test !== undefined)
    given.set(
      'photographs',
      sa1bImages(() => readSa1b(test, { signal })),
    );
  if (scenes > 0) given.set('scenes', sceneImages({ count: scenes, size: teacher.config.imageSize }));
  const sets: Record<string, { images: LabelledImages; answers: TeacherAnswers }> = {};
  const start = performance.now();
  const bar = session.bar('cells', open.length);
  try {
    for (const [name, images] of given) sets[name] = { images, answers: await askTeacher(teacher, images, signal) };
    for (const [i, cell] of open.entries()) {
      yield await runCell(cell, {
        ...{ ...grid, labels, sets, adapter: session.adapter, folder: out, saveMinutes: save },
        onEvent: (event) => {
          if (event.type === 'step') bar.update(i, `${idOf(cell)}: step ${event.step} of ${event.steps}`);
        },
      });
      bar.update(i + 1);
      if (performance.now() - start > minutes * 60_000) break;
    }
  } finally {
    bar.stop();
    for (const { answers } of Object.values(sets)) answers.dispose();
  }
}

/** Computes the cells by jobs. */
async function* spreadCells(session: Session, grid: Grid, options: Options): AsyncGenerator<CellResult> {
  const { images, out, test, scenes, save } = options;
  const { signal } = session;
  const tests = test === undefined ? undefined : readSa1b(test, { signal });
  const labels = grid.open.some(({ row }) => row === labelledRow) ? readSa1b(images, { signal }) : undefined;
  await makeFolder(out);
  const locked = await lock(out);
  try {
    const crew = await openCrew(options, { run: ['ablate', out], output: session, signal });
    try {
      for await (const found of cellsByJobs(crew, { ...grid, tests, labels, scenes, saveMinutes: save })) {
        await writeCell(out, found);
        yield found;
      }
    } finally {
      await crew.close();
    }
  } finally {
    await locked.release();
  }
}

/** The finished cells in the order of the grid, whatever the order was in which they ended. */
function inOrder(cells: readonly AblationCell[], done: readonly CellResult[]): CellResult[] {
  const found = new Map(done.map((cell) => [idOf(cell), cell]));
  return cells.flatMap((cell) => found.get(idOf(cell)) ?? []);
}

async function teacherOf(source: string, options: Options): Promise<Sam> {
  const given = await loadOnlySam(source, options);
  const { size } = options;
  if (size === undefined || size === given.config.imageSize) return given;
  try {
    return resizeSam(given, size);
  } finally {
    disposeWeights(given.weights);
  }
}

/** Images of a folder in SA-1B's format. */
async function countOf(folder: string): Promise<number> {
  const names = await readdir(folder).catch(() => []); // that there is none is said where it is read
  return names.filter((name) => name.endsWith('.json')).length;
}

/** Seed by seed, so that a grid that is stopped has whole tables of fewer seeds. */
function cellsOf({ rows, ratios, seeds }: Pick<Options, 'rows' | 'ratios' | 'seeds'>): AblationCell[] {
  return Array.from({ length: seeds }, (_, i) => i + 1).flatMap((seed) =>
    ratios.flatMap((ratio) => rows.map((row) => ({ row, ratio, seed }))),
  );
}

const idOf = ({ row, ratio, seed }: AblationCell): string => `${row} at ${ratio}, seed ${seed}`;

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

function summaryOf({ epochs, steps, batch, rate, sample, test, scenes }: Options): string {
  const sets = [
    ...(test === undefined ? [] : ['the photographs of --test']),
    ...(scenes === 0 ? [] : [`${scenes} synthetic scenes`]),
  ];
  return `Each way: two stages of ${epochs * steps} optimizer steps of ${batch} photographs (learning rate ${rate} falling to 0), ${sample} photographs scored. Measured on ${sets.join(' and ')}, one point an object.`;
}

function rowNames(text: string): string[] {
  const named = [...ablationRows];
  if (text === 'all') return named.map(([name]) => name);
  if (text === 'main' || text === 'wide') return named.filter(([, { group }]) => group === text).map(([name]) => name);
  const names = [...new Set(text.split(',').map((name) => name.trim()))];
  const unknown = names.find((name) => !ablationRows.has(name));
  if (unknown !== undefined) throw new InvalidArgumentError(`expected main, wide, all or rows, got '${unknown}'.`);
  return names;
}
