import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { builtinModules } from 'node:module';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { build } from 'esbuild';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { fixturePath } from './support.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(import.meta.dirname, 'bundle-'));
});
afterAll(() => rm(folder, { recursive: true }));

/** Bundles for a browser as a user's bundler would, and gives the names of the modules within. */
async function bundle(code: string, file: string): Promise<string[]> {
  const { metafile } = await build({
    stdin: { contents: code, resolveDir: import.meta.dirname },
    outfile: join(folder, file),
    bundle: true,
    platform: 'browser',
    format: 'esm',
    conditions: ['@slimsam/source'],
    metafile: true,
    logLevel: 'silent', // errors are thrown
  });
  expect(Object.values(metafile.outputs).flatMap(({ imports }) => imports)).toEqual([]);
  return Object.keys(metafile.inputs);
}

it.each(['@slimsam/vit', '@slimsam/weights'])(
  '%s bundles for browsers without Node, sharp and the Hub',
  async (name) => {
    const modules = await bundle(`export * from '${name}';`, 'all.js');
    const real = modules.filter((path) => !path.startsWith('(disabled):')); // those are empty
    expect(real.filter((path) => /node_modules\/(sharp|@img|@huggingface|webgpu)\//.test(path))).toEqual([]);
    expect(real.filter((path) => path.startsWith('node:') || builtinModules.includes(path))).toEqual([]);
    expect(real.some((path) => path.endsWith('weights/src/sources/http-source.ts'))).toBe(true);
  },
);

it('the bundle loads a SAM from a server where there is no Node, with progress, writes it as ONNX, and says what it cannot', async () => {
  const code = `
    import '@tensorflow/tfjs-backend-cpu';
    export { loadSam } from '@slimsam/vit';
    export { exportOnnx } from '@slimsam/vit/onnx';
  `;
  await bundle(code, 'load.js');
  // the browser's part: nothing of Node's, a page with an address, a folder of its files
  const page = `
    const { argv, stdout } = process;
    Object.assign(globalThis, { location: { href: argv[2] }, window: globalThis, document: {} });
    delete globalThis.process;
    const { exportOnnx, loadSam } = await import('./load.js');
    const seen = [];
    const { weights, config } = await loadSam('model.safetensors', { onProgress: (progress) => seen.push(progress) });
    const { loaded, total } = seen.at(-1);
    delete globalThis.Buffer; // Node's fetch takes it as it is first called
    const files = {};
    const createWritable = (name) => ({
      write: async (part) => void (files[name] = (files[name] ?? 0) + part.length),
      close: async () => {},
      abort: async () => {},
    });
    const getFileHandle = async (name) => ({ name, createWritable: async () => createWritable(name) });
    const folder = { name: 'onnx', getFileHandle, getDirectoryHandle: async () => folder };
    const names = await exportOnnx(folder, { weights, config });
    const message = await loadSam({ hub: 'owner/name' }).catch((error) => error.message);
    stdout.write(JSON.stringify({ count: Object.keys(weights).length, size: config.imageSize, loaded, total, names, files, message }));
  `;
  await writeFile(join(folder, 'page.mjs'), page);
  const bytes = await readFile(fixturePath('sam-tiny/model.safetensors'));
  const server = createServer(({ url }, response) => {
    response.writeHead(url === '/models/model.safetensors' ? 200 : 404, { 'content-length': bytes.length }).end(bytes);
  }).listen(0, '127.0.0.1');
  try {
    await new Promise((resolve) => server.once('listening', resolve));
    const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}/models/index.html`;
    const { stdout } = await promisify(execFile)(process.execPath, ['page.mjs', address], { cwd: folder });
    const { files, ...told } = JSON.parse(stdout);
    expect(files['encoder.onnx'] + files['decoder.onnx']).toBeGreaterThan(0.9 * bytes.length); // all weights
    expect(told).toEqual({
      ...{ count: 202, size: 128, loaded: bytes.length, total: bytes.length, names: ['encoder.onnx', 'decoder.onnx'] },
      message: "openTensors: expected an address in a browser, got the Hub id 'owner/name'",
    });
  } finally {
    server.close();
  }
});
