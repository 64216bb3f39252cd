import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import path from 'node:path';
import { loadSam } from '@slimsam/vit';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { compress, type Recipe, slimSam } from '../src/index.ts';
import { finishRun } from '../src/report/finish-run.ts';
import { differences } from '../src/run/difference.ts';
import { openRun } from '../src/run/open-run.ts';
import { readMetrics } from '../src/run/read-metrics.ts';
import { follow, scenes, tinySam, valuesOf, withWebgpu } from './tiny.ts';

withWebgpu();
const photographs = scenes(8);
const recipe = slimSam({ ratio: 0.5, epochs: 2, learningRate: 1e-3, sample: 3 });
const sam = () => tinySam(3);
let work = '';
beforeAll(() => {
  work = mkdtempSync(path.join(tmpdir(), 'slimsam-run-'));
});
afterAll(() => rmSync(work, { recursive: true, force: true }));
const at = (...names: string[]) => path.join(work, ...names);

/** Runs in a folder until so many events were told; undefined unless it came to its end before. */
async function runIn(folder: string, events: number, changes: { seed?: number; recipe?: Recipe } = {}) {
  const run = await openRun(folder);
  try {
    // checkpoints after every step: a kill may come at any of them
    const stages = compress(sam(), { photographs, recipe, batch: 4, run, saveMinutes: 1e-9, ...changes });
    return await follow(stages, events);
  } finally {
    await run.close();
  }
}

test('broken off at any moment the same run goes on, bit for bit', async () => {
  const whole = (await runIn(at('whole'), Number.POSITIVE_INFINITY))!;
  const steps = new Set<string>();
  let result: typeof whole | undefined;
  for (let tries = 0; !result; tries++) {
    result = await runIn(at('broken'), [7, 2, 9, 5][tries % 4]!);
    for (const name of readdirSync(at('broken'))) steps.add(name);
    expect(tries).toBeLessThan(30);
  }
  const [expected, got] = await Promise.all([whole, result].map(({ model }) => valuesOf(model.weights)));
  expect(got).toEqual(expected);
  expect(result.plan).toEqual(whole.plan);
  expect(result.validation).toEqual(whole.validation);
  expect([...steps]).toEqual(
    expect.arrayContaining(['training-2.safetensors', 'step-1.safetensors', 'best.safetensors']),
  );
  expect(readdirSync(at('broken')).sort()).toEqual(readdirSync(at('whole')).sort());
  const told = async (folder: string) =>
    (await readMetrics(at(folder, 'metrics.jsonl')))
      .filter((event) => event.type === 'step' || event.type === 'validation')
      .map((event) => ({ ...event, seconds: 0 }));
  expect(await told('broken')).toEqual(await told('whole')); // each step once, with the same figures

  const { weights } = await loadSam(at('whole', 'best.safetensors'));
  expect(weights['image_encoder.neck.0.weight']!.shape).toEqual([16, 8, 1, 1]);
  const finished = await finishRun(at('whole'), {
    ...{ original: sam(), result: whole, photographs },
    facts: { photographs: 8, adapter: 'a test' },
  });
  expect(existsSync(finished.model) && existsSync(finished.plan)).toBe(true);
  expect(readFileSync(finished.report, 'utf8')).toMatch(/Validation by epoch[\s\S]*<svg/);
  expect(readdirSync(at('whole')).filter((name) => name.endsWith('.png')).length).toBeGreaterThan(5);
  expect((await loadSam(finished.model)).config).toEqual(sam().config);
});

test('an aborted run ends its step and keeps it', async () => {
  const stop = new AbortController();
  const run = await openRun(at('aborted'));
  const stages = compress(sam(), { photographs, recipe, batch: 4, run, signal: stop.signal });
  const events: string[] = [];
  const followed = async () => {
    for await (const event of stages) {
      events.push(event.type === 'step' || event.type === 'checkpoint' ? `${event.type} ${event.step}` : event.type);
      if (event.type === 'step') stop.abort(new Error('enough'));
    }
  };
  await expect(followed()).rejects.toThrow('enough');
  await run.close();
  expect(events.slice(-2)).toEqual(['step 1', 'checkpoint 1']);
  const result = (await runIn(at('aborted'), Number.POSITIVE_INFINITY))!;
  const whole = await loadSam(at('whole', 'slim.safetensors'));
  expect(await valuesOf(result.model.weights)).toEqual(await valuesOf(whole.weights));
});

test('a finished run gives its result again, and another one is refused with the difference', async () => {
  const again = await runIn(at('whole'), Number.POSITIVE_INFINITY);
  expect(again!.plan.keep.embed).toHaveLength(8);
  await expect(runIn(at('whole'), 1, { seed: 2 })).rejects.toThrow(
    /expected the run of .*run[.]json', got another: seed: 1 there, 2 now; repeat its options, or take another folder/,
  );
  const longer = slimSam({ ratio: 0.25, epochs: 2, learningRate: 1e-3, sample: 3 });
  await expect(runIn(at('whole'), 1, { recipe: longer })).rejects.toThrow('recipe.steps.0.ratio: 0.5 there, 0.25 now');
  const run = await openRun(at('whole'));
  const other = compress(tinySam(4), { photographs, recipe, batch: 4, run });
  await expect(other.next()).rejects.toThrow(/model.weights: "[0-9a-f]+… there, "[0-9a-f]+… now/);
  await run.close();
});

describe('the folder', () => {
  test('belongs to one process, which the error names', async () => {
    const run = await openRun(at('locked'));
    await expect(openRun(at('locked'))).rejects.toThrow(
      new RegExp(`got the lock run.lock of process ${process.pid} on ${hostname()} since .*; wait for it`),
    );
    await run.close();
    await (await openRun(at('locked'))).close();
    expect(readdirSync(at('locked'))).toEqual([]);
  });

  test('is taken over from a process that is gone, with what it left', async () => {
    const child = spawn(process.execPath, ['-e', '']);
    const gone = child.pid!;
    await new Promise((resolve) => child.once('close', resolve));
    const left = { host: hostname(), pid: gone, began: '1', since: 'yesterday' };
    await (await openRun(at('left'))).close();
    writeFileSync(at('left', 'run.lock'), JSON.stringify(left));
    writeFileSync(at('left', `.step-1.safetensors.00000000-${gone}-abc.tmp`), 'half');
    await (await openRun(at('left'))).close();
    writeFileSync(at('left', 'run.lock'), '{"host": "torn');
    await (await openRun(at('left'))).close();
    // the number of a process that began at another time was given to another one
    writeFileSync(at('left', 'run.lock'), JSON.stringify({ ...left, pid: process.ppid }));
    await (await openRun(at('left'))).close();
    expect(readdirSync(at('left'))).toEqual([]);
    writeFileSync(at('left', 'run.lock'), JSON.stringify({ ...left, host: 'another' }));
    await expect(openRun(at('left'))).rejects.toThrow(/process \d+ on another since yesterday/);
  });

  test('with a foreign run.json is refused', async () => {
    await (await openRun(at('foreign'))).close();
    writeFileSync(at('foreign', 'run.json'), '{}');
    await expect(runIn(at('foreign'), 1)).rejects.toThrow(/expected '.*run.json' of a run, got another file/);
  });

  test.runIf(existsSync('/dev/full'))(
    'on a full disk is one clear error, and the run goes on when there is room',
    async () => {
      const run = await openRun(at('full'));
      const stages = compress(sam(), { photographs, recipe, batch: 4, run });
      await stages.next();
      rmSync(at('full', 'metrics.jsonl'));
      symlinkSync('/dev/full', at('full', 'metrics.jsonl'));
      const rest = async () => {
        for await (const _ of stages);
      };
      await expect(rest()).rejects.toThrow(/metrics.jsonl', got a full disk \(ENOSPC\); free some space/);
      await run.close();
      rmSync(at('full', 'metrics.jsonl'));
      await runIn(at('full'), 5);
      expect(await readMetrics(at('full', 'metrics.jsonl'))).not.toEqual([]);
    },
  );
});

test('differences are named by their paths', () => {
  expect(differences({ a: { b: [1, 2] }, c: 1 }, { a: { b: [1, 3] }, d: 'x' })).toEqual([
    'a.b.1: 2 there, 3 now',
    'c: 1 there, nothing now',
    'd: nothing there, "x" now',
  ]);
  const many = Object.fromEntries(Array.from({ length: 9 }, (_, i) => [`k${i}`, i]));
  expect(differences(many, {})).toHaveLength(6);
});
