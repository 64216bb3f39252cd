/**
 * Installs the packages' tarballs with npm into empty folders and runs them on every runtime and through every bundler, outside of
 * `npm test`: it takes minutes and needs npm's registry. Tools are kept in .cache/runtimes. Prints a table.
 *
 *     npm run test:runtimes [-- NAME…]        rows whose name has one of the words
 */
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { transformSync } from 'esbuild';
import { packAll } from './pack.mjs';
import { readmeSnippets } from './readme-snippets.mjs';
import { bundle, bundlerNames, sizeOf } from './runtimes/bundle.mjs';
import { withPage } from './runtimes/page.mjs';
import { succeed, tool } from './runtimes/tools.mjs';
import { root } from './setup/paths.mjs';

const wanted = process.argv.slice(2);
/** @type {{ name: string; what: string; result: string }[]} */
const rows = [];

/** @param {string} name @param {string} what @param {() => Promise<string>} body its result, for the table */
async function row(name, what, body) {
  if (wanted.length > 0 && !wanted.some((word) => `${name} ${what}`.includes(word))) return;
  const start = performance.now();
  try {
    const result = await body();
    rows.push({ name, what, result: result || 'passed' });
  } catch (error) {
    rows.push({ name, what, result: 'FAILED' });
    process.exitCode = 1;
    console.log(error instanceof Error ? error.message : error);
  }
  const { result } = rows[rows.length - 1] ?? { result: '' };
  console.log(`${name}, ${what}: ${result} (${((performance.now() - start) / 1000).toFixed(0)} s)`);
}

const home = mkdtempSync(path.join(tmpdir(), 'slimsam-runtimes-'));
const programs = path.join(root, 'scripts/runtimes/programs');
const built = readdirSync(path.join(root, 'scripts/built'));

/**
 * An empty folder with some of the packages.
 *
 * @param {string} name
 * @param {readonly string[]} packages
 * @param {object} [manifest] more of its package.json
 * @returns {Promise<string>}
 */
async function install(name, packages, manifest = {}) {
  const project = path.join(home, name);
  mkdirSync(project);
  const all = { name: 'user', private: true, type: 'module', ...manifest };
  writeFileSync(path.join(project, 'package.json'), `${JSON.stringify(all)}\n`);
  await succeed('npm', ['install', '--no-audit', '--no-fund', '--loglevel=error', ...packages], {
    cwd: project,
    seconds: 600,
    env: { ...process.env, ONNXRUNTIME_NODE_INSTALL: 'skip' }, // its provider for CUDA, hundreds of megabytes that no row uses
  });
  return project;
}

try {
  await succeed('npx', ['tsc', '-b'], { cwd: root });
  const packed = packAll(home);
  const tarballs = packed.map(({ tarball }) => tarball);
  const only = (/** @type {string[]} */ ...names) =>
    packed.filter(({ folder }) => names.includes(folder)).map(({ tarball }) => tarball);
  const core = '@tensorflow/tfjs-core@4.22.0';
  const all = await install('all', [...tarballs, core, '@tensorflow/tfjs-backend-cpu@4.22.0']);
  for (const script of built) cpSync(path.join(root, 'scripts/built', script), path.join(all, script));
  for (const name of ['require.cjs', 'train.mjs']) cpSync(path.join(programs, name), path.join(all, name));

  /** What a README's install lines install, where the registry had these packages. @param {string} readme @param {readonly string[]} names */
  const installAsRead = (readme, names) => {
    const files = Object.fromEntries(packed.map(({ manifest, tarball }) => [manifest.name, `file:${tarball}`]));
    const dependencies = Object.fromEntries(names.map((name) => [name, files[name] ?? '*']));
    return install(`readme-${readme}`, [], { dependencies, overrides: files });
  };
  /** What slimsam's snippets read: a SAM and photographs of the user's own. @param {string} project */
  const makeFiles = async (project) => {
    if (!existsSync(path.join(files, 'sam.safetensors'))) {
      mkdirSync(files);
      writeFileSync(
        path.join(all, 'files.mjs'),
        `import '@tensorflow/tfjs-backend-cpu';
import { generateScenes } from '@slimsam/scenes';
import { initSam, samPresets, saveSam } from '@slimsam/vit';
const { config, sizes } = samPresets.tiny;
process.chdir(${JSON.stringify(files)});
await saveSam('sam.safetensors', { config, weights: initSam(config, sizes, { seed: 1 }) });
await generateScenes({ folder: 'photographs', count: 8, seed: 1, size: 64 });
await generateScenes({ folder: 'labelled', count: 2, seed: 2, size: 64 });
`,
      );
      await succeed(process.execPath, ['files.mjs'], { cwd: all });
    }
    cpSync(files, project, { recursive: true });
  };
  const files = path.join(home, 'files');

  for (const version of /** @type {const} */ (['node20', 'node22', 'node24'])) {
    const label = version.replace('node', 'Node ');
    const node = () => path.join(readOnly(tool(version)), process.platform === 'win32' ? 'bin/node.exe' : 'bin/node');
    await row(label, 'import of every package', async () => {
      const output = await succeed(node(), ['--test', '--test-timeout=240000', ...built], { cwd: all, seconds: 600 });
      return `${/^\D*pass (\d+)$/m.exec(output)?.[1]} tests`;
    });
    await row(label, 'require of every package', () => succeed(node(), ['require.cjs'], { cwd: all }).then(() => ''));
  }
  const snippets = readmeSnippets();
  for (const readme of new Set(snippets.map((snippet) => snippet.readme))) {
    await row('Node 20', `README of ${readme}: its install lines and snippets`, async () => {
      const own = snippets.filter((snippet) => snippet.readme === readme);
      const project = readme === 'root' ? all : await installAsRead(readme, own[0]?.installs ?? []);
      await makeFiles(project);
      for (const { name, text } of own) {
        const { code } = transformSync(text, { loader: 'ts', format: 'esm', target: 'es2022' });
        writeFileSync(path.join(project, `${name}.mjs`), code);
        await succeed(process.execPath, [`${name}.mjs`], { cwd: project });
      }
      return `${own.length} ran`;
    });
  }
  const bun = () => path.join(tool('bun'), '@oven', readdirSync(path.join(tool('bun'), '@oven'))[0] ?? '', 'bin/bun');
  await row('Bun', 'import of tensor-webgpu, require of every package', async () => {
    await succeed(bun(), ['run', 'train.mjs'], { cwd: all });
    await succeed(bun(), ['run', 'require.cjs'], { cwd: all });
    return '';
  });

  const alone = await install('tensor-webgpu', [...only('tensor-webgpu'), core]);
  cpSync(path.join(programs, 'train.mjs'), path.join(alone, 'train.mjs'));
  await row('Deno', 'tensor-webgpu on its own WebGPU', async () => {
    const output = await succeed(
      path.join(tool('deno'), '.bin/deno'),
      ['run', '-A', '--unstable-webgpu', 'train.mjs'],
      { cwd: alone },
    );
    return output.trim().split('\n').at(-1) ?? '';
  });

  const app = await install('app', [...only('weights', 'tensor-webgpu', 'vit', 'eval'), core]);
  for (const name of ['app.js', 'index.html']) cpSync(path.join(programs, name), path.join(app, name));
  const data = path.join(home, 'data');
  mkdirSync(data);
  writeFileSync(
    path.join(app, 'data.mjs'),
    `import { useWebgpu } from '@slimsam/tensor-webgpu';
import { createPredictor, decodeImage, initSam, samPresets, saveSam } from '@slimsam/vit';
import { exportOnnx } from '@slimsam/vit/onnx';
import sharp from 'sharp';
const backend = await useWebgpu();
const { config, sizes } = samPresets.tiny;
const weights = initSam(config, sizes, { seed: 1 });
await saveSam(${JSON.stringify(path.join(data, 'sam.safetensors'))}, { weights, config });
await exportOnnx(${JSON.stringify(data)}, { weights, config });
const pixels = new Uint8Array(40 * 24 * 3).map((_, i) => (i * 7) % 256);
const photo = ${JSON.stringify(path.join(data, 'photo.png'))};
await sharp(pixels, { raw: { width: 40, height: 24, channels: 3 } }).png().toFile(photo);
const predictor = createPredictor(weights, config);
const { scores } = await predictor.predict(predictor.embed(await decodeImage(photo)), { points: [[20, 12]] });
console.log(JSON.stringify(scores[0]));
backend.dispose();
`,
  );
  const expected = JSON.parse(
    (await succeed(process.execPath, ['data.mjs'], { cwd: app })).trim().split('\n').at(-1) ?? '',
  );
  const near = (/** @type {number[]} */ scores) => {
    if (scores?.length === 3 && scores.every((score, i) => Math.abs(score - expected[i]) < 1e-3)) return;
    throw new Error(`expected scores ${expected} as in Node, got ${scores}`);
  };

  /** A folder with another app.js, beside the packages of `app`. @param {string} name of its program */
  const projectOf = (name) => {
    const project = path.join(app, name);
    mkdirSync(project);
    cpSync(path.join(programs, `${name}.js`), path.join(project, 'app.js'));
    cpSync(path.join(programs, 'index.html'), path.join(project, 'index.html'));
    return project;
  };

  for (const name of bundlerNames) {
    await row(name, 'a page of ten lines in Chromium', async () => {
      const out = await bundle(name, app);
      const told = await withPage([out, data], async (page, served) => {
        await page.waitForFunction(() => document.title.startsWith('{'), undefined, { timeout: 240_000 });
        return { ...JSON.parse(await page.title()), size: sizeOf(served) };
      });
      if (told.error) throw new Error(told.error);
      near(told.scores);
      return `fetches ${told.size}`;
    });
  }

  await row('webpack', 'masks and COCO of eval in Chromium', async () => {
    const out = await bundle('webpack', projectOf('masks'));
    return withPage([out], async (page, served) => {
      await page.waitForFunction(() => document.title.startsWith('{'), undefined, { timeout: 240_000 });
      const { error, area, ap, refused } = JSON.parse(await page.title());
      if (error) throw new Error(error);
      if (area !== 6 || !(Math.abs(ap - 1) < 1e-9) || !/expected Node/.test(refused))
        throw new Error(`expected an area of 6, an AP of 1 and an error of a reader, got ${area}, ${ap}, ${refused}`);
      return `fetches ${sizeOf(served)}`;
    });
  });

  await row('onnxruntime-web 1.30', 'beside tensor-webgpu on one device, in Chromium', async () => {
    const out = await bundle('esbuild', projectOf('shared-device'));
    return withPage([out, data, path.join(tool('onnxruntime'), 'onnxruntime-web/dist')], async (page) => {
      await page.waitForFunction(() => document.title.startsWith('{'), undefined, { timeout: 240_000 });
      const { error, largest, open } = JSON.parse(await page.title());
      if (error) throw new Error(error);
      if (!(largest < 1e-4) || !open) throw new Error(`embeddings differ by ${largest}, the device is open: ${open}`);
      return `embeddings within ${largest.toExponential(0)}`;
    });
  });

  await row('vite', 'examples/browser: a worker in Chromium', async () => {
    const page = await install('worker', [...only('weights', 'tensor-webgpu', 'vit'), core]);
    cpSync(path.join(root, 'examples/browser'), page, { recursive: true });
    const out = path.join(page, 'dist');
    const options = ['build', '--target', 'es2022', '--logLevel', 'warn', '--config', 'vite.config.js'];
    writeFileSync(path.join(page, 'vite.config.js'), "export default { worker: { format: 'es' } };\n");
    await succeed(path.join(tool('vite'), '.bin/vite'), options, { cwd: page });
    return withPage([out], async (opened) => {
      const says = (/** @type {string} */ text) =>
        opened.waitForFunction((text) => document.getElementById('status')?.textContent?.startsWith(text), text, {
          timeout: 240_000,
        });
      await opened.setInputFiles('#model', path.join(data, 'sam.safetensors'));
      await says('ready on');
      await opened.setInputFiles('#photo', path.join(data, 'photo.png'));
      await says('click on');
      await opened.click('#canvas', { position: { x: 20, y: 12 } });
      await says('score');
      const score = Number((await opened.textContent('#status'))?.split(' ')[1]);
      if (Math.abs(score - Math.max(...expected)) > 2e-3)
        throw new Error(`expected a score of ${Math.max(...expected)}, got ${score}`);
      return `score ${score}, as in Node`;
    });
  });
} finally {
  rmSync(home, { recursive: true, force: true });
}

console.log('\n| runtime | what | result |\n| --- | --- | --- |');
for (const { name, what, result } of rows) console.log(`| ${name} | ${what} | ${result} |`);

/** The one package in a folder of node_modules. @param {string} modules @returns {string} */
function readOnly(modules) {
  return path.join(modules, readdirSync(modules).find((name) => name.startsWith('node-')) ?? '');
}
