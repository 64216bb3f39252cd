import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test from 'node:test';
import { openQueue } from '@slimsam/queue';
import { jobHead, localRunner, openStore, parseJob, resultsInOrder } from 'slimsam/jobs';

test('queue: a broker that is out of reach is one clear error, without the password', async () => {
  await assert.rejects(openQueue('redis://me:hidden@127.0.0.1:1'), (/** @type {Error} */ { message }) => {
    assert.match(message, /^--queue: expected a broker at 'redis:\/\/127.0.0.1:1', got .*ECONNREFUSED/);
    assert.doesNotMatch(message, /hidden/);
    return true;
  });
});

test('queue: jobs run in child processes of the package, and S3 is opened by it', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'slimsam-built-'));
  const runner = localRunner({ store: folder, backend: 'cpu' });
  try {
    const job = parseJob({ ...jobHead({ part: 1, parts: 1 }), kind: 'sleep', milliseconds: 1 });
    const [result] = await resultsInOrder([job], { runner, store: await openStore(folder) });
    assert.match(result?.adapter ?? '', /^tfjs-backend-cpu/);
    await assert.rejects(openStore('s3://bucket/prefix'), /expected AWS_ACCESS_KEY_ID/);
  } finally {
    await runner.close();
    await rm(folder, { recursive: true });
  }
});
