import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const run = fileURLToPath(new URL('../conformance/run.ts', import.meta.url));
// a part of TensorFlow.js's suite; `npm run conformance` runs all of it
const groups = ['softmax', 'depthwiseConv2d', 'gather', 'pad4d', 'transpose', 'sum slimsam', 'complex64'];

test('a part of the conformance suite passes, in a process that ends by itself', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'conformance-'));
  try {
    const json = path.join(folder, 'result.json');
    const filters = groups.flatMap((group) => ['--filter', group]);
    const node = ['--conditions=@slimsam/source', '--import', 'tsx', run, '--json', json, ...filters];
    await promisify(execFile)(process.execPath, node, { timeout: 100_000 });
    const { passed, failed, failures } = JSON.parse(await readFile(json, 'utf8'));
    expect(failures).toEqual([]);
    expect(failed).toBe(0);
    expect(passed).toBeGreaterThan(200);
  } finally {
    await rm(folder, { recursive: true });
  }
});
