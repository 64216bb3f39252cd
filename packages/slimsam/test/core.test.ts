import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { expect, test } from 'vitest';

const folder = fileURLToPath(new URL('..', import.meta.url));

test('the core has no Node module of its own', async () => {
  const { metafile } = await build({
    entryPoints: ['src/index.ts'],
    absWorkingDir: folder,
    bundle: true,
    write: false,
    metafile: true,
    platform: 'browser',
    format: 'esm',
    packages: 'external',
  });
  const inputs = Object.entries(metafile.inputs);
  expect(inputs.length).toBeGreaterThan(2);
  const node = inputs.flatMap(([file, { imports }]) =>
    imports.filter(({ path }) => path.startsWith('node:') || path === 'sharp').map(({ path }) => `${file}: ${path}`),
  );
  expect(node).toEqual([]);
});
