import { build } from 'esbuild';
import { expect, test } from 'vitest';

test('a bundle for browsers holds neither Node’s modules nor Dawn', async () => {
  const { metafile, outputFiles, warnings } = await build({
    stdin: {
      contents: "export { useWebgpu } from '@slimsam/tensor-webgpu'; export * from '@slimsam/tensor-webgpu/ops';",
      resolveDir: import.meta.dirname,
    },
    conditions: ['@slimsam/source'],
    platform: 'browser',
    format: 'esm',
    bundle: true,
    write: false,
    metafile: true,
    logLevel: 'silent',
  });
  expect(warnings).toEqual([]);
  const inputs = Object.entries(metafile.inputs);
  expect(inputs.filter(([name, { bytes }]) => name.includes('node_modules/webgpu/') && bytes > 0)).toEqual([]);
  const external = Object.values(metafile.outputs).flatMap(({ imports }) => imports.filter((it) => it.external));
  expect(external).toEqual([]);
  expect(outputFiles[0]!.text).toContain('navigator');
});
