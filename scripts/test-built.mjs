/**
 * Tests the packages as users get them: packs each, unpacks the tarballs into a project outside of the repository, looks
 * into them, and runs scripts/built/*.mjs there with plain Node. Third-party dependencies are links to the repository's.
 *
 *     node scripts/test-built.mjs [report.json]
 */
import { spawn } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { gunzipSync } from 'node:zlib';
import { packAll } from './pack.mjs';
import { root } from './setup/paths.mjs';
import { tarFiles } from './setup/swiftshader.mjs';

/** What a tarball may hold. */
const publicFile =
  /^(package[.]json|(README|KERNELS)[.]md|LICENSE|(dist|generated)\/.+(?<![.](test|spec))[.](js([.]map)?|d[.]ts))$/;

/**
 * @param {string} program a name in node_modules/.bin, or a path
 * @param {readonly string[]} parameters
 * @param {string} cwd
 * @returns {Promise<{ code: number | null; output: string }>}
 */
function run(program, parameters, cwd) {
  return new Promise((resolve, reject) => {
    const binary = path.join(root, 'node_modules/.bin', program);
    const child = spawn(existsSync(binary) ? binary : program, parameters, {
      cwd,
      stdio: ['ignore', 'pipe', 'pipe'],
      shell: process.platform === 'win32' && program !== process.execPath,
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (bytes) => (output += bytes));
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, output }));
  });
}

/** Throws with the program's output unless it succeeds. @type {(...parameters: Parameters<typeof run>) => Promise<string>} */
async function succeed(...parameters) {
  const { code, output } = await run(...parameters);
  if (code !== 0) throw new Error(`${parameters[0]} ended with exit code ${code}\n${output}`);
  return output;
}

/** Packs and unpacks all packages. @param {string} project @returns {Promise<Map<string, { tarball: string; files: string[] }>>} */
async function install(project) {
  const modules = path.join(project, 'node_modules');
  const packed = new Map();
  for (const { folder: name, manifest, tarball } of packAll(project)) {
    const files = [];
    for (const file of tarFiles(gunzipSync(readFileSync(tarball)))) {
      const relative = file.name.replace(/^package\//, '');
      const target = path.join(modules, manifest.name, relative);
      mkdirSync(path.dirname(target), { recursive: true });
      writeFileSync(target, file.bytes);
      files.push(relative);
    }
    packed.set(name, { tarball, files });
    for (const dependency of Object.keys({ ...manifest.dependencies, ...manifest.peerDependencies })) {
      const link = path.join(modules, dependency);
      if (/^(@slimsam\/.*|slimsam)$/.test(dependency) || existsSync(link)) continue;
      mkdirSync(path.dirname(link), { recursive: true });
      symlinkSync(path.join(root, 'node_modules', dependency), link, 'junction');
    }
  }
  return packed;
}

let passed = 0;
let failed = 0;

/** @param {string} title @param {() => unknown} body */
async function check(title, body) {
  const start = performance.now();
  try {
    await body();
    passed++;
    console.log(`  ✓ ${title} (${((performance.now() - start) / 1000).toFixed(1)} s)`);
  } catch (error) {
    failed++;
    console.log(`  ✗ ${title}\n${error instanceof Error ? error.message : error}`);
  }
}

const project = mkdtempSync(path.join(tmpdir(), 'slimsam-built-'));
try {
  writeFileSync(path.join(project, 'package.json'), '{ "name": "user", "private": true, "type": "module" }\n');
  const packed = await install(project);
  const scripts = readdirSync(path.join(root, 'scripts/built'));
  for (const script of scripts) cpSync(path.join(root, 'scripts/built', script), path.join(project, script));

  for (const [name, { files, tarball }] of packed) {
    await check(`${name}: only public files in the tarball, the licence and the README among them`, () => {
      const others = files.filter((file) => !publicFile.test(file));
      const missing = ['LICENSE', 'README.md', 'package.json'].filter((file) => !files.includes(file));
      if (others.length > 0)
        throw new Error(`    expected dist, generated, READMEs, LICENSE, got also ${others.join(', ')}`);
      if (missing.length > 0) throw new Error(`    expected ${missing.join(', ')}, got none`);
    });
    await Promise.all([
      check(`${name}: publint`, () => succeed('publint', ['run', tarball, '--strict'], project)),
      check(`${name}: are the types wrong`, () => succeed('attw', ['--profile', 'esm-only', tarball], project)),
    ]);
    await check(`${name}: has a script in scripts/built`, () => {
      if (!scripts.includes(`${name}.mjs`)) throw new Error(`    expected scripts/built/${name}.mjs, got none`);
    });
  }
  await check('types as a user’s compiler sees them, our declarations included', async () => {
    symlinkSync(path.join(root, 'node_modules/@types'), path.join(project, 'node_modules/@types'), 'junction');
    const options = ['--noEmit', '--allowJs', '--checkJs', '--strict', '--module', 'nodenext', '--target', 'es2023'];
    const { code, output } = await run('tsc', [...options, '--types', 'node', ...scripts], project);
    const others = /^([.][.]|node_modules.@slimsam.tensor-webgpu.generated)/; // third-party declarations, generated JavaScript
    const errors = output.split('\n').filter((line) => line.includes('error TS') && !others.test(line));
    if (errors.length > 0 || code === null) throw new Error(errors.join('\n'));
  });
  for (const script of scripts) {
    await check(`${script} in plain Node, which ends by itself`, () =>
      succeed(process.execPath, ['--test', '--test-timeout=120000', '--test-reporter=spec', script], project),
    );
  }
} finally {
  rmSync(project, { recursive: true, force: true });
}
console.log(`${passed} passed, ${failed} failed`);
const report = process.argv[2];
if (report) writeFileSync(report, JSON.stringify({ numPassedTests: passed, numFailedTests: failed }));
process.exitCode = failed > 0 ? 1 : 0;
