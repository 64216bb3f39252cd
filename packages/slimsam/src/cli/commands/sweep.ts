import { readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { disposeWeights, makeFolder } from '@slimsam/weights';
import { Command, InvalidArgumentError } from 'commander';
import { hashWeights } from '../../compress/facts.ts';
import { type Job, jobHead } from '../../jobs/job.ts';
import { storeAll } from '../../jobs/kinds/photographs.ts';
import { storeModel } from '../../jobs/kinds/store-model.ts';
import { getFile } from '../../jobs/store/blobs.ts';
import { loadModel } from '../../models/load-model.ts';
import { type Model, networkOf } from '../../models/network.ts';
import { openPhotographs } from '../../photographs/open-photographs.ts';
import type { Photographs } from '../../photographs/photographs.ts';
import type { Recipe } from '../../recipe/recipe.ts';
import { lock } from '../../run/lock.ts';
import { openRun } from '../../run/open-run.ts';
import { type CompressedCell, compressCell, isLeft } from '../../sweep/compress-cell.ts';
import {
  compressedCell,
  type FinishedCell,
  folderOf,
  readSweepCell,
  type SweepCell,
  writeSweepCell,
} from '../../sweep/sweep-cells.ts';
import { writeSweepReport } from '../../sweep/sweep-report.ts';
import { byJobs, cellsDone, type ManyMachinesOptions, onManyMachines, openCrew } from '../many-machines.ts';
import { type CommonOptions, common, positiveInteger, ratioList, userPath } from '../options.ts';
import { onRecipe, type RecipeName, type RecipeParts, recipeNames, recipeOf } from '../recipe-options.ts';
import { type Session, withBackend } from '../with-backend.ts';

interface Options extends CommonOptions, RecipeParts, ManyMachinesOptions {
  readonly images: string;
  readonly ratios: readonly number[];
  readonly recipes: readonly RecipeName[];
  readonly seeds: number;
  readonly out: string;
}

/** `slimsam sweep MODEL --images DIR --ratios …`: a compression for each ratio, recipe and seed, in a folder that a stopped sweep goes on with. */
export function sweepCommand(signal: AbortSignal): Command {
  const command = new Command('sweep')
    .description('compresses a model to several ratios, by several recipes, with several seeds')
    .argument('<model>', 'a file, folder, address or Hub id of a SAM or a plain ViT')
    .requiredOption('--images <source>', 'a folder (recursive), a list file, a tar, a COCO file', userPath)
    .option('--ratios <shares>', 'of the channels to remove, with commas', ratioList, [0.5, 0.77])
    .option('--recipes <names>', `with commas: ${recipeNames.join(', ')}`, recipeList, ['slimsam'])
    .option('--seeds <n>', 'runs of each', positiveInteger, 1);
  onRecipe(command).option(
    '--out <folder>',
    'a run folder for each cell, and the report; the same command goes on in it',
    userPath,
    userPath('sweep'),
  );
  onManyMachines(command);
  return common(
    command,
    'slimsam sweep sam_vit_b_01ec64.pth --images photographs --ratios 0.3,0.5,0.77 --out out/sweep',
  ).action((source: string, options: Options) =>
    withBackend(options, signal, (session) => run(session, source, options)),
  );
}

/** A cell that is to be computed, or was. */
interface OpenCell extends SweepCell {
  readonly steps: Recipe;
  /** All that its weights depend on, as text. */
  readonly facts: string;
}

/** What came of a cell, and on which adapter. */
type Computed = CompressedCell & { readonly cell: OpenCell; readonly adapter: string };

/** What all cells of a sweep are computed from. */
interface Sweep {
  readonly session: Session;
  readonly options: Options;
  readonly model: Model;
  readonly photographs: Photographs;
  readonly open: readonly OpenCell[];
}

async function run(session: Session, source: string, options: Options): Promise<void> {
  const { signal } = session;
  const { images, out, subset, strict, size, batch, accumulate, recompute, held } = options;
  const spread = byJobs(options);
  const model = await loadModel(source, options);
  const photographs = await openPhotographs(images, { strict, seed: 1, signal, ...(subset && { subset }) });
  await makeFolder(out);
  const locked = await lock(out);
  try {
    const shared = { weights: await hashWeights(model.weights), photographs: photographs.identity };
    const how = { size: networkOf(model, { size }).size, batch, accumulate, recompute, held };
    const cells = await cellsOf(model, { options, shared: { ...shared, ...how } });
    const done = new Map<OpenCell, FinishedCell>();
    for (const cell of cells) {
      const found = await readSweepCell(out, cell, cell.facts);
      if (found) done.set(cell, found);
    }
    session.note(`${cells.length} cells, ${done.size} of them finished`);
    const open = cells.filter((cell) => !done.has(cell));
    const sweep = { session, options, model, photographs, open };
    for await (const { cell, ...found } of open.length === 0 ? [] : spread ? spreadCells(sweep) : ownCells(sweep)) {
      const { steps: _, ...named } = cell;
      const finished = { ...named, ...found };
      await writeSweepCell(out, finished);
      done.set(cell, finished);
      const error = found.relative === undefined ? '' : `: relative error ${found.relative.toFixed(4)}`;
      session.note(`${cell.recipe} at ${cell.ratio}, seed ${cell.seed}${error}`);
    }
    const finished = cells.map((cell) => done.get(cell)!);
    const summary = `${cells.length} compressions on ${photographs.names.length} photographs, without labels.`;
    const { page } = await writeSweepReport(out, { cells: finished, summary });
    session.result(`${cells.length} cells\nreport: ${page}`, { cells: finished, page });
  } finally {
    disposeWeights(model.weights);
    await Promise.all([photographs.close(), locked.release()]);
  }
}

/** Seed by seed, so that a sweep that is stopped has whole tables of fewer seeds. */
async function cellsOf(
  model: Model,
  { options, shared }: { readonly options: Options; readonly shared: object },
): Promise<OpenCell[]> {
  const { ratios, recipes, seeds } = options;
  const cells: OpenCell[] = [];
  for (let seed = 1; seed <= seeds; seed++) {
    for (const ratio of ratios) {
      for (const recipe of recipes) {
        const steps = await recipeOf(model, { ...options, recipe, ratio });
        cells.push({ recipe, ratio, seed, steps, facts: JSON.stringify({ ...shared, recipe: steps }) });
      }
    }
  }
  return cells;
}

/** Computes the cells one after another, here. */
async function* ownCells({ session, options, model, photographs, open }: Sweep): AsyncGenerator<Computed> {
  const { out, save, size, held, batch, accumulate, recompute } = options;
  const { signal, adapter } = session;
  const bar = session.bar('cells', open.length);
  try {
    for (const [i, cell] of open.entries()) {
      const { seed, steps: recipe } = cell;
      const run = await openRun(folderOf(out, cell));
      try {
        const found = await compressCell(model, {
          ...{ photographs, recipe, seed, batch, accumulate, recompute, run, signal, facts: { adapter } },
          ...{ saveMinutes: save, ...(size !== undefined && { size }), ...(held !== undefined && { held }) },
          onEvent: (event) => {
            if (event.type === 'step') bar.update(i, `${event.name}: step ${event.step} of ${event.steps}`);
          },
        });
        yield { cell, adapter, ...found };
        for (const name of await readdir(run.folder))
          if (/^(best|step-|training-)/.test(name)) await rm(path.join(run.folder, name)); // what it would have gone on with
      } finally {
        await run.close();
      }
      bar.update(i + 1);
    }
  } finally {
    bar.stop();
  }
}

/** Computes the cells by jobs. */
async function* spreadCells({ session, options, model, photographs, open }: Sweep): AsyncGenerator<Computed> {
  const { out, save, size, held, batch, accumulate, recompute } = options;
  const { signal } = session;
  const crew = await openCrew(options, { run: ['sweep', out], output: session, signal });
  try {
    const { store } = crew;
    const file = await storeModel(store, model);
    const list = await storeAll(photographs, { store, signal });
    const jobOf = (cell: OpenCell): Job => ({
      ...jobHead({ part: 1, parts: 1 }, cell.seed), // whole in itself: the same in a larger sweep
      ...{ kind: 'compress', model: file, photographs: list, recipe: cell.steps },
      ...{ batch, accumulate, recompute, saveMinutes: save },
      ...{ ...(size !== undefined && { size }), ...(held !== undefined && { held }) },
    });
    for await (const { cell, result } of cellsDone(crew, { cells: open, jobOf })) {
      const folder = folderOf(out, cell);
      await makeFolder(folder);
      for (const [name, hash] of Object.entries(result.outputs))
        if (isLeft(name)) await getFile(store, hash, path.join(folder, name));
      yield { cell, adapter: result.adapter, ...compressedCell.parse(result.value) };
    }
  } finally {
    await crew.close();
  }
}

function recipeList(text: string): RecipeName[] {
  const names = text.split(',').map((part) => {
    const name = recipeNames.find((known) => known === part.trim());
    if (name) return name;
    throw new InvalidArgumentError(`expected ${recipeNames.join(', ')}, got '${part}'.`);
  });
  return [...new Set(names)];
}
