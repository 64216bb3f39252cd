import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { say } from './log.mjs';
import { cacheFolder, root } from './paths.mjs';

const sources = ['gpu-compile.c', 'intel-stub.c'].map((name) => path.join(root, 'scripts/gpu-stats', name));
const program = path.join(cacheFolder, 'gpu-compile');
const packages = ['gcc', 'libc6-dev', 'libvulkan-dev', 'spirv-tools'];

/**
 * What compiles for AMD and Intel without a GPU: Mesa's RADV and ANV, which come with lavapipe, and a small program that asks them; its tools
 * are installed with apt-get where that can be done.
 *
 * @returns {{ program: string; drivers: { amd?: string; intel?: string } } | { obstacle: string }} the drivers that are there
 */
export function ensureGpuCompiler() {
  const drivers = { amd: driverOf('radeon'), intel: driverOf('intel') };
  if (!drivers.amd && !drivers.intel)
    return { obstacle: "Mesa's drivers for AMD and Intel are not there; install mesa-vulkan-drivers" };
  const made = existsSync(program) ? statSync(program).mtimeMs : 0;
  if (sources.every((source) => statSync(source).mtimeMs <= made) && has('spirv-as')) return { program, drivers };
  if (!(has('gcc') && has('spirv-as') && existsSync('/usr/include/vulkan/vulkan.h'))) {
    if (!has('apt-get') || process.getuid?.() !== 0)
      return { obstacle: `it needs ${packages.join(', ')}, which root can install with apt-get` };
    say(`apt-get install ${packages.join(' ')}`);
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
    spawnSync('apt-get', ['-qq', 'update'], { env, stdio: 'ignore' });
    const { status, stderr } = spawnSync('apt-get', ['-qq', 'install', '-y', '--no-install-recommends', ...packages], {
      ...{ env, encoding: 'utf8', stdio: ['ignore', 'ignore', 'pipe'] },
    });
    if (status !== 0) return { obstacle: `apt-get could not install ${packages.join(', ')}: ${stderr.trim()}` };
  }
  mkdirSync(cacheFolder, { recursive: true });
  // its symbols stand before libdrm's, for the stub
  const { status, stderr } = spawnSync('gcc', ['-O2', '-Wall', '-rdynamic', '-o', program, ...sources, '-lvulkan'], {
    encoding: 'utf8',
  });
  return status === 0 ? { program, drivers } : { obstacle: `gcc: ${stderr.trim()}` };
}

/** @param {string} name */
function driverOf(name) {
  const folder = '/usr/share/vulkan/icd.d';
  const architecture = process.arch === 'x64' ? 'x86_64' : 'aarch64';
  return [`${name}_icd.json`, `${name}_icd.${architecture}.json`]
    .map((file) => path.join(folder, file))
    .find((file) => existsSync(file));
}

/** @param {string} command */
const has = (command) => spawnSync('which', [command], { stdio: 'ignore' }).status === 0;
