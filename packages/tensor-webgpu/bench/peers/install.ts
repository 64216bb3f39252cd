import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath, pathToFileURL } from 'node:url';

const folder = fileURLToPath(new URL('.', import.meta.url));
const require = createRequire(import.meta.url);

interface Manifest {
  readonly version?: string;
  readonly dependencies?: Readonly<Record<string, string>>;
}
const manifest = (path: string) => JSON.parse(readFileSync(path, 'utf8')) as Manifest;

/** Installs the peers beside this file when they are missing or of another version; none of their scripts run. @throws when npm fails */
export function installPeers(): void {
  const wanted = Object.entries(manifest(`${folder}package.json`).dependencies!);
  const present = ([name, version]: [string, string]) => {
    const path = `${folder}node_modules/${name}/package.json`;
    return existsSync(path) && manifest(path).version === version;
  };
  if (wanted.every(present)) return;
  console.log('npm install of the peers');
  const flags = ['--ignore-scripts', '--workspaces=false', '--no-package-lock', '--no-fund', '--no-audit'];
  const { status, error } = spawnSync('npm', ['install', ...flags], {
    cwd: folder,
    stdio: ['ignore', 2, 2],
    shell: process.platform === 'win32',
  });
  if (error || status !== 0) {
    const cause = error?.message ?? `exit code ${status}`;
    throw new Error(`bench: expected 'npm install' in ${folder} to succeed, got ${cause}; see npm's lines above`);
  }
}

/** Imports a peer; `kind` says what of it the caller uses. */
export const importPeer = async <Kind>(name: string): Promise<Kind> => (await import(peerUrl(name))) as Kind;

const peerUrl = (name: string): string => pathToFileURL(require.resolve(name, { paths: [folder] })).href;

/** The folder of a peer's files. */
export const peerFolder = (name: string): string => `${folder}node_modules/${name}/`;
