import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import type net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Queue } from 'bullmq';
import {
  type Job,
  type JobOutcome,
  type JobQueue,
  jobHash,
  jobHead,
  localRunner,
  openStore,
  putBlob,
  runJobs,
  type Store,
  workerName,
} from 'slimsam/jobs';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { runProgram } from '../../slimsam/src/cli/program.ts';
import { openQueue, work } from '../src/index.ts';
import { startPostgres, startRedis, startS3, type TestServer } from './brokers.ts';

let folder = '';
let redis: TestServer;
beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'slimsam-queue-'));
  redis = await startRedis({ password: 'secret-of-the-test' });
});
afterAll(async () => {
  await redis.stop();
  rmSync(folder, { recursive: true, force: true });
});

const nap = (milliseconds: number, part = 1, parts = 1): Job => ({
  ...jobHead({ part, parts }),
  kind: 'sleep',
  milliseconds,
});
const naps = (count: number, milliseconds: number) =>
  Array.from({ length: count }, (_, i) => nap(milliseconds, i + 1, count));
const hash = 'b'.repeat(64);

/** Workers of this process, each with a child, while `use` runs. */
async function withWorkers<T>(
  count: number,
  { url, store, lock = 5 }: { url: string; store: string; lock?: number },
  use: (lines: string[]) => Promise<T>,
): Promise<T> {
  const stop = new AbortController();
  const lines: string[] = [];
  const note = (line: string) => void lines.push(line);
  const workers = Array.from({ length: count }, () =>
    work({ queue: url, store, backend: 'cpu', lock, signal: stop.signal, note }),
  );
  try {
    return await use(lines);
  } finally {
    stop.abort(new Error('the test is over'));
    await Promise.all(workers);
  }
}

async function all(jobs: readonly Job[], { queue, store }: { queue: JobQueue; store: Store }): Promise<JobOutcome[]> {
  const found: JobOutcome[] = [];
  for await (const outcome of runJobs(jobs, { runner: queue.runner, store })) found.push(outcome);
  return found;
}

/** What a command that ends with 0 prints. */
async function linesOf(words: readonly string[]): Promise<string> {
  const log = vi.spyOn(console, 'log').mockReturnValue();
  try {
    expect(await runProgram(words, new AbortController().signal)).toBe(0);
    return log.mock.calls.join('\n');
  } finally {
    log.mockRestore();
  }
}

/** For NODE_OPTIONS: the first sleep of a process that finds no such file ends as a job ends whose device is lost. */
function deviceLostOnce(file: string): string {
  const program = `import fs from 'node:fs';
    import { syncBuiltinESMExports } from 'node:module';
    import timers from 'node:timers/promises';
    const { setTimeout } = timers;
    timers.setTimeout = async (...given) => {
      if (fs.existsSync(${JSON.stringify(file)})) return setTimeout(...given);
      fs.writeFileSync(${JSON.stringify(file)}, '');
      throw new Error('webgpu: the device was lost (destroyed: by the test)');
    };
    syncBuiltinESMExports();`;
  return `--import=data:text/javascript,${encodeURIComponent(program)}`;
}

const errorsOf = (outcomes: readonly JobOutcome[]) =>
  outcomes.flatMap((one) => ('error' in one ? one.error.message : []));

describe('a queue on Redis', () => {
  test('each job has one result; a failed one is listed, and the others go on; strange data is refused', async () => {
    const [url, location] = [`${redis.url}?queue=first`, path.join(folder, 'first')];
    const [queue, store] = [await openQueue(url), await openStore(location)];
    const raw = new Queue('first', { connection: { port: redis.port, password: 'secret-of-the-test' } });
    try {
      await withWorkers(2, { url, store: location }, async (lines) => {
        const jobs = naps(30, 5);
        const bad: Job = { ...jobHead({ part: 1, parts: 1 }), kind: 'embed', model: hash, photographs: hash };
        for (const [id, data] of [
          ['strange-1', { kind: 'shell', command: 'touch /tmp/x' }],
          ['strange-2', nap(1)], // not under its hash
          ['strange-3', { ...nap(1), path: '/etc/passwd' }],
        ] as const)
          await raw.add('sleep', data, { jobId: id, attempts: 3 });
        const outcomes = await all([...jobs, bad], { queue, store });
        expect(new Set(outcomes.map((one) => one.hash)).size).toBe(31);
        expect(errorsOf(outcomes)).toEqual([expect.stringMatching(/^store: expected a blob b+ .*\(3 tries\)$/)]);
        const listed = await queue.failed();
        expect(listed).toHaveLength(4);
        expect(listed).toContainEqual(
          expect.objectContaining({
            hash: jobHash(bad),
            kind: 'embed',
            attempts: 3,
            input: expect.stringMatching(/^embed 1 of 1/),
          }),
        );
        for (const id of ['strange-1', 'strange-2', 'strange-3'])
          expect(listed).toContainEqual(
            expect.objectContaining({ hash: id, attempts: 1, error: expect.stringMatching(/refused$/) }),
          );
        expect(
          lines.filter((line) => /^worker .*: slimsam \d.* on tfjs-backend-cpu on .*GiB of memory$/.test(line)),
        ).toHaveLength(2);
        expect(await queue.workers()).toEqual([workerName()]); // both are of this process
        const told = await linesOf(['queue', 'status', '--queue', url]);
        expect(told).toMatch(
          /^0 jobs wait, 0 are under way, 4 failed\n1 workers: .*\n[\s\S]*embed 1 of 1, .*3.*expected a blob b+/,
        );
        expect(told).not.toContain('secret-of-the-test');
        expect(await linesOf(['queue', 'retry', '--queue', url])).toBe('4 failed jobs begin anew');
        expect(lines.join()).not.toContain('secret-of-the-test');
      });
      expect(await linesOf(['queue', 'drain', '--queue', url])).toMatch(/^[0-4] jobs taken away$/); // those that have failed again, or wait
      expect(await queue.counts()).toMatchObject({ waiting: 0, failed: 0 });
    } finally {
      await Promise.all([raw.close(), queue.close()]);
    }
  });

  test('a job of another version, or that needs a feature, goes back, and waits for one that can', async () => {
    const [url, location] = [`${redis.url}?queue=versions`, path.join(folder, 'versions')];
    const [queue, store] = [await openQueue(url), await openStore(location)];
    const other: Job = { ...nap(1), version: '99.0.0' };
    const half: Job = { ...nap(2), requires: ['shader-f16'] };
    const stop = new AbortController();
    const waiting = (async () => {
      for await (const _ of runJobs([other, half], { runner: queue.runner, store, signal: stop.signal }));
    })();
    const ended = waiting.catch((error: Error) => error.message);
    await withWorkers(1, { url, store: location }, async (lines) => {
      for (
        let tries = 0;
        tries < 100 && !(/99\.0\.0, this/.test(lines.join()) && /shader-f16, which/.test(lines.join()));
        tries++
      )
        await sleep(200);
      expect(lines.join('\n')).toMatch(/goes back: it is of slimsam 99\.0\.0, this worker is \d/);
      expect(lines.join('\n')).toMatch(/goes back: it needs shader-f16, which tfjs-backend-cpu on .* has not/);
      expect((await all([nap(3)], { queue, store })).map((one) => 'result' in one)).toEqual([true]); // others go on beside them
    });
    expect((await queue.counts()).failed).toBe(0);
    stop.abort(new Error('enough'));
    expect(await ended).toBe('enough');
    await queue.close();
  });

  test('Ctrl-C hands the job back at once; another worker finishes it, in a new process after its device was lost', async () => {
    const [url, location] = [`${redis.url}?queue=stopped`, path.join(folder, 'stopped')];
    const [queue, store] = [await openQueue(url), await openStore(location)];
    const outcome = all([nap(3_000)], { queue, store });
    await withWorkers(1, { url, store: location }, async () => {
      while ((await queue.counts()).active === 0) await sleep(20);
      await sleep(100);
    });
    expect(await queue.counts()).toMatchObject({ waiting: 1, active: 0, failed: 0 });
    process.env.NODE_OPTIONS = deviceLostOnce(path.join(folder, 'lost'));
    try {
      await withWorkers(1, { url, store: location }, async (lines) => {
        expect('result' in (await outcome)[0]!).toBe(true);
        expect(lines.join('\n')).toMatch(
          /device was lost .*; another process takes its place\n.* goes back: the device was lost/,
        );
      });
    } finally {
      delete process.env.NODE_OPTIONS;
    }
    await queue.close();
  });
});

test('a command ends although its broker is gone', async () => {
  const [gone, store] = [await startRedis({ durable: false }), await openStore(path.join(folder, 'gone'))];
  const [queue, stop] = [await openQueue(gone.url), new AbortController()];
  const waits = runJobs([nap(1)], { runner: queue.runner, store, signal: stop.signal }).next();
  while ((await queue.counts()).waiting === 0) await sleep(20);
  await gone.stop();
  stop.abort(new Error('enough'));
  await expect(waits).rejects.toThrow('enough');
  await queue.close();
});

test('a worker takes the adapter that is named, or tells those that there are', async () => {
  const words = ['worker', '--queue', redis.url, '--store', path.join(folder, 'adapters'), '--adapter'];
  const stop = new AbortController();
  const told = vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
    if (String(text).includes('takes jobs of')) stop.abort(new Error('it has begun'));
    return true;
  });
  const lines = () => told.mock.calls.join('');
  try {
    expect(await runProgram([...words, 'no such one'], stop.signal)).toBe(1);
    const [, there] = /expected an adapter with 'no such one' in its name, got (\w+)/.exec(lines()) ?? [];
    expect(there, lines()).toBeDefined();
    await runProgram([...words, there!], stop.signal);
    expect(lines()).toMatch(new RegExp(`worker .*: slimsam .* on .*${there}.*GiB of memory`, 'i'));
    expect(lines()).not.toContain('secret-of-the-test');
  } finally {
    told.mockRestore();
  }
});

test('a queue on PostgreSQL', async () => {
  const [postgres, location] = [await startPostgres(), path.join(folder, 'postgres')];
  try {
    const [queue, store] = [await openQueue(postgres.url), await openStore(location)];
    await withWorkers(2, { url: postgres.url, store: location }, async () => {
      const bad: Job = { ...jobHead({ part: 1, parts: 1 }), kind: 'embed', model: hash, photographs: hash };
      const outcomes = await all([...naps(20, 5), bad], { queue, store });
      expect(errorsOf(outcomes)).toEqual([expect.stringMatching(/^store: expected a blob b+ .*\(3 tries\)$/)]);
      expect(outcomes).toHaveLength(21);
      expect((await queue.failed()).map((one) => one.attempts)).toEqual([3]);
    });
    expect(await queue.drain()).toBe(1);
    await queue.close();
    await expect(openQueue(postgres.url.replace('secret-of-the-test', 'wrong-word'))).rejects.toThrow(
      /^(?!.*wrong-word).*expected a broker at 'postgres:\/\/127.*password authentication failed/,
    );
  } finally {
    await postgres.stop();
  }
});

test('a store in S3', async () => {
  const s3 = await startS3();
  try {
    const store = await openStore(s3.store);
    const blob = await putBlob(store, 'some bytes');
    expect(await store.create('results/x', Buffer.from('first'))).toBe(true);
    expect(await store.create('results/x', Buffer.from('second'))).toBe(false);
    expect(Buffer.from((await store.read('results/x'))!).toString()).toBe('first');
    expect(await store.read('results/y')).toBeUndefined();
    writeFileSync(path.join(folder, 'large'), new Uint8Array(9 << 20).fill(7)); // in parts
    expect(await store.create('blobs/large', { file: path.join(folder, 'large') })).toBe(true);
    expect(await store.readFile('blobs/large', path.join(folder, 'copy'))).toBe(true);
    const keys: string[] = [];
    for await (const { key, bytes } of store.list('blobs/')) keys.push(`${key} ${bytes}`);
    expect(keys.sort()).toEqual([`blobs/${blob.slice(0, 2)}/${blob} 10`, `blobs/large ${9 << 20}`]);
    await store.remove('blobs/large');
    expect(await store.has('blobs/large')).toBe(false);
    const runner = localRunner({ store: s3.store, backend: 'cpu' });
    const outcomes: JobOutcome[] = [];
    for await (const outcome of runJobs(naps(3, 1), { runner, store })) outcomes.push(outcome);
    await runner.close();
    expect(errorsOf(outcomes)).toEqual([]);
    await expect(openStore(s3.store.replace('blobs', 'no-bucket'))).rejects.toThrow(
      /^store: expected s3:\/\/no-bucket/,
    );
    process.env.AWS_ACCESS_KEY_ID = 'wrong-key';
    await expect(openStore(s3.store)).rejects.toThrow(/^(?!.*wrong-key)store: expected s3:.*see to AWS_ACCESS_KEY_ID/);
  } finally {
    await s3.stop();
  }
});

describe('a store in S3 is one clear error', () => {
  /** A server that lists nothing, and gives one answer to all that is written. */
  async function withServer(answer: { status: number; code: string }, use: (location: string) => Promise<void>) {
    const server = http.createServer((request, response) => {
      request.resume();
      const { status, code } = request.method === 'PUT' ? answer : { status: 200, code: '' };
      const text = status === 200 ? '<ListBucketResult/>' : `<Error><Code>${code}</Code></Error>`;
      response.writeHead(request.method === 'HEAD' ? 404 : status, { 'content-type': 'application/xml' }).end(text);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as net.AddressInfo;
    process.env.AWS_ACCESS_KEY_ID = 'some-key';
    process.env.AWS_SECRET_ACCESS_KEY = 'hidden';
    try {
      await use(`s3://blobs/test?endpoint=http://127.0.0.1:${port}`);
    } finally {
      server.closeAllConnections();
      server.close();
    }
  }

  test.each([
    ['that is full', { status: 507, code: 'QuotaExceeded' }, /the store is full: 'slimsam store gc' frees some$/],
    [
      'for a clock that is wrong by hours',
      { status: 403, code: 'RequestTimeTooSkewed' },
      /; set this machine's clock$/,
    ],
    ['that refuses', { status: 403, code: 'AccessDenied' }, /; see to AWS_ACCESS_KEY_ID/],
  ])('%s', (_, answer, message) =>
    withServer(answer, async (location) => {
      const store = await openStore(location);
      const error: Error = await putBlob(store, 'bytes').then(
        () => expect.unreachable('it was written'),
        (reason: unknown) => reason as Error,
      );
      expect(error.message).toMatch(/^store: expected s3:\/\/blobs\/test at http:.* to keep 'blobs\//);
      expect(error.message).toMatch(message);
      expect(error.message).not.toMatch(/hidden|some-key/);
    }),
  );

  test('that is out of reach, or no address', async () => {
    let gone = '';
    await withServer({ status: 200, code: '' }, async (location) => {
      gone = location;
    });
    await expect(openStore(gone)).rejects.toThrow(
      /^(?!.*hidden)store: expected s3:\/\/blobs\/test at http:.* to be reached, got .*ECONNREFUSED/,
    );
    await expect(openStore('s3://blobs?endpoint=http://me:hidden@nowhere')).rejects.toThrow(
      /^(?!.*hidden)--store: expected s3:\/\/BUCKET/,
    );
  });
});
