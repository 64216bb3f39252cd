import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { type BadRecord, badRecordText, bestDisc, mergeResults, readSa1b } from '@slimsam/eval';
import { makeFolder } from '@slimsam/weights';
import { openOnnxModel } from '../../evaluate/open-onnx-model.ts';
import { type Job, type JobOf, jobHead } from '../../jobs/job.ts';
import { putImage, putSetting, putShard } from '../../jobs/kinds/evaluation.ts';
import { storeModel } from '../../jobs/kinds/store-model.ts';
import { getFile, putFile } from '../../jobs/store/blobs.ts';
import type { Store } from '../../jobs/store/store.ts';
import { loadOnlySam } from '../../models/load-model.ts';
import { differences } from '../../run/difference.ts';
import { lock } from '../../run/lock.ts';
import { resultsOf, withCrew } from '../many-machines.ts';
import { userPath } from '../options.ts';
import { output } from '../output.ts';
import {
  hashOfFiles,
  hashOfWeights,
  isOnnx,
  openData,
  type ProtocolOptions,
  summaryLines,
} from './evaluate-protocol.ts';

/** A model as jobs name it, and as results do. */
interface SentModel {
  readonly model: JobOf<'evaluate'>['model'];
  readonly name: string;
  readonly weights: string;
}

/** Runs a protocol by jobs, whose results are joined to the folder that one process would have written, byte for byte. */
export async function evaluateByJobs(source: string, options: ProtocolOptions, signal: AbortSignal): Promise<void> {
  if (options.shard) throw new Error('evaluate: expected --store without --shard: it makes shards itself');
  const shown = output(options);
  const bad: BadRecord[] = [];
  const { protocol, images, groundTruth } = await openData(options, { signal, bad });
  await makeFolder(options.out);
  const locked = await lock(options.out);
  try {
    const run = ['evaluate', source, options.data, options.protocol, options.out];
    await withCrew(options, { run, output: shown, signal }, async (crew) => {
      const { store } = crew;
      const { model, name, weights } = await sendSource(source, options, store);
      const told = { name: options.name ?? name, weights };
      await checkRun(options.out, { protocol: protocol.name, model: told });
      const bar = shown.bar('images into the store', 0);
      const hashes: string[] = [];
      try {
        for await (const image of images) {
          signal.throwIfAborted();
          hashes.push(await putImage(store, image));
          bar.update(hashes.length, image.name);
        }
      } finally {
        bar.stop();
      }
      if (hashes.length === 0) throw new Error(`${protocol.name}: expected images, got none`);
      const setting = await putSetting(store, {
        ...{ protocol, bad, skipBad: options.skipBad === true },
        model: told,
        ...(groundTruth && { groundTruth: { categories: groundTruth.categories, images: groundTruth.images } }),
      });
      const total = hashes.length;
      const parts = Math.ceil(total / options.imagesPerJob);
      const jobs: Job[] = [];
      for (let part = 1; part <= parts; part++) {
        const own: { index: number; image: string }[] = [];
        for (let index = part - 1; index < total; index += parts) own.push({ index, image: hashes[index]! });
        const shard = await putShard(store, { total, images: own });
        jobs.push({ ...jobHead({ part, parts }), kind: 'evaluate', model, setting, images: shard });
      }
      const found = await resultsOf(crew, `${options.protocol} ${name}`, jobs);
      const outputs = found.map((result) => result.outputs);
      const { summary, skipped } = await joined(store, outputs, options.out);
      for (const record of skipped) shown.warn(`skipped: ${badRecordText(record)}`);
      const adapters = crew.adapters();
      const adapter = Object.keys(adapters).join('; ');
      shown.result(summaryLines(summary, options.out), { folder: options.out, adapter, adapters, summary, skipped });
    });
  } finally {
    await locked.release();
  }
}

/** Joins shards to a results folder. @throws when there is another run in it */
async function joined(store: Store, shards: readonly Readonly<Record<string, string>>[], out: string) {
  const work = await mkdtemp(path.join(out, '.joining-'));
  try {
    const folders: string[] = [];
    for (const [i, outputs] of shards.entries()) {
      const folder = path.join(work, String(i + 1));
      await mkdir(folder);
      for (const [name, hash] of Object.entries(outputs))
        await getFile(store, hash, path.join(folder, path.basename(name)));
      folders.push(folder);
    }
    const whole = path.join(work, 'whole');
    const summary = await mergeResults(folders, { folder: whole });
    const config = JSON.parse(await readFile(path.join(whole, 'config.json'), 'utf8')) as {
      done: { bad: BadRecord[] };
    };
    await checkRun(out, { ...config, done: undefined });
    for (const name of await readdir(whole)) await rename(path.join(whole, name), path.join(out, name));
    return { summary, skipped: config.done.bad };
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** @throws when there is another run in a folder: one whose config has other values than these */
async function checkRun(out: string, config: Readonly<Record<string, unknown>>): Promise<void> {
  const file = path.join(out, 'config.json');
  if (!existsSync(file)) return;
  const before = JSON.parse(await readFile(file, 'utf8')) as Readonly<Record<string, unknown>>;
  const there = Object.fromEntries(Object.keys(config).map((key) => [key, config[key] && before[key]]));
  const changed = differences(there, config);
  if (changed.length > 0)
    throw new Error(`'${out}': expected the run that is there, got another: ${changed.join('; ')}; use another folder`);
}

/** Puts a model into the store. @throws when it is none that can be evaluated */
async function sendSource(source: string, options: ProtocolOptions, store: Store): Promise<SentModel> {
  const { decoderHeads, convention, radiusFrom } = options;
  if (source === 'disc') {
    if (radiusFrom === undefined) throw new Error("evaluate: expected --radius-from beside 'disc'");
    const { radius } = await bestDisc(readSa1b(radiusFrom));
    return { model: { kind: 'disc', radius }, name: `disc of ${(100 * radius).toFixed(1)} %`, weights: 'none' };
  }
  const place = userPath(source);
  const name = path.basename(place).replace(/[.](safetensors|pth?|onnx)$/, '');
  if (await isOnnx(place)) {
    const { files: found, close } = await openOnnxModel(place, convention); // opened for its errors, and for what belongs to it
    await close();
    const files = [];
    for (const file of found) files.push({ name: path.basename(file), file: await putFile(store, file) });
    const model = { kind: 'onnx' as const, files, ...(convention !== undefined && { convention }) };
    return { model, name, weights: await hashOfFiles(found) };
  }
  const isFile = existsSync(place) && (await stat(place)).isFile();
  const heads = decoderHeads === undefined ? {} : { decoderHeads };
  if (isFile && place.endsWith('.safetensors')) {
    const file = await putFile(store, place);
    return { model: { kind: 'weights', file, ...heads }, name, weights: file };
  }
  await import('@tensorflow/tfjs-backend-cpu'); // only to hold what is loaded
  const sam = await loadOnlySam(source, options);
  const file = await storeModel(store, sam);
  const weights = isFile ? await hashOfFiles([place]) : await hashOfWeights(sam.weights);
  return { model: { kind: 'weights', file, ...heads }, name, weights };
}
