import type { AdapterFacts, Ceiling, KernelTimes, Profile } from '@slimsam/tensor-webgpu';

/** A kernel's part of a case, a run of it. */
interface KernelRow {
  readonly label: string;
  readonly calls: number;
  readonly ms: number;
  /** Rates, and their shares of the adapter's ceilings. */
  readonly tflops?: number;
  readonly ofArithmetic?: number;
  readonly gbs: number;
  readonly ofBandwidth: number;
}

/** What was measured of a case; times are milliseconds of a run. */
export interface GpuRow {
  readonly case: string;
  /** With the wait for the result, medians. */
  readonly ms: number;
  /** Of the very first run, with its compilations. */
  readonly firstMs?: number;
  /** In JavaScript, before the wait. */
  readonly hostMs?: number;
  /** In kernels, by the adapter's timestamps. */
  readonly gpuMs?: number;
  /** Useful operations by `ms`. */
  readonly tflops?: number;
  /** Allocated on the adapter, with spare buffers. */
  readonly MiB?: number;
  /** The largest, over the largest value: against float64, of half precision against float32. */
  readonly error?: number;
  /** Milliseconds of others, of those that did it right. */
  readonly peers?: Readonly<Record<string, number>>;
  readonly kernels?: readonly KernelRow[];
  /** Why there are no times: the adapter cannot do it, or it went wrong. */
  readonly leftOut?: string;
  readonly failed?: string;
}

/** What a run of the bench writes as JSON. */
export interface GpuReport {
  readonly date: string;
  readonly commit: string;
  readonly node: string;
  readonly processor: string;
  readonly adapter: AdapterFacts;
  readonly ceiling: Ceiling;
  /** Tiny models and operands, to see that all works. */
  readonly small: boolean;
  readonly rows: readonly GpuRow[];
}

const short = (value: number): number => Number(value.toPrecision(4));

/** The kernels of a profile of `runs` runs, and the time in them. */
export function kernelRows(
  { kernels, ceiling, milliseconds }: Profile,
  runs: number,
): Pick<GpuRow, 'gpuMs' | 'kernels'> {
  const row = ({ label, calls, milliseconds, flopsPerSecond, bytesPerSecond }: KernelTimes): KernelRow => ({
    label,
    calls: calls / runs,
    ms: short(milliseconds / runs),
    ...(flopsPerSecond !== undefined && {
      tflops: short(flopsPerSecond / 1e12),
      ofArithmetic: short(flopsPerSecond / ceiling.flopsPerSecond),
    }),
    gbs: short(bytesPerSecond / 1e9),
    ofBandwidth: short(bytesPerSecond / ceiling.bytesPerSecond),
  });
  return { gpuMs: short(milliseconds / runs), kernels: kernels.map(row) };
}

export const tableHead = [
  'case'.padEnd(42),
  ...['first ms', 'ms', 'host ms', 'GPU ms', 'TFLOP/s', 'MiB', 'error'].map((title) => title.padStart(9)),
  ' peers: times as long',
].join('');

const digits = (value: number): string => {
  if (value >= 100) return value.toFixed(0);
  return value >= 0.01 ? value.toPrecision(3) : value.toExponential(1);
};

const shownKernels = 5;

/** A row of the table with its slowest kernels below. */
export function rowLines(row: GpuRow): string {
  if (row.leftOut) return `${row.case.padEnd(42)} left out: ${row.leftOut}`;
  if (row.failed) return `${row.case.padEnd(42)} failed: ${row.failed}`;
  const number = (value: number | undefined) => (value === undefined ? '' : digits(value)).padStart(9);
  const peers = Object.entries(row.peers ?? {}).map(([name, ms]) => `${name} ${(ms / row.ms).toFixed(2)}`);
  const line = [
    row.case.slice(0, 41).padEnd(42),
    ...[row.firstMs, row.ms, row.hostMs, row.gpuMs, row.tflops, row.MiB].map(number),
    (row.error === undefined ? '' : row.error.toExponential(0)).padStart(9),
    ` ${peers.join(', ')}`,
  ].join('');
  const percent = (share: number) => `${(100 * share).toFixed(0)} %`.padStart(5);
  const kernels = (row.kernels ?? [])
    .slice(0, shownKernels)
    .map(({ label, calls, ms, tflops, ofArithmetic, gbs, ofBandwidth }) =>
      [
        `    ${label.slice(0, 48).padEnd(48)} x${String(calls).padEnd(5)} ${ms.toFixed(3).padStart(9)} ms`,
        tflops === undefined ? ' '.repeat(22) : `${number(tflops)} TFLOP/s${percent(ofArithmetic!)}`,
        `${number(gbs)} GB/s${percent(ofBandwidth)}`,
      ].join(''),
    );
  return [line, ...kernels].join('\n').trimEnd();
}
