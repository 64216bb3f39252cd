/**
 * An Nx plugin: the targets test, typecheck, lint and bench of each workspace, beside build, which Nx makes of its tsconfig.json.
 *
 *     npx nx test prune; npx nx affected -t test typecheck lint; npx nx bench tensor-webgpu --rounds=3
 *
 * A result is kept while its inputs are the same: the workspace's own files, and the sources of all packages that these import.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

const always = [
  '{workspaceRoot}/{package-lock,tsconfig.base,tsconfig.check,biome}.json',
  '{workspaceRoot}/vitest*.config.ts',
  '{workspaceRoot}/scripts/**/*.mjs',
  { env: 'SLIMSAM_ADAPTER' },
  { runtime: 'node --version' },
];

/** The bench of a package; others are scripts of package.json. @type {Readonly<Record<string, string>>} */
const benches = { 'tensor-webgpu': 'kernels', vit: 'load-sam', prune: 'criteria', slimsam: 'photographs' };

/** Folders of the packages that files import, and of those that these import. @param {string} root @param {readonly string[]} folders */
function reached(root, folders) {
  /** @type {Set<string>} */
  const found = new Set();
  const queue = [...folders];
  for (let next = queue.pop(); next; next = queue.pop()) {
    for (const file of sourcesIn(path.join(root, next))) {
      const text = readFileSync(file, 'utf8');
      for (const [, scoped, plain, neighbour] of text.matchAll(imports)) {
        const folder = `packages/${scoped ?? plain ?? neighbour}`;
        if (found.has(folder) || !existsSync(path.join(root, folder, 'package.json'))) continue;
        found.add(folder);
        queue.push(`${folder}/src`);
      }
    }
  }
  return [...found].sort();
}

/** @param {string} folder @returns {string[]} */
const sourcesIn = (folder) =>
  (existsSync(folder) ? readdirSync(folder, { withFileTypes: true }) : []).flatMap((entry) => {
    const file = path.join(folder, entry.name);
    if (entry.isDirectory()) return /^(node_modules|dist|out)$/.test(entry.name) ? [] : sourcesIn(file);
    return /[.](ts|mjs)$/.test(entry.name) ? [file] : [];
  });

const imports =
  /(?:from|import[(]?)\s*['"](?:@slimsam\/([a-z-]+)|(slimsam)(?=['"/])|(?:\.\.\/)+(?:packages\/)?([a-z-]+)\/(?:src|test)\/)/g;

/** @param {string} root @param {string} folder of the workspace; `.` is the repository's own */
function targetsOf(root, folder) {
  const own = folder === '.' ? ['test', 'scripts', 'bench'] : [folder];
  const name = folder === '.' ? 'repository' : path.basename(folder);
  const filters = folder === '.' ? ["--exclude='packages/**'", "--exclude='examples/**'"] : [`${folder}/`];
  const sources = (/** @type {readonly string[]} */ places) =>
    reached(root, places).flatMap((other) => [
      `{workspaceRoot}/${other}/{src,test,generated}/**/*`,
      `{workspaceRoot}/${other}/package.json`,
    ]);
  const files = own.map((place) => `{workspaceRoot}/${place}/**/*`);
  const tested = folder.startsWith('packages/') ? [`${folder}/src`, `${folder}/test`] : own;
  const readmes = folder === '.' ? ['{workspaceRoot}/README.md', '{workspaceRoot}/packages/*/README.md'] : [];
  const report = `.cache/test/${name}.json`;
  /** @param {string} command @param {readonly string[]} inputs what it depends on beside the own files */
  const run = (command, inputs) => ({
    ...{ command, options: { cwd: '{workspaceRoot}' }, cache: true },
    inputs: [...files, ...inputs, ...always],
  });
  const setup = 'node scripts/setup.mjs --';
  const bench = benches[name];
  return {
    test: {
      ...run(
        `${setup} vitest run ${filters.join(' ')} --reporter=default --reporter=json --outputFile.json=${report}`,
        [...sources(tested), ...readmes],
      ),
      outputs: [`{workspaceRoot}/${report}`],
    },
    lint: run(`biome check --error-on-warnings ${own.join(' ')}`, []),
    ...(folder.startsWith('packages/') && { typecheck: run(`tsc -p ${folder}/tsconfig.check.json`, sources(own)) }),
    ...(bench && {
      bench: run(`${setup} node --conditions=@slimsam/source --import tsx ${folder}/bench/${bench}.ts`, sources(own)),
    }),
  };
}

export const name = 'slimsam-targets';

/** @type {import('nx/src/devkit-exports.js').CreateNodesV2} */
export const createNodesV2 = [
  '{package.json,packages/*/package.json,examples/package.json}',
  (manifests, _options, { workspaceRoot }) =>
    manifests.map((manifest) => {
      const folder = path.dirname(manifest);
      return [manifest, { projects: { [folder]: { root: folder, targets: targetsOf(workspaceRoot, folder) } } }];
    }),
];
