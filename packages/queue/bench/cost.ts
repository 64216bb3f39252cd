/**
 * What the queue costs: jobs that only sleep, on worker processes of this machine; and the memory of broker and coordinator while a million
 * jobs pass through. Processor time is that of all processes; of wall times the machine must be quiet.
 *
 *     npm run bench:queue -- [--workers 1,4,16] [--jobs 10000] [--long 12] [--through 1000000]
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { type Job, jobHead, openStore, runJobs, type Store } from 'slimsam/jobs';
import { openQueue } from '../src/index.ts';
import { startRedis } from '../test/brokers.ts';
import { slimsam } from '../test/rough-run.ts';

const { values } = parseArgs({
  options: {
    workers: { type: 'string', default: '1,4,16' },
    jobs: { type: 'string', default: '10000' },
    long: { type: 'string', default: '12' },
    through: { type: 'string', default: '1000000' },
  },
});
const folder = mkdtempSync(path.join(tmpdir(), 'slimsam-cost-'));
const nap = (part: number, parts: number, milliseconds: number): Job => ({
  ...jobHead({ part, parts }),
  kind: 'sleep',
  milliseconds,
});

/** Seconds of processor time of a process and those below it, and MiB that they hold. */
function usageOf(pids: readonly number[]): { cpu: number; memory: number } {
  let [cpu, memory] = [0, 0];
  for (const pid of [...pids, ...pids.flatMap(childrenOf)]) {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    cpu += (Number(fields[11]) + Number(fields[12])) / 100;
    memory += (Number(fields[21]) * 4096) / 2 ** 20;
  }
  return { cpu, memory };
}

function childrenOf(pid: number): number[] {
  return readdirSync(`/proc/${pid}/task`).flatMap((task) => {
    const text = readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').trim();
    return text === '' ? [] : text.split(' ').map(Number);
  });
}

/** The process that listens on a port of this machine. */
function listenerOf(port: number): number {
  const hex = port.toString(16).toUpperCase().padStart(4, '0');
  const line = readFileSync('/proc/net/tcp', 'utf8')
    .split('\n')
    .find((one) => one.includes(`:${hex} 00000000:0000 0A`));
  const inode = line?.trim().split(/\s+/)[9];
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    const open = readlinks(`/proc/${pid}/fd`);
    if (open.includes(`socket:[${inode}]`)) return Number(pid);
  }
  throw new Error(`expected a process that listens on ${port}, got none`);
}

function readlinks(place: string): string[] {
  try {
    return readdirSync(place).map((name) => readlinkSync(`${place}/${name}`));
  } catch {
    return []; // it has ended
  }
}

async function throughWorkers(count: number): Promise<void> {
  const redis = await startRedis({ durable: false });
  const broker = listenerOf(redis.port);
  const place = path.join(folder, `workers-${count}`);
  const words = ['worker', '--queue', redis.url, '--store', place, '--backend', 'cpu'];
  const workers: ChildProcess[] = Array.from({ length: count }, () => slimsam(words));
  for (const worker of workers) worker.stderr!.resume();
  const pids = workers.map(({ pid }) => pid!);
  const [queue, store] = [await openQueue(redis.url), await openStore(place)];
  try {
    while ((await queue.workers()).length < count) await sleep(100);
    const run = async (jobs: number, milliseconds: number) => {
      const before = { workers: usageOf(pids).cpu, broker: usageOf([broker]).cpu, own: process.cpuUsage() };
      const began = performance.now();
      let done = 0;
      const all = Array.from({ length: jobs }, (_, i) => nap(i + 1, jobs, milliseconds));
      for await (const outcome of runJobs(all, { runner: queue.runner, store })) {
        if ('error' in outcome) throw outcome.error;
        done++;
      }
      if (done !== jobs) throw new Error(`expected ${jobs} results, got ${done}`);
      const own = process.cpuUsage(before.own);
      return {
        seconds: (performance.now() - began) / 1000,
        worker: ((usageOf(pids).cpu - before.workers) * 1000) / jobs,
        broker: ((usageOf([broker]).cpu - before.broker) * 1000) / jobs,
        coordinator: (own.user + own.system) / 1000 / jobs,
      };
    };
    await run(4 * count, 1); // what is compiled first
    const costs = ({ worker, broker: own, coordinator }: Awaited<ReturnType<typeof run>>) =>
      `processor time a job: worker ${worker.toFixed(1)} ms, broker ${own.toFixed(2)} ms, coordinator ${coordinator.toFixed(2)} ms`;
    const short = await run(Number(values.jobs), 2);
    console.log(
      `${count} workers: ${values.jobs} jobs of 2 ms in ${short.seconds.toFixed(1)} s, ${(Number(values.jobs) / short.seconds).toFixed(0)} a second; ${costs(short)}`,
    );
    if (count === 4) {
      const two = await run(200, 20);
      console.log(`${count} workers: 200 jobs of 20 ms in ${two.seconds.toFixed(2)} s`);
    }
    const each = Number(values.long);
    if (each > 0) {
      const long = await run(each * count, 5000);
      const over = (100 * (long.seconds - 5 * each)) / (5 * each);
      console.log(
        `${count} workers: ${each * count} jobs of 5 s in ${long.seconds.toFixed(2)} s, ${over.toFixed(2)} % more than ${5 * each}; ${costs(long)}`,
      );
    }
    console.log(`${count} workers: a worker holds ${(usageOf(pids).memory / count).toFixed(0)} MiB, in two processes`);
  } finally {
    for (const worker of workers) worker.kill('SIGKILL');
    await queue.close();
    await redis.stop();
  }
}

/** A store in which a job has no result when it is asked for first, and then one. */
function storeOfAnswers(): Store {
  const asked = new Set<string>(); // the last ones
  const nothing = async () => undefined;
  return {
    ...{ location: 'answers', has: async () => false, readFile: async () => false },
    ...{ create: async () => true, remove: nothing, list: async function* () {} },
    async read(key) {
      const job = key.split('/').at(-1)!;
      if (!asked.has(job)) {
        asked.add(job);
        if (asked.size > 10_000) asked.delete(asked.values().next().value!);
        return undefined;
      }
      const result = { format: 1, job, version: '0.1.0', adapter: 'none', worker: 'none', seconds: 0 };
      const body = JSON.stringify({ ...result, value: {}, outputs: {} });
      return Buffer.from(`${createHash('sha256').update(body).digest('hex')}\n${body}`);
    },
  };
}

async function through(count: number): Promise<void> {
  const redis = await startRedis({ durable: false });
  const broker = listenerOf(redis.port);
  const url = `${redis.url}?queue=through`;
  const file = fileURLToPath(new URL('stand-in.ts', import.meta.url));
  const worker = spawn(process.execPath, ['--import', 'tsx', file, redis.url, 'through'], { stdio: 'inherit' });
  const queue = await openQueue(url);
  function* jobs() {
    for (let part = 1; part <= count; part++) yield nap(part, count, 1);
  }
  const began = performance.now();
  try {
    let done = 0;
    const most = { broker: 0, coordinator: 0, heap: 0 };
    for await (const outcome of runJobs(jobs(), { runner: queue.runner, store: storeOfAnswers() })) {
      if ('error' in outcome) throw outcome.error;
      if (++done % Math.ceil(count / 10) !== 0) continue;
      const [theirs, own] = [usageOf([broker]).memory, process.memoryUsage()];
      most.broker = Math.max(most.broker, theirs);
      most.coordinator = Math.max(most.coordinator, own.rss / 2 ** 20);
      console.log(
        `${done} jobs: broker ${theirs.toFixed(0)} MiB, coordinator ${(own.rss / 2 ** 20).toFixed(0)} MiB (heap ${(own.heapUsed / 2 ** 20).toFixed(0)} MiB), ${((performance.now() - began) / 1000).toFixed(0)} s`,
      );
    }
    console.log(
      `${done} jobs through the queue: at most ${most.broker.toFixed(0)} MiB of the broker, ${most.coordinator.toFixed(0)} MiB of the coordinator`,
    );
  } finally {
    worker.kill('SIGTERM');
    await queue.close();
    await redis.stop();
  }
}

try {
  for (const count of values.workers.split(',').filter(Boolean).map(Number)) await throughWorkers(count);
  if (Number(values.through) > 0) await through(Number(values.through));
} finally {
  rmSync(folder, { recursive: true, force: true });
}
