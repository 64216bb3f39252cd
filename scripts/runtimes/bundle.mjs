import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { succeed, tool } from './tools.mjs';

/**
 * Bundles app.js, ten lines on tensor-webgpu and vit, for browsers, and puts index.html beside it.
 *
 * @type {Readonly<Record<'esbuild' | 'rollup' | 'vite' | 'webpack', (project: string, out: string) => Promise<unknown>>>}
 */
const bundlers = {
  esbuild: (project, out) =>
    succeed(
      path.join(tool('esbuild'), '.bin/esbuild'),
      ['app.js', '--bundle', '--minify', '--format=esm', '--splitting', '--target=es2022', `--outdir=${out}`],
      { cwd: project },
    ),
  rollup: (project, out) => {
    const modules = tool('rollup');
    const use = (/** @type {string} */ name) => JSON.stringify(path.join(modules, '@rollup', name, 'dist/es/index.js'));
    const config = path.join(out, 'rollup.config.mjs');
    const plugins = 'resolve({ browser: true }), commonjs(), terser()';
    writeFileSync(
      config,
      `import commonjs from ${use('plugin-commonjs')};
import resolve from ${use('plugin-node-resolve')};
import terser from ${JSON.stringify(path.join(modules, '@rollup/plugin-terser/dist/es/index.js'))};
export default { input: 'app.js', output: { dir: ${JSON.stringify(out)}, format: 'es' }, plugins: [${plugins}] };
`,
    );
    return succeed(path.join(modules, '.bin/rollup'), ['--config', config, '--silent'], { cwd: project });
  },
  vite: (project, out) =>
    succeed(
      path.join(tool('vite'), '.bin/vite'),
      ['build', '--target', 'es2022', '--outDir', out, '--logLevel', 'warn'],
      {
        cwd: project,
      },
    ),
  webpack: (project, out) => {
    const config = path.join(out, 'webpack.config.cjs');
    writeFileSync(
      config,
      `module.exports = { mode: 'production', target: 'web', entry: './app.js', output: { path: ${JSON.stringify(out)}, filename: 'app.js' }, experiments: { topLevelAwait: true }, performance: false };\n`,
    );
    return succeed(path.join(tool('webpack'), '.bin/webpack'), ['--config', config], { cwd: project });
  },
};

export const bundlerNames = /** @type {(keyof typeof bundlers)[]} */ (Object.keys(bundlers));

/**
 * @param {keyof typeof bundlers} name
 * @param {string} project with the packages installed, app.js and index.html
 * @returns {Promise<string>} the folder to serve
 */
export async function bundle(name, project) {
  const out = path.join(project, `out-${name}`);
  mkdirSync(out, { recursive: true });
  await bundlers[name](project, out);
  if (name !== 'vite') cpSync(path.join(project, 'index.html'), path.join(out, 'index.html'));
  return out;
}

/** How much JavaScript is in files, and gzipped. @param {Iterable<string>} files @returns {string} */
export function sizeOf(files) {
  let [bytes, gzip] = [0, 0];
  for (const file of files) {
    if (!file.endsWith('.js')) continue;
    const text = readFileSync(file);
    bytes += text.length;
    gzip += gzipSync(text, { level: 9 }).length;
  }
  return `${(bytes / 1e3).toFixed(0)} kB, gzip ${(gzip / 1e3).toFixed(0)} kB`;
}
