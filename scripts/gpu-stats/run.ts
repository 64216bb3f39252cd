/**
 * What AMD's compiler makes of the GPU kernels, without a GPU: registers, spills, and for attention and matmul a modelled share of the peak.
 *
 *     npm run gpu:stats -- [--short] [--json FILE] [--before FILE]
 *
 * --short compiles only attention and matmul of SAM-B and SAM-H, for `npm test`. --before sets an earlier --json beside. The exit code is 1
 * when a kernel spills, or takes more workgroup memory than WebGPU guarantees. Where the compiler cannot be set up it says why, and ends well.
 */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { writeFileAtomic } from '@slimsam/weights';
import { ensureGpuCompiler } from '../setup/gpu-compiler.mjs';
import { capturedCases } from './captured.ts';
import { compileFor, spirvOf } from './compile.ts';
import { moreCases, shortCases } from './direct.ts';
import { type Compiled, shareOfPeak, targets } from './model.ts';

/** A line of the table. `share` of the peak is a model's, the rest facts of the compiler. */
interface Row {
  readonly gpu: string;
  readonly kernel: string;
  readonly case: string;
  readonly registers: number;
  readonly spills: number;
  readonly share: number | undefined;
  readonly workgroupBytes: number;
}

const mostWorkgroupBytes = 16384; // WebGPU's guarantee

const { values: options } = parseArgs({
  options: {
    short: { type: 'boolean', default: false },
    json: { type: 'string' },
    before: { type: 'string' },
  },
});

const compiler = ensureGpuCompiler();
if ('obstacle' in compiler) console.log(`gpu:stats: left out, ${compiler.obstacle}`);
else process.exitCode = (await report(compiler)) ? 0 : 1;

async function report(tools: { program: string; driver: string }): Promise<boolean> {
  const cases = options.short ? shortCases : [...shortCases, ...moreCases, ...(await capturedCases())];
  const files = await spirvOf(cases.map(({ wgsl }) => wgsl));
  const rows: Row[] = [];
  for (const [gpu, target] of Object.entries(targets)) {
    const compiled = await compileFor(gpu, files, tools);
    cases.forEach(({ kernel, case: size, model }, i) => {
      const { statistics } = compiled[i]!;
      rows.push({
        ...{ gpu, kernel, case: size },
        registers: statistics.VGPRs!,
        spills: statistics['Spilled VGPRs']!,
        share: model && shareOf(compiled[i]!, { target, model, what: `${kernel} ${size}` }),
        workgroupBytes: statistics['LDS size']!,
      });
    });
  }
  const before: Row[] = options.before ? JSON.parse(readFileSync(options.before, 'utf8')) : [];
  printTable(rows, before);
  if (options.json) await writeFileAtomic(options.json, `${JSON.stringify(rows, null, 2)}\n`);
  const bad = rows.filter(({ spills, workgroupBytes }) => spills > 0 || workgroupBytes > mostWorkgroupBytes);
  for (const { gpu, kernel, case: size, spills, workgroupBytes } of bad)
    console.log(
      `gpu:stats: ${kernel} ${size} on ${gpu}: ${spills} registers spill, ${workgroupBytes} bytes of workgroup memory`,
    );
  console.log(
    `${rows.length} kernels compiled, ${bad.length} spill or take too much memory; shares of the peak are a model's`,
  );
  if (!options.short)
    console.log("Intel's compiler is left out: it needs a stub of its kernel driver, which no distribution ships");
  return bad.length === 0;
}

function shareOf(
  compiled: Compiled,
  {
    target,
    model,
    what,
  }: { target: Parameters<typeof shareOfPeak>[1]; model: Parameters<typeof shareOfPeak>[2]; what: string },
): number | undefined {
  try {
    return shareOfPeak(compiled, target, model);
  } catch (error) {
    console.log(`gpu:stats: no share of ${what}: ${error instanceof Error ? error.message : error}`);
    return undefined;
  }
}

function printTable(rows: readonly Row[], before: readonly Row[]): void {
  const text = ({ registers, spills, share }: Row) =>
    `${String(registers).padStart(9)} ${String(spills).padStart(6)} ${share === undefined ? '     ' : `${(100 * share).toFixed(0)} %`.padStart(5)}`;
  const head = `registers spills share`;
  console.log(
    `${'gpu'.padEnd(7)}${'kernel'.padEnd(34)}${'case'.padEnd(26)} ${head}${before.length > 0 ? `   before: ${head}` : ''}`,
  );
  for (const row of rows) {
    const old = before.find((one) => one.gpu === row.gpu && one.kernel === row.kernel && one.case === row.case);
    console.log(
      `${row.gpu.padEnd(7)}${row.kernel.slice(0, 33).padEnd(34)}${row.case.padEnd(26)} ${text(row)}${old ? `           ${text(old)}` : ''}`,
    );
  }
}
