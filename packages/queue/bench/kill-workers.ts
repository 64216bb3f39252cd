/**
 * Kills workers at random moments, and the broker, while an evaluation runs; compares its files with those of one process.
 *
 *     npm run test:queue -- --kills 20
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { generateScenes } from '@slimsam/scenes';
import { initSam, samPresets, saveSam } from '@slimsam/vit';
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import { startCut, startRedis } from '../test/brokers.ts';

const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '20' },
    images: { type: 'string', default: '60' },
    cut: { type: 'string', default: '40' },
  },
});
const [kills, images, cutSeconds] = [Number(values.kills), Number(values.images), Number(values.cut)];
const work = mkdtempSync(path.join(tmpdir(), 'slimsam-kill-'));
const main = fileURLToPath(new URL('../../slimsam/src/cli/main.ts', import.meta.url));
const slimsam = (words: readonly string[]): ChildProcess =>
  spawn(process.execPath, ['--conditions=@slimsam/source', '--import', 'tsx', main, ...words, '--backend', 'cpu'], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
const ended = (child: ChildProcess) => new Promise<number | null>((resolve) => child.once('exit', resolve));
const filesOf = (folder: string) =>
  readdirSync(path.join(work, folder)).map((name) => [name, readFileSync(path.join(work, folder, name), 'utf8')]);

await tf.setBackend('cpu');
const { config, sizes } = samPresets.tiny;
await saveSam(path.join(work, 'sam.safetensors'), { config, weights: initSam(config, sizes, { seed: 1 }) });
await generateScenes({ folder: path.join(work, 'data'), count: images, seed: 1, size: 64 });
const redis = await startRedis();
const cut = await startCut(redis.port);
const [queue, store] = [`redis://127.0.0.1:${cut.port}`, path.join(work, 'store')];
const evaluate = [
  'evaluate',
  path.join(work, 'sam.safetensors'),
  '--data',
  path.join(work, 'data'),
  '--protocol',
  'points',
];
const start = () => slimsam(['worker', '--queue', queue, '--store', store, '--lock', '3']);
const workers = [start(), start(), start()];
let killed = 0;
/** A worker that begins while the broker is away ends with an error: what looks after it starts it again. */
const keeper = setInterval(() => {
  for (const [i, { exitCode }] of workers.entries()) if (exitCode !== null) workers[i] = start();
}, 1_000);
try {
  const one = ended(slimsam([...evaluate, '--out', path.join(work, 'one')]));
  const many = ended(
    slimsam([
      ...evaluate,
      '--out',
      path.join(work, 'many'),
      '--queue',
      queue,
      '--store',
      store,
      '--images-per-job',
      '1',
    ]),
  );
  let running = true;
  void many.then(() => {
    running = false;
  });
  const began = performance.now();
  while (running && !existsSync(path.join(store, 'results'))) await sleep(100); // all have begun
  while (running && killed < kills) {
    await sleep(500 + Math.random() * 4_000);
    const place = Math.floor(Math.random() * workers.length);
    workers[place]!.kill('SIGKILL');
    workers[place] = start();
    killed++;
    if (killed === Math.ceil(kills / 3) || killed === Math.ceil((2 * kills) / 3)) {
      await redis.kill();
      await sleep(1_000);
      await redis.start();
    }
    if (killed === Math.ceil(kills / 2)) {
      cut.cut();
      setTimeout(() => cut.mend(), cutSeconds * 1000);
    }
  }
  const [first, second] = await Promise.all([one, many]);
  if (first !== 0 || second !== 0) throw new Error(`expected both to end with 0, got ${first} and ${second}`);
  const same = JSON.stringify(filesOf('one')) === JSON.stringify(filesOf('many'));
  const results = readdirSync(path.join(store, 'results'), { recursive: true }).filter(
    (name) => String(name).length > 60,
  );
  const seconds = ((performance.now() - began) / 1000).toFixed(0);
  console.log(`${killed} workers killed, the broker twice, its connection cut for ${cutSeconds} s, in ${seconds} s`);
  console.log(`${results.length} results of ${images} jobs; files ${same ? 'equal, byte for byte' : 'DIFFER'}`);
  process.exitCode = same && results.length === images ? 0 : 1;
} finally {
  clearInterval(keeper);
  for (const worker of workers) worker.kill('SIGKILL');
  await cut.stop();
  await redis.stop();
  rmSync(work, { recursive: true, force: true });
}
