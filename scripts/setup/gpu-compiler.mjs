import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { say } from './log.mjs';
import { cacheFolder, root } from './paths.mjs';

const source = path.join(root, 'scripts/gpu-stats/gpu-compile.c');
const program = path.join(cacheFolder, 'gpu-compile');
const driver = '/usr/share/vulkan/icd.d/radeon_icd.json';
const packages = ['gcc', 'libc6-dev', 'libvulkan-dev', 'spirv-tools'];

/**
 * What compiles for AMD without a GPU: Mesa's RADV, which comes with lavapipe, and a small program that asks it; its tools are installed
 * with apt-get where that can be done.
 *
 * @returns {{ program: string; driver: string } | { obstacle: string }}
 */
export function ensureGpuCompiler() {
  const icd = [driver, driver.replace('_icd', `_icd.${process.arch === 'x64' ? 'x86_64' : 'aarch64'}`)].find((file) =>
    existsSync(file),
  );
  if (!icd) return { obstacle: `Mesa's driver for AMD is not there (${driver}); install mesa-vulkan-drivers` };
  if (existsSync(program) && statSync(program).mtimeMs >= statSync(source).mtimeMs && has('spirv-as'))
    return { program, driver: icd };
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
  const { status, stderr } = spawnSync('gcc', ['-O2', '-Wall', '-o', program, source, '-lvulkan'], {
    encoding: 'utf8',
  });
  return status === 0 ? { program, driver: icd } : { obstacle: `gcc: ${stderr.trim()}` };
}

/** @param {string} command */
const has = (command) => spawnSync('which', [command], { stdio: 'ignore' }).status === 0;
