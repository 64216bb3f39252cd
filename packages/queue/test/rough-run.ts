import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { WorkOptions } from 'slimsam/jobs';
import type { startCut, TestServer } from './brokers.ts';

const main = fileURLToPath(new URL('../../slimsam/src/cli/main.ts', import.meta.url));

/** Starts the command line `slimsam`. */
export const slimsam = (words: readonly string[], env: NodeJS.ProcessEnv = {}): ChildProcess =>
  spawn(process.execPath, ['--conditions=@slimsam/source', '--import', 'tsx', main, ...words], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, ...env },
  });

/** Starts a worker alone, without the command line, which has more to load. */
export function startWorker(options: Omit<WorkOptions, 'signal' | 'note'>, env: NodeJS.ProcessEnv = {}): ChildProcess {
  const program = `import(${JSON.stringify(new URL('../src/index.ts', import.meta.url).href)}).then(({ work }) =>
    work({ ...${JSON.stringify(options)}, signal: new AbortController().signal, note: console.error }))`;
  const words = ['--conditions=@slimsam/source', '--import', 'tsx', '--input-type=module', '-e', program];
  return spawn(process.execPath, words, { stdio: ['ignore', 'ignore', 'pipe'], env: { ...process.env, ...env } });
}

/** For NODE_OPTIONS: the process's clock is hours ahead. */
export const clockAhead = (hours: number): string =>
  `--import=data:text/javascript,${encodeURIComponent(`const now = Date.now; Date.now = () => now() + ${hours * 3_600_000};`)}`;

/** Results in a folder's store. */
export const resultsIn = (store: string): number =>
  existsSync(path.join(store, 'results'))
    ? readdirSync(path.join(store, 'results'), { recursive: true }).filter((name) => String(name).length > 60).length
    : 0;

/** Bytes of files below a folder whose names match, by path. */
export function filesOf(folder: string, name: RegExp): Record<string, string> {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((one) => one.isFile());
  const found = files.filter((one) => name.test(one.name)).map((one) => path.join(one.parentPath, one.name));
  return Object.fromEntries(
    found.sort().map((file) => [path.relative(folder, file), readFileSync(file).toString('base64')]),
  );
}

/** Worker processes of a queue, and what happens to them. */
export interface RoughRun {
  /** Starts each of the workers. */
  readonly workers: readonly (() => ChildProcess)[];
  readonly broker: TestServer;
  readonly cut: Awaited<ReturnType<typeof startCut>>;
  readonly kills: number;
  readonly cutSeconds: number;
  /** Resolves when it is time for a kill, or `work` is over. */
  readonly moment: (kill: number, over: () => boolean) => Promise<void>;
  /** What the workers are for. */
  readonly work: Promise<unknown>;
}

/**
 * Keeps worker processes for some work, and kills them by SIGKILL at random; also the broker, twice, and cuts the way to it once. A worker
 * that ends is started again, as what looks after it would do.
 *
 * @returns how many were killed before the work was over, and the last lines of the workers
 */
export async function roughRun(run: RoughRun): Promise<{ killed: number; brokerKilled: number; errors: string[] }> {
  const { broker, cut, kills, cutSeconds, moment, work } = run;
  let over = false;
  const ended = work.finally(() => {
    over = true;
  });
  ended.catch(() => {}); // told below
  const errors: string[] = [];
  const workers: ChildProcess[] = [];
  const start = (place: number) => {
    const worker = run.workers[place]!();
    workers[place] = worker;
    worker.stderr!.on('data', (bytes: Buffer) => errors.push(...bytes.toString().trim().split('\n')));
    worker.once('exit', () => {
      if (!over) setTimeout(() => over || start(place), 200);
    });
  };
  for (const place of run.workers.keys()) start(place);
  let [killed, brokerKilled] = [0, 0];
  try {
    while (killed < kills) {
      await moment(killed, () => over);
      if (over) break;
      if (!workers[Math.floor(Math.random() * workers.length)]!.kill('SIGKILL')) {
        await sleep(50); // it has ended by itself, and is about to be started again
        continue;
      }
      killed++;
      if (killed === Math.ceil(kills / 3) || killed === Math.ceil((2 * kills) / 3)) {
        await broker.kill();
        await sleep(500);
        await broker.start();
        brokerKilled++;
      }
      if (killed === Math.ceil(kills / 2)) {
        cut.cut();
        setTimeout(() => cut.mend(), cutSeconds * 1000);
      }
    }
    await ended;
    return { killed, brokerKilled, errors };
  } finally {
    over = true;
    for (const worker of workers) worker.kill('SIGKILL');
  }
}
