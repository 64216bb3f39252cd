/**
 * What AMD's and Intel's compilers make of the GPU kernels, without a GPU: registers, spills, and for attention and matmul on AMD a modelled
 * share of the peak.
 *
 *     npm run gpu:stats -- [--short] [--json FILE] [--before FILE]
 *
 * --short compiles only attention and matmul of SAM-B and SAM-H, for `npm test`. --before sets an earlier --json beside. The exit code is 1
 * when a kernel spills on AMD or more than a few registers on Intel, or takes more workgroup memory than WebGPU guarantees. Where a compiler
 * cannot be set up it says why, and ends well.
 */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { writeFileAtomic } from '@slimsam/weights';
import { ensureGpuCompiler } from '../setup/gpu-compiler.mjs';
import { capturedCases } from './captured.ts';
import { type Compiler, checkCompiler, compileBy, spirvOf } from './compile.ts';
import { type KernelCase, moreCases, shortCases, type Vendor } from './direct.ts';
import { type Compiled, shareOfPeak, targets } from './model.ts';

/** A line of the table. `share` of the peak is a model's, the rest facts of the compiler; on Intel registers are what a thread would need, of its 128. */
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
const mostSpills = { amd: 0, intel: 45 }; // attention's query gradient has 41, D = 14; at 4ffd196 attention spilled up to 517, matmul 50 to 189

/** By the names of Mesa's families, or with Intel by a PCI id; Dawn asks for twice the fewest lanes of a subgroup. */
const gpus = [
  { gpu: 'navi31', vendor: 'amd', env: { RADV_FORCE_FAMILY: 'navi31', ACO_DEBUG: 'perfinfo' }, subgroup: 64 },
  { gpu: 'navi21', vendor: 'amd', env: { RADV_FORCE_FAMILY: 'navi21', ACO_DEBUG: 'perfinfo' }, subgroup: 64 },
  { gpu: 'dg2', vendor: 'intel', env: { GPU_COMPILE_INTEL: '56a0' }, subgroup: 16 }, // Arc A770
  { gpu: 'bmg', vendor: 'intel', env: { GPU_COMPILE_INTEL: 'e20b' }, subgroup: 32 }, // Arc B580
] as const satisfies readonly (Pick<Compiler, 'env' | 'subgroup'> & { gpu: string; vendor: Vendor })[];

const { values: options } = parseArgs({
  options: {
    short: { type: 'boolean', default: false },
    json: { type: 'string' },
    before: { type: 'string' },
  },
});

const tools = ensureGpuCompiler();
if ('obstacle' in tools) console.log(`gpu:stats: left out, ${tools.obstacle}`);
else process.exitCode = (await report(tools)) ? 0 : 1;

type Tools = Exclude<ReturnType<typeof ensureGpuCompiler>, { obstacle: string }>;

async function report({ program, drivers }: Tools): Promise<boolean> {
  const rows: Row[] = [];
  for (const vendor of ['amd', 'intel'] as const) {
    const driver = drivers[vendor];
    const compilers = gpus
      .filter((one) => one.vendor === vendor)
      .map((one) => ({ ...one, program, driver: driver ?? '' }));
    const obstacle = driver ? await checkCompiler(compilers[0]!).catch(String) : "Mesa's driver is not there";
    if (obstacle) console.log(`gpu:stats: ${vendor} is left out, ${obstacle}`);
    else rows.push(...(await rowsOf(vendor, compilers)));
  }
  const before: Row[] = options.before ? JSON.parse(readFileSync(options.before, 'utf8')) : [];
  printTable(rows, before);
  if (options.json) await writeFileAtomic(options.json, `${JSON.stringify(rows, null, 2)}\n`);
  const most = new Map<string, number>(gpus.map(({ gpu, vendor }) => [gpu, mostSpills[vendor]]));
  const bad = rows.filter(
    ({ gpu, spills, workgroupBytes }) => spills > most.get(gpu)! || workgroupBytes > mostWorkgroupBytes,
  );
  for (const { gpu, kernel, case: size, spills, workgroupBytes } of bad)
    console.log(
      `gpu:stats: ${kernel} ${size} on ${gpu}: ${spills} registers spill, ${workgroupBytes} bytes of workgroup memory`,
    );
  console.log(
    `${rows.length} kernels compiled, ${bad.length} spill or take too much memory; shares of the peak are a model's`,
  );
  return bad.length === 0;
}

async function rowsOf(vendor: Vendor, compilers: readonly (Compiler & { readonly gpu: string })[]): Promise<Row[]> {
  const cases: readonly KernelCase[] = options.short
    ? shortCases(vendor)
    : [...shortCases(vendor), ...moreCases(vendor), ...(await capturedCases(vendor))];
  const files = await spirvOf(cases.map(({ wgsl }) => wgsl));
  const rows: Row[] = [];
  for (const compiler of options.short && vendor === 'intel' ? compilers.slice(0, 1) : compilers) {
    const { gpu } = compiler;
    const compiled = await compileBy(compiler, files);
    cases.forEach(({ kernel, case: size, model }, i) => {
      const { statistics } = compiled[i]!;
      const target = targets[gpu];
      rows.push({
        ...{ gpu, kernel, case: size },
        registers: statistics.VGPRs ?? statistics['Max live registers']!,
        spills: statistics['Spilled VGPRs'] ?? statistics['Spill Count']!,
        share: target && model && shareOf(compiled[i]!, { target, model, what: `${kernel} ${size}` }),
        workgroupBytes: statistics['LDS size'] ?? statistics['Workgroup Memory Size']!,
      });
    });
  }
  return rows;
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
