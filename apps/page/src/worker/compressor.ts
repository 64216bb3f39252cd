import { countParameters } from '@slimsam/prune';
import { generateScene } from '@slimsam/scenes';
import { loadSam, type Sam, saveSam } from '@slimsam/vit';
import type { RgbImage } from '@slimsam/vit/images';
import { exportOnnx } from '@slimsam/vit/onnx';
import { disposeWeights, type Weights } from '@slimsam/weights';
import {
  compress,
  type Metric,
  openRun,
  type Photographs,
  photographsInFiles,
  planMemory,
  type Recipe,
  type RunStore,
  slimSam,
} from 'slimsam/browser';
import { toBitmap, toPng } from './pictures.ts';
import { choosePoints, masksAt } from './preview.ts';
import {
  alone,
  discardStored,
  type Kept,
  keptCompression,
  openStorage,
  type Settings,
  type Storage,
  slimName,
} from './storage.ts';

/** What a compression tells. */
export type Told =
  | { readonly type: 'importing'; readonly done: number; readonly total: number }
  | { readonly type: 'steps'; readonly names: readonly string[] }
  | {
      readonly type: 'event';
      readonly event:
        | Metric
        | { readonly type: 'scored'; readonly index: number; readonly done: number; readonly total: number };
    }
  | {
      readonly type: 'preview';
      readonly when: 'before' | 'pruned' | 'now';
      readonly bitmap: ImageBitmap;
      readonly masks: readonly Uint8Array[];
    }
  | { readonly type: 'paused' };

export type Listener = (told: Told) => void;

/** Photographs of the user's, or drawn scenes. */
export type Source = { readonly files: readonly File[] } | { readonly scenes: number };

/** A slim model, and what it is called. */
export interface Made {
  readonly sam: Sam;
  readonly name: string;
}

export interface Compressor {
  kept(): Promise<Kept | undefined>;
  /** @throws when another tab compresses */
  discard(): Promise<void>;
  /**
   * Discards what is kept, copies all that the run needs into the origin's own folder, then runs.
   *
   * @returns the slim model, or undefined when it was stopped
   */
  start(model: Sam, source: Source, settings: Settings, tell: Listener): Promise<Made | undefined>;
  /** Goes on with what is kept, after a reload too; a run that was done gives its model. */
  goOn(tell: Listener): Promise<Made | undefined>;
  /** Saves after the step that is under way, and waits. */
  pause(): void;
  proceed(): void;
  /** Ends; what was saved stays, to go on from. */
  stop(): void;
  /** The slim model's files, to download. */
  files(sam: Sam, kind: 'safetensors' | 'onnx'): Promise<File[]>;
}

/** Minutes between two savings within an epoch. */
const saveMinutes = 0.5;

/** Events after which a pause loses nothing: in training, a step's checkpoint follows it. */
const rests: ReadonlySet<string> = new Set(['phase', 'scored', 'pruned', 'checkpoint']);

/** Parameters from which memory is counted before the start, which takes seconds. */
const countedFrom = 5e6;

export function createCompressor(): Compressor {
  let running: AbortController | undefined;
  let paused: { readonly wait: Promise<void>; readonly end: () => void } | undefined;

  /** Alone, and until it is stopped. */
  const whileRunning = <T>(work: (signal: AbortSignal) => Promise<T>): Promise<T | undefined> =>
    alone(async () => {
      running = new AbortController();
      const { signal } = running;
      try {
        return await work(signal);
      } catch (error) {
        if (signal.aborted) return undefined;
        throw error;
      } finally {
        paused = undefined;
        running = undefined;
      }
    });

  const goOn = async (tell: Listener, signal: AbortSignal): Promise<Made | undefined> => {
    const kept = await keptCompression();
    if (!kept) throw new Error('compress: expected a run to go on with, got none; start one');
    const name = `made here: ${kept.settings.model}, ${Math.round(100 * kept.settings.ratio)} %`;
    const storage = await openStorage();
    const slimFile = () => storage.file(slimName);
    if (kept.done) return { sam: await loadSam(await (await slimFile()).getFile()), name };
    const original = await loadSam(await (await storage.file('original.safetensors')).getFile());
    try {
      const sam = await runOn(storage, original, { settings: kept.settings, tell, signal });
      if (!sam) return undefined;
      await storage.finish((file) => saveSam(file, sam));
      return { sam, name };
    } finally {
      disposeWeights(original.weights);
    }
  };

  /** From the last checkpoint to the end. */
  const runOn = async (
    storage: Storage,
    original: Sam,
    { settings, tell, signal }: { settings: Settings; tell: Listener; signal: AbortSignal },
  ): Promise<Sam | undefined> => {
    const { batch, seed } = settings;
    const recipe = recipeOf(settings);
    const photographs = photographsInFiles(await storage.photographs());
    const run = await openRun(storage.run);
    try {
      tell({ type: 'steps', names: recipe.steps.map(({ name }) => name) });
      for (const event of await run.metrics()) tell({ type: 'event', event });
      const show = await previewer(original, photographs, tell);
      const options = { photographs, recipe, seed, batch, signal, run: watched(run, original, show) };
      for await (const event of compress(original, { ...options, saveMinutes: () => (paused ? 0 : saveMinutes) })) {
        if (event.type === 'done') return event.result.model;
        tell({ type: 'event', event });
        if (paused && rests.has(event.type)) {
          tell({ type: 'paused' });
          await Promise.race([paused.wait, aborted(signal)]);
        }
      }
      return undefined;
    } finally {
      run.close();
      await photographs.close();
    }
  };

  return {
    kept: keptCompression,
    discard: () => alone(discardStored),
    start: (model, source, settings, tell) =>
      whileRunning(async (signal) => {
        await checkMemory(model, recipeOf(settings), settings);
        await discardStored();
        const storage = await openStorage();
        try {
          await importPhotographs(storage, source, { size: model.config.imageSize, tell, signal });
          await saveSam(await storage.file('original.safetensors'), model);
          await storage.saveSettings(settings);
        } catch (error) {
          await discardStored(); // a part of the photographs is no run
          throw error;
        }
        return goOn(tell, signal);
      }),
    goOn: (tell) => whileRunning((signal) => goOn(tell, signal)),
    pause() {
      paused ??= deferred();
    },
    proceed() {
      paused?.end();
      paused = undefined;
    },
    stop: () => running?.abort(new Error('stopped')),
    async files(sam, kind) {
      const home = await navigator.storage.getDirectory();
      const folder = await home.getDirectoryHandle('downloads', { create: true });
      if (kind === 'safetensors') {
        const handle = await folder.getFileHandle('slim.safetensors', { create: true });
        await saveSam(handle, sam);
        return [await handle.getFile()];
      }
      const names = await exportOnnx(folder, sam);
      return Promise.all(names.map(async (name) => (await folder.getFileHandle(name)).getFile()));
    },
  };
}

function deferred(): { wait: Promise<void>; end: () => void } {
  let end = () => {};
  const wait = new Promise<void>((resolve) => {
    end = resolve;
  });
  return { wait, end };
}

const aborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));

/** The paper's order; the learning rate falls along a cosine, which serves few epochs. */
function recipeOf({ ratio, epochs, learningRate, sample }: Settings): Recipe {
  return slimSam({ ratio, epochs, learningRate, sample, decay: 'cosine' });
}

/** @throws when the run would take more than half of the memory that the browser tells of */
async function checkMemory(model: Sam, recipe: Recipe, { batch }: Settings): Promise<void> {
  if (countParameters(model.weights) < countedFrom) return;
  const told = (navigator as Navigator & { readonly deviceMemory?: number }).deviceMemory ?? 8;
  await planMemory(model, { recipe, batch, limit: (told / 2) * 2 ** 30 });
}

/** Decodes and resizes photographs one by one into the origin's own folder; damaged ones are told and left out. */
async function importPhotographs(
  storage: Storage,
  source: Source,
  { size, tell, signal }: { size: number; tell: Listener; signal: AbortSignal },
): Promise<void> {
  if ('scenes' in source) {
    for (let i = 0; i < source.scenes; i++) {
      signal.throwIfAborted();
      const { image } = generateScene(i + 1, { width: size, height: size });
      await storage.addPhotograph(`scene-${i + 1}.png`, await toPng(image));
      tell({ type: 'importing', done: i + 1, total: source.scenes });
    }
    return;
  }
  const photographs = photographsInFiles(source.files.map((file) => ({ name: file.name, blob: file })));
  let told = 0;
  for await (const { index, name, image } of photographs.read(source.files.keys(), { size, signal })) {
    await storage.addPhotograph(`${name}.png`, await toPng(image));
    tell({ type: 'importing', done: index + 1, total: source.files.length });
    for (const { name, reason } of photographs.skipped.slice(told))
      tell({ type: 'event', event: { type: 'skipped', name, reason } });
    told = photographs.skipped.length;
  }
  for (const { name, reason } of photographs.skipped.slice(told))
    tell({ type: 'event', event: { type: 'skipped', name, reason } });
}

type Show = (when: 'before' | 'pruned' | 'now', weights: Weights) => Promise<void>;

/** Shows the masks of the first photograph at points that the original chooses. */
async function previewer(original: Sam, photographs: Photographs, tell: Listener): Promise<Show> {
  let image: RgbImage | undefined;
  for await (const photograph of photographs.read([0], { size: original.config.imageSize })) image = photograph.image;
  if (!image) return async () => {};
  const points = await choosePoints(original, image);
  const show: Show = async (when, weights) => {
    const masks = (await masksAt({ ...original, weights }, image, points)).map(({ mask }) => mask);
    tell({ type: 'preview', when, masks, bitmap: await toBitmap(image) });
  };
  await show('before', original.weights);
  return show;
}

/** The same store, which shows the masks of the models that it keeps. */
function watched(run: RunStore, original: Sam, show: Show): RunStore {
  return {
    ...run,
    async loadStep(index) {
      const step = await run.loadStep(index);
      await show('now', { ...original.weights, ...step.weights });
      return step;
    },
    async saveStep(index, result, needed) {
      await run.saveStep(index, result, needed);
      await show(index % 2 === 0 ? 'pruned' : 'now', result.weights);
    },
    async saveBest(model, plan) {
      await run.saveBest(model, plan);
      await show('now', model.weights);
    },
  };
}
