import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, expect, test } from 'vitest';
import type { GpuReport } from '../bench/gpu/rows.ts';

const run = promisify(execFile);
const root = fileURLToPath(new URL('..', import.meta.url));
const folder = mkdtempSync(path.join(tmpdir(), 'bench-gpu-test-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const bench = ['--conditions=@slimsam/source', '--import', 'tsx', 'bench/gpu.ts'];

/** What finds the adapter, and the driver's cache of compiled shaders; no PATH. */
function bareEnvironment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => /^(HOME|XDG_\w+|VK_\w+)$/.test(name));
  return { ...Object.fromEntries(kept), MESA_SHADER_CACHE_DISABLE: 'false' };
}

test('a pack runs without Node, npm or PATH, and measures a bit of everything', { timeout: 600_000 }, async () => {
  const packing = run(process.execPath, [...bench, '--pack', path.join(folder, 'pack.tar')], { cwd: root });
  if (process.platform !== 'linux') {
    await expect(packing).rejects.toThrow('expected --pack on Linux');
    return;
  }
  expect((await packing).stdout).toMatch('pack.tar && ./bench-gpu/run --json gpu.json');
  await run('tar', ['xf', 'pack.tar'], { cwd: folder });
  const json = path.join(folder, 'gpu.json');
  const cases = 'encode$|step|call: add|column sums 64x16$|matmul';
  const program = path.join(folder, 'bench-gpu/run');
  const { stdout } = await run(program, ['--small', '--filter', cases, '--json', json], {
    ...{ cwd: folder, env: bareEnvironment() },
  });
  const { rows, ceiling, small, commit, adapter }: GpuReport = JSON.parse(readFileSync(json, 'utf8'));
  expect(stdout).toMatch(/0 failed\n$/);
  expect(stdout).toContain(adapter.name);
  expect({ small, commit }).toEqual({ small: true, commit: expect.stringMatching(/^[0-9a-f]{7,}$|^unknown$/) });
  expect(ceiling.flopsPerSecond).toBeGreaterThan(0);
  const names = rows.map((row) => row.case);
  expect(names).toContain('tiny SAM encode');
  expect(names).toContain('SlimSAM-50 step of stage 1, batch 1');
  expect(names).toContain('matmul 48x40x36, with gradients');
  expect(names).toContain('matmul 48x40x36, half precision');
  expect(names).toContain('column sums 64x16');
  for (const row of rows) {
    expect(stdout).toContain(row.case);
    expect(row.failed).toBeUndefined();
    if (row.leftOut !== undefined) continue; // half precision, without shader-f16
    expect(row.ms).toBeGreaterThan(0);
    if (row.case.startsWith('a call')) continue;
    expect(row.kernels!.length).toBeGreaterThan(0);
    expect(row.kernels!.every(({ calls }) => calls > 0)).toBe(true);
  }
  expect(rows.find((row) => row.case === 'matmul 48x40x36')!.error).toBeLessThan(1e-5);
});
