import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { cacheFolder } from '../setup/paths.mjs';
import type { Compiled } from './model.ts';

const folder = path.join(cacheFolder, 'gpu-stats');
const mark = '// gpu-stats ';

interface Result {
  readonly output: string;
  readonly errors: string;
}

/** A program's output; `input` goes to it. @throws when it fails, with what it said */
async function outputOf(command: readonly string[], { env = {}, input = '' } = {}): Promise<Result> {
  const child = spawn(command[0]!, command.slice(1), { env: { ...process.env, ...env }, stdio: 'pipe' });
  const read = async (stream: AsyncIterable<Buffer>) => {
    const chunks: Buffer[] = [];
    for await (const chunk of stream) chunks.push(chunk);
    return Buffer.concat(chunks).toString();
  };
  child.stdin.on('error', () => undefined); // it ended early, which its exit code tells
  child.stdin.end(input);
  const [output, errors, code] = await Promise.all([
    read(child.stdout),
    read(child.stderr),
    new Promise<number | null>((resolve, reject) => child.on('close', resolve).on('error', reject)),
  ]);
  if (code !== 0)
    throw new Error(`gpu:stats: ${path.basename(command[0]!)} ended with ${code}: ${errors.slice(-1000)}`);
  return { output, errors };
}

const fileOf = (wgsl: string): string =>
  path.join(folder, `${createHash('sha256').update(wgsl).digest('hex').slice(0, 24)}.spv`);

/** Files of SPIR-V as Dawn makes it of each text; those of earlier runs are found again. @throws when a text does not compile */
export async function spirvOf(texts: readonly string[]): Promise<string[]> {
  mkdirSync(folder, { recursive: true });
  const missing = [...new Set(texts)].filter((wgsl) => !existsSync(fileOf(wgsl)));
  if (missing.length > 0) {
    const dawn = fileURLToPath(new URL('./dump-spirv.mjs', import.meta.url));
    const marked = missing.map((wgsl) => `${mark}${fileOf(wgsl)}\n${wgsl}`);
    const { output } = await outputOf([process.execPath, dawn], { input: JSON.stringify(marked) });
    for (const part of output.split('// Dumped WGSL:').slice(1)) {
      const file = part
        .slice(part.indexOf(mark) + mark.length)
        .split('\n')[0]!
        .trim();
      const start = part.indexOf('/* Dumped SPIRV disassembly */');
      if (start < 0) continue;
      const lines = part.slice(start).split('\n').slice(1);
      const end = lines.findLastIndex((line) => line.trim() === 'OpFunctionEnd');
      // Debian 12's assembler does not know this mode by its name
      const text = lines
        .slice(0, end + 1)
        .join('\n')
        .replace(/\bMaximallyReconvergesKHR\b/, '!6023');
      await outputOf(['spirv-as', '--target-env', 'spv1.4', '-', '-o', `${file}.part`], { input: text });
      renameSync(`${file}.part`, file); // whole or not at all
    }
  }
  const lost = texts.find((wgsl) => !existsSync(fileOf(wgsl)));
  if (lost !== undefined) {
    writeFileSync(path.join(folder, 'refused.wgsl'), lost);
    throw new Error(`gpu:stats: Dawn made nothing of a text; see ${path.join(folder, 'refused.wgsl')}`);
  }
  return texts.map(fileOf);
}

/** Which GPU a driver of Mesa's compiles for, by its environment, and the lanes of a subgroup that Dawn asks for there. */
export interface Compiler {
  readonly program: string;
  readonly driver: string;
  readonly env: Readonly<Record<string, string>>;
  readonly subgroup: number;
}

const environmentOf = ({ driver, env }: Compiler) => ({
  ...{ VK_DRIVER_FILES: driver, VK_ICD_FILENAMES: driver, MESA_SHADER_CACHE_DISABLE: 'true' },
  ...env,
});

/** @throws when the driver makes no device */
export async function checkCompiler(compiler: Compiler): Promise<void> {
  await outputOf([compiler.program, '0'], { env: environmentOf(compiler) });
}

/** What a compiler makes of SPIR-V files, in their order. */
export async function compileBy(compiler: Compiler, files: readonly string[]): Promise<Compiled[]> {
  const { program, subgroup } = compiler;
  const { output, errors } = await outputOf([program, String(subgroup), ...new Set(files)], {
    env: environmentOf(compiler),
  });
  const listings = new Map(
    errors
      .split(/^== shader /m)
      .slice(1)
      .map((text) => [text.split('\n')[0]!, text]),
  );
  const made = new Map(
    output
      .trim()
      .split('\n')
      .map((line) => {
        const result: Omit<Compiled, 'listing'> = JSON.parse(line);
        return [result.shader, { ...result, listing: listings.get(result.shader)! }];
      }),
  );
  return files.map((file) => made.get(path.basename(file, '.spv'))!);
}
