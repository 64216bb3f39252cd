import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { generateScenes } from '@slimsam/scenes';
import { initSam, samPresets, saveSam } from '@slimsam/vit';
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { runProgram } from '../../slimsam/src/cli/program.ts';
import { startCut, startRedis } from './brokers.ts';
import { clockAhead, filesOf, resultsIn, roughRun, startWorker } from './rough-run.ts';

let work = '';
const at = (...names: string[]) => path.join(work, ...names);
beforeAll(async () => {
  vi.spyOn(process.stderr, 'write').mockReturnValue(true);
  vi.spyOn(console, 'log').mockReturnValue();
  work = mkdtempSync(path.join(tmpdir(), 'slimsam-rough-'));
  await tf.setBackend('cpu');
  const { config, sizes } = samPresets.tiny;
  await saveSam(at('sam.safetensors'), { config, weights: initSam(config, sizes, { seed: 5 }) });
  await generateScenes({ folder: at('scenes'), count: 4, seed: 1, size: 64 });
});
afterAll(() => rmSync(work, { recursive: true, force: true }));

async function command(words: readonly string[]): Promise<void> {
  const errors = vi.mocked(process.stderr.write).mock;
  const code = await runProgram([...words, '--backend', 'cpu'], new AbortController().signal);
  expect(code, errors.calls.join('')).toBe(0);
}

/** `npm run test:queue` is the long form: the small teacher, twenty kills, 40 s without the broker. */
test('workers, one with a wrong clock, and the broker are killed, its connection is cut: the files are those of one process', async () => {
  const budget = ['--images', at('scenes'), '--epochs', '1', '--steps', '1', '--batch', '1', '--sample', '1'];
  const commands = [
    ['evaluate', at('sam.safetensors'), '--data', at('scenes'), '--protocol', 'points', '--out'],
    ['sweep', at('sam.safetensors'), ...budget, '--held', '2', '--ratios', '0.5', '--save', '0.0001', '--out'],
  ];
  const redis = await startRedis({ durable: false }); // all that it knows is lost with it
  const cut = await startCut(redis.port);
  const queue = `redis://127.0.0.1:${cut.port}`;
  const place = ['--queue', queue, '--store', at('store')];
  try {
    for (const [i, words] of commands.entries()) await command([...words, at(`one-${i}`)]);
    const more = [[...place, '--images-per-job', '1'], place];
    const many = Promise.all(commands.map((words, i) => command([...words, at(`many-${i}`), ...more[i]!])));
    const { brokerKilled } = await roughRun({
      workers: [{}, { NODE_OPTIONS: clockAhead(7) }].map(
        (env) => () => startWorker({ queue, store: at('store'), backend: 'cpu', lock: 2 }, env),
      ),
      ...{ broker: redis, cut, kills: 2, cutSeconds: 1, work: many },
      moment: async (kill, over) => {
        while (!over() && resultsIn(at('store')) <= 2 * kill) await sleep(20);
      },
    });
    expect(brokerKilled).toBeGreaterThan(0); // 5 jobs: the first kill comes after one of them
    expect(resultsIn(at('store'))).toBe(5);
    expect(readdirSync(at('many-0'))).toHaveLength(4);
    for (const i of [0, 1]) {
      const files = (folder: string) => filesOf(at(`${folder}-${i}`), /^(?!metrics|plot|table|report)/);
      expect(files('many')).toEqual(files('one'));
    }
  } finally {
    await cut.stop();
    await redis.stop();
  }
}, 300_000); // three starts of workers one after another: seconds, but a minute on a machine that is very busy
