/**
 * Kills one run of `slimsam compress` by SIGKILL at a random moment of each part of it, its third stage too, and gives the same command again
 * each time; says whether weights and plan are bit for bit those of a run that was not killed, and what else is in the folder. The sources
 * must not change meanwhile.
 *
 *     node --conditions=@slimsam/source --import tsx packages/slimsam/bench/kills.ts [--kills 10] [--seed 1]
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { generateScenes } from '@slimsam/scenes';
import { uniformFloat64 } from 'pure-rand/distribution/uniformFloat64';
import { xoroshiro128plus } from 'pure-rand/generator/xoroshiro128plus';

const { values } = parseArgs({
  options: { kills: { type: 'string', default: '10' }, seed: { type: 'string', default: '1' } },
});
const kills = Number(values.kills);
const random = xoroshiro128plus(Number(values.seed));
const work = mkdtempSync(path.join(tmpdir(), 'slimsam-kills-'));
const file = (relative: string) => fileURLToPath(new URL(relative, import.meta.url));
const line = [
  ...['--conditions=@slimsam/source', '--import', 'tsx', file('../src/cli/main.ts')],
  ...['compress', file('../../../examples/teacher/'), '--images', path.join(work, 'photographs')],
  ...['--epochs', '1', '--prompt-epochs', '3', '--sample', '2', '--held', '2', '--save', '0.01'],
];
const metricsOf = (run: string): string[] => {
  const metrics = path.join(run, 'metrics.jsonl');
  return existsSync(metrics) ? readFileSync(metrics, 'utf8').trim().split('\n') : [];
};

/** Runs the command, up to a line of the metrics if one is given, and a moment longer. @returns whether it came to its end */
async function compressIn(run: string, until = Number.POSITIVE_INFINITY): Promise<boolean> {
  const child = spawn(process.execPath, [...line, '--run', run], { stdio: ['ignore', 'ignore', 'pipe'] });
  let errors = '';
  child.stderr.on('data', (text) => (errors += text));
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  let over = false;
  void ended.then(() => (over = true));
  while (!over && metricsOf(run).length < until) await sleep(20);
  if (!over) {
    await sleep(1000 * uniformFloat64(random));
    child.kill('SIGKILL');
  }
  const code = await ended;
  if (code !== 0 && code !== null) throw new Error(errors);
  return code === 0;
}

try {
  await generateScenes({ folder: path.join(work, 'photographs'), count: 14, seed: 1, size: 128 });
  const [whole, broken] = [path.join(work, 'whole'), path.join(work, 'broken')];
  await compressIn(whole);
  const lines = metricsOf(whole).length;
  const rows: object[] = [];
  for (let kill = 0; kill < kills; kill++) {
    const ended = await compressIn(broken, Math.ceil(((kill + uniformFloat64(random)) * lines) / kills));
    const last = JSON.parse(metricsOf(broken).at(-1) ?? '{}');
    rows.push({ kill: ended ? 'it had ended' : 'SIGKILL', in: last.name, epoch: last.epoch, event: last.type });
    console.log(JSON.stringify(rows.at(-1)));
    if (ended) break;
  }
  await compressIn(broken);
  console.table(rows);
  const names = readdirSync(whole).sort();
  const stray = readdirSync(broken).filter((name) => !names.includes(name));
  const same = (name: string) => readFileSync(path.join(whole, name)).equals(readFileSync(path.join(broken, name)));
  const exact = names.filter((name) => /\.(safetensors|plan\.json)$/.test(name));
  console.log('files of weights and plans:', exact.join(', '));
  console.log('that differ:', exact.filter((name) => !same(name)).join(', ') || 'none');
  console.log('stray files:', stray.join(', ') || 'none');
  if (stray.length > 0 || exact.length === 0 || !exact.every(same)) process.exitCode = 1;
} finally {
  rmSync(work, { recursive: true, force: true });
}
