import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { generateScenes } from '@slimsam/scenes';
import { loadSam, saveSam } from '@slimsam/vit';
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { embedByJobs, scoreByJobs } from '../../src/cli/commands/compress-by-jobs.ts';
import type { Crew } from '../../src/cli/many-machines.ts';
import { compress, type Photographs, slimSam } from '../../src/index.ts';
import {
  getFile,
  type Job,
  jobHead,
  type LocalRunner,
  localRunner,
  openStore,
  putFile,
  resultsInOrder,
  runJobs,
  type Store,
} from '../../src/jobs/index.ts';
import { storeAll } from '../../src/jobs/kinds/photographs.ts';
import { recordedStore } from '../../src/jobs/store/runs.ts';
import { openPhotographs } from '../../src/photographs/open-photographs.ts';
import { follow, tinySam, valuesOf } from '../tiny.ts';

let work = '';
let photographs: Photographs;
let store: Store;
let runner: LocalRunner;
const at = (...names: string[]) => path.join(work, ...names);
beforeAll(async () => {
  work = mkdtempSync(path.join(tmpdir(), 'slimsam-compress-jobs-'));
  await tf.setBackend('cpu');
  await saveSam(at('sam.safetensors'), tinySam(5));
  await generateScenes({ folder: at('photos'), count: 6, seed: 2, size: 64 });
  photographs = await openPhotographs(at('photos'));
  store = await openStore(at('store'));
  runner = localRunner({ store: at('store'), backend: 'cpu' });
});
afterAll(async () => {
  await Promise.all([runner.close(), photographs.close()]);
  rmSync(work, { recursive: true, force: true });
});

const recipe = slimSam({ ratio: 0.5, epochs: 1, stepsPerEpoch: 2, learningRate: 1e-3, sample: 2 });
const settings = { seed: 3, batch: 2, accumulate: 1, recompute: false, held: 2 };
/** The weights that one process comes to. */
async function weightsOf(more: Partial<Parameters<typeof compress>[1]> = {}) {
  const stages = compress(tinySam(5), { photographs, recipe, ...settings, ...more });
  return valuesOf((await follow(stages, Number.POSITIVE_INFINITY))!.model.weights);
}
function memoryCache() {
  const kept = new Map<string, Uint8Array>();
  return {
    kept,
    get: async (name: string) => kept.get(name),
    put: async (n: string, b: Uint8Array) => void kept.set(n, b),
  };
}

test('scores and embeddings by jobs are those of one process, bit for bit', async () => {
  const kinds: string[] = [];
  const crew: Crew = {
    store: await recordedStore(store, 'test'),
    async *done(name, { jobs }) {
      kinds.push(name);
      for await (const outcome of runJobs(jobs, { runner, store }))
        if ('result' in outcome) yield { job: outcome.job, result: outcome.result };
    },
    adapters: () => ({}),
  };
  const signal = new AbortController().signal;
  const sent = { photographs, seed: settings.seed, size: undefined, signal };
  const [own, theirs] = [memoryCache(), memoryCache()];
  const expected = await weightsOf({ teacherCache: own });
  await embedByJobs(crew, { ...sent, model: tinySam(5), cache: theirs });
  expect([...theirs.kept.keys()].sort()).toEqual([...photographs.names].sort());
  for (const [name, bytes] of own.kept) expect(Buffer.from(theirs.kept.get(name)!).equals(bytes), name).toBe(true);
  expect(await weightsOf({ teacherCache: theirs, score: scoreByJobs(crew, sent) })).toEqual(expected);
  expect(kinds).toEqual(['embeddings', 'scores', 'scores']);
});

test('a whole compression as a job goes on from its checkpoint where it was stopped, bit for bit', async () => {
  const job: Job = {
    ...jobHead({ part: 1, parts: 1 }),
    ...{ kind: 'compress', recipe, saveMinutes: 1e-9, ...settings },
    model: await putFile(store, at('sam.safetensors')),
    photographs: await storeAll(photographs, { store }),
  };
  const checkpoints = async () => {
    let count = 0;
    for await (const _ of store.list('checkpoints/')) count++;
    return count;
  };
  const stop = new AbortController();
  const stopped = resultsInOrder([job], { runner, store, signal: stop.signal }).catch((error: Error) => error.message);
  while ((await checkpoints()) === 0) await wait(20);
  stop.abort(new Error('enough'));
  expect(await stopped).toBe('enough');
  const [result] = await resultsInOrder([job], { runner, store });
  expect(await checkpoints()).toBe(0);
  expect(Object.keys(result!.outputs).sort()).toEqual([
    ...['metrics.jsonl', 'run.json', 'slim.plan.json', 'slim.safetensors'],
  ]);
  await getFile(store, result!.outputs['slim.safetensors']!, at('slim.safetensors'));
  const { weights } = await loadSam(at('slim.safetensors'));
  expect(await valuesOf(weights)).toEqual(await weightsOf());
});
