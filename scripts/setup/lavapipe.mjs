import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { aptArguments, mesaCandidate, mesaPlan, parseLines, parseStanzas } from './apt.mjs';
import { say } from './log.mjs';

/**
 * Installs lavapipe, Mesa's software Vulkan driver, with apt-get.
 *
 * @returns {string | undefined} why it is not installed; nothing when it is
 */
export function installLavapipe() {
  if (process.platform !== 'linux' || !existsSync('/usr/bin/apt-get')) return 'apt-get is not there';
  if (process.getuid?.() !== 0) return 'only root can install it';
  const plan = mesaPlan({ osRelease: readFileSync('/etc/os-release', 'utf8'), sources: aptSources() });
  const folder = mkdtempSync(path.join(tmpdir(), 'slimsam-apt-'));
  try {
    if (plan.list) {
      writeFileSync(path.join(folder, 'mesa.sources'), plan.list);
      mkdirSync(path.join(folder, 'lists/partial'), { recursive: true });
    }
    const paths = { list: path.join(folder, 'mesa.sources'), lists: path.join(folder, 'lists') };
    const { options, update, install } = aptArguments(plan.list ? { ...paths, release: plan.release } : {});
    say(`installing lavapipe, a software Vulkan driver, with apt-get${plan.release ? ` from ${plan.release}` : ''}`);
    apt('apt-get', ['-qq', ...update]); // one broken source of many must not stop it: the candidate decides
    const { version, accepted } = mesaCandidate(apt('apt-cache', [...options, 'policy', 'mesa-vulkan-drivers']).stdout);
    if (!accepted) return `apt offers mesa-vulkan-drivers ${version}, and 25 or newer is needed`;
    say(`apt-get install mesa-vulkan-drivers ${version} libvulkan1`);
    const { status } = apt('apt-get', ['-qq', ...install]);
    return status === 0 ? undefined : `apt-get ended with exit code ${status}`;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/**
 * @param {string} program
 * @param {string[]} parameters
 */
function apt(program, parameters) {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C' };
  const result = spawnSync(program, parameters, { env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  if (result.status !== 0) process.stderr.write(`${result.stdout}${result.stderr}`);
  return result;
}

/** The machine's own sources, in both of apt's forms. */
function aptSources() {
  const parts = '/etc/apt/sources.list.d';
  const files = existsSync(parts) ? readdirSync(parts).map((name) => path.join(parts, name)) : [];
  return ['/etc/apt/sources.list', ...files.sort()].flatMap((file) => {
    if (!existsSync(file)) return [];
    if (file.endsWith('.sources')) return parseStanzas(readFileSync(file, 'utf8'));
    return file.endsWith('.list') ? parseLines(readFileSync(file, 'utf8')) : [];
  });
}
