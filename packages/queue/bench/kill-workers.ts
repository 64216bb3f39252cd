/**
 * Kills three workers by SIGKILL at random moments, and the broker, while one queue has an evaluation, a scoring (of a compression) and a
 * sweep of the small teacher; compares their files with those of one process without a queue.
 *
 *     npm run test:queue -- --kills 20 [--broker postgres]
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { generateScenes } from '@slimsam/scenes';
import { startCut, startPostgres, startRedis } from '../test/brokers.ts';
import { clockAhead, filesOf, resultsIn, roughRun, slimsam } from '../test/rough-run.ts';

const { values } = parseArgs({
  options: {
    broker: { type: 'string', default: 'redis' },
    kills: { type: 'string', default: '20' },
    images: { type: 'string', default: '36' },
    cut: { type: 'string', default: '40' },
    every: { type: 'string', default: '8' },
    lock: { type: 'string', default: '5' },
    size: { type: 'string', default: '256' },
    backend: { type: 'string', default: 'webgpu' },
    model: { type: 'string', default: fileURLToPath(new URL('../../../examples/teacher/', import.meta.url)) },
  },
});
const { model, backend } = values;
const [kills, images, cutSeconds, every] = [values.kills, values.images, values.cut, values.every].map(Number);
const work = mkdtempSync(path.join(tmpdir(), 'slimsam-kill-'));
const at = (...names: string[]) => path.join(work, ...names);
await generateScenes({ folder: at('scenes'), count: images!, seed: 1, size: Number(values.size) });
const photographs = ['--images', at('scenes'), '--held', '2', '--batch', '2', '--epochs', '1', '--save', '0.02'];

/** The command, what it takes for its folder, jobs that it makes, and the files that are compared. */
const kinds = {
  evaluation: {
    words: ['evaluate', model, '--data', at('scenes'), '--protocol', 'points'],
    ...{ out: '--out', queued: ['--images-per-job', '1'], jobs: images!, files: /./ },
  },
  scoring: {
    words: ['compress', model, ...photographs, '--steps', '1', '--sample', String(images! - 2)],
    ...{ out: '--run', queued: [], jobs: 2 * Math.ceil((images! - 2) / 32), files: /^(run\.json|slim\..*)$/ },
  },
  sweep: {
    words: ['sweep', model, ...photographs, '--steps', '3', '--sample', '4', '--ratios', '0.5', '--seeds', '3'],
    ...{ out: '--out', queued: [], jobs: 3, files: /^(run\.json|cell\.json|slim\..*)$/ },
  },
} as const;
type Kind = keyof typeof kinds;
const names = Object.keys(kinds) as Kind[];

async function command(kind: Kind, folder: string, more: readonly string[]): Promise<void> {
  mkdirSync(at(folder), { recursive: true });
  const { words, out } = kinds[kind];
  const child = slimsam([...words, out, at(folder, kind), '--backend', backend, ...more]);
  let errors = '';
  child.stderr!.on('data', (bytes: Buffer) => {
    errors = `${errors}${bytes}`.slice(-3000);
  });
  const code = await new Promise((resolve) => child.once('exit', resolve));
  if (code !== 0) throw new Error(`${kind} ended with ${code}: ${errors}`);
}

const broker = await (values.broker === 'postgres' ? startPostgres() : startRedis());
const cut = await startCut(broker.port);
const [queue, store] = [broker.url.replace(String(broker.port), String(cut.port)), at('store')];
const place = ['--queue', queue, '--store', store];
try {
  for (const kind of names) await command(kind, 'one', []);
  console.log('one process without a queue has computed all three');
  const began = performance.now();
  const running = Promise.all(names.map((kind) => command(kind, 'many', [...place, ...kinds[kind].queued])));
  const { killed, brokerKilled } = await roughRun({
    workers: [{}, {}, { NODE_OPTIONS: clockAhead(7) }].map(
      (env) => () => slimsam(['worker', ...place, '--lock', values.lock, '--backend', backend], env),
    ),
    ...{ broker, cut, kills: kills!, cutSeconds: cutSeconds!, work: running },
    moment: async (_, over) => {
      const end = performance.now() + 2000 * every! * Math.random();
      while (!over() && (performance.now() < end || resultsIn(store) === 0)) await sleep(50);
    },
  });
  const seconds = ((performance.now() - began) / 1000).toFixed(0);
  const jobs = names.reduce((sum, kind) => sum + kinds[kind].jobs, 0);
  const results = resultsIn(store);
  console.log(
    `${killed} of 3 workers killed (one with a clock 7 h ahead), the broker ${brokerKilled} times, in ${seconds} s`,
  );
  console.log(`${results} results of ${jobs} jobs`);
  let equal = true;
  for (const kind of names) {
    const [one, many] = ['one', 'many'].map((folder) => filesOf(at(folder, kind), kinds[kind].files));
    const different = Object.keys(one!).filter((name) => one![name] !== many![name]);
    const same = different.length === 0 && Object.keys(one!).join() === Object.keys(many!).join();
    equal &&= same;
    console.log(
      `${kind}: ${Object.keys(one!).length} files ${same ? 'equal, byte for byte' : `DIFFER: ${different.join(', ')}`}`,
    );
  }
  if (killed < kills!) console.log(`the work was over before ${kills} kills: take more --images, or a shorter --every`);
  process.exitCode = equal && results === jobs && killed === kills ? 0 : 1;
} finally {
  await cut.stop();
  await broker.stop();
  rmSync(work, { recursive: true, force: true });
}
