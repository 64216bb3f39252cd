import type { WebgpuBackend } from '../backend.ts';
import { checkCall } from '../program/check-call.ts';
import { arithmeticCeiling, memoryCeiling } from './ceiling.wgsl.ts';
import type { Clock } from './dispatch-timer.ts';
import type { DispatchTime } from './recorder.ts';

/** What an adapter reaches at most in WGSL, as measured. */
export interface Ceiling {
  /** Multiply-adds in registers, two operations each. */
  readonly flopsPerSecond: number;
  /** A copy from one large buffer to another, both counted. */
  readonly bytesPerSecond: number;
}

/** All dispatches with one label. */
export interface KernelTimes {
  readonly label: string;
  readonly calls: number;
  readonly milliseconds: number;
  /** Of those dispatches whose programs tell their operations; absent where none does. */
  readonly flopsPerSecond?: number;
  /** Sizes of inputs and outputs by time: more than the ceiling where caches hold them. */
  readonly bytesPerSecond: number;
}

/** A profile; plain data, so that JSON holds all of it. */
export interface Profile {
  readonly adapter: string;
  readonly clock: Clock;
  readonly ceiling: Ceiling;
  /** Of all dispatches. */
  readonly milliseconds: number;
  /** By labels, the slowest first. */
  readonly kernels: readonly KernelTimes[];
  /** In order. */
  readonly dispatches: readonly DispatchTime[];
}

/**
 * Times each dispatch of `work` and compares it with what the adapter reaches at most.
 *
 * Run `work` once before: the first run also compiles. The ceiling is measured on the first call for a backend (well under a second).
 *
 * @param options `clock`: the device's timestamps where it has them; `cpu` awaits each dispatch alone, to about 0.1 ms in Node
 * @throws when an argument is of another kind, or what `work` throws
 */
export async function profile(
  backend: WebgpuBackend,
  work: () => unknown,
  options: { readonly clock?: Clock } = {},
): Promise<Profile> {
  checkCall('profile', { backend, work, options }, { backend: 'a backend', work: 'a function', options: 'an object' });
  const clock = options.clock ?? backend.clock;
  if (clock !== 'timestamp-query' && clock !== 'cpu')
    throw new Error(`profile: expected the clock 'timestamp-query' or 'cpu', got '${String(clock)}'`);
  const ceiling = await ceilingOf(backend);
  const stop = backend.record(clock);
  let dispatches: DispatchTime[];
  try {
    await work();
  } finally {
    dispatches = await stop();
  }
  return {
    adapter: backend.facts.name,
    clock,
    ceiling,
    milliseconds: sum(dispatches, ({ milliseconds }) => milliseconds),
    kernels: kernelTimes(dispatches),
    dispatches,
  };
}

/** The profile as a table of text: calls, milliseconds, share of the time, GFLOP/s and GB/s with their shares of the ceiling. */
export function profileTable(profile: Profile): string {
  checkCall('profileTable', { profile }, { profile: 'a profile' });
  const { adapter, clock, ceiling, milliseconds, kernels } = profile;
  const rate = (value: number | undefined, most: number) =>
    value === undefined ? ['', ''] : [(value / 1e9).toFixed(1), percent(value / most)];
  const rows = kernels.map((kernel) => [
    kernel.label,
    String(kernel.calls),
    kernel.milliseconds.toFixed(2),
    percent(kernel.milliseconds / milliseconds),
    ...rate(kernel.flopsPerSecond, ceiling.flopsPerSecond),
    ...rate(kernel.bytesPerSecond, ceiling.bytesPerSecond),
  ]);
  const head = ['kernel', 'calls', 'ms', 'time', 'GFLOP/s', 'of most', 'GB/s', 'of most'];
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]!.length)));
  const line = (cells: readonly string[]) =>
    cells.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join('  ');
  const [flops, bytes] = [ceiling.flopsPerSecond, ceiling.bytesPerSecond].map((value) => (value / 1e9).toFixed(1));
  const total = `${milliseconds.toFixed(2)} ms in kernels on ${adapter} by ${clock}; at most ${flops} GFLOP/s, ${bytes} GB/s`;
  return [total, line(head), ...rows.map(line)].join('\n');
}

/** The profile as a trace for chrome://tracing or Perfetto: save it as JSON. */
export function chromeTrace(profile: Profile): { traceEvents: object[] } {
  checkCall('chromeTrace', { profile }, { profile: 'a profile' });
  const { adapter, clock, dispatches } = profile;
  const begin = dispatches[0]?.start ?? 0;
  const thread = { pid: 1, tid: 1 };
  return {
    traceEvents: [
      { ph: 'M', name: 'process_name', ...thread, args: { name: adapter } },
      { ph: 'M', name: 'thread_name', ...thread, args: { name: `dispatches by ${clock}` } },
      ...dispatches.map(({ label, start, milliseconds, ...args }) => ({
        ...{ ph: 'X', name: label, cat: 'kernel', ...thread },
        ts: (start - begin) * 1000, // microseconds
        dur: milliseconds * 1000,
        args,
      })),
    ],
  };
}

function kernelTimes(dispatches: readonly DispatchTime[]): KernelTimes[] {
  const byLabel = new Map<string, DispatchTime[]>();
  for (const dispatch of dispatches) {
    const list = byLabel.get(dispatch.label);
    if (list) list.push(dispatch);
    else byLabel.set(dispatch.label, [dispatch]);
  }
  const kernels = Array.from(byLabel, ([label, list]) => {
    const counted = list.filter(({ flops }) => flops !== undefined);
    return {
      label,
      calls: list.length,
      milliseconds: sum(list, ({ milliseconds }) => milliseconds),
      ...(counted.length > 0 && { flopsPerSecond: perSecond(counted, ({ flops = 0 }) => flops) }),
      bytesPerSecond: perSecond(list, ({ bytes }) => bytes),
    };
  });
  return kernels.sort((a, b) => b.milliseconds - a.milliseconds);
}

const ceilings = new WeakMap<WebgpuBackend, Ceiling>();

async function ceilingOf(backend: WebgpuBackend): Promise<Ceiling> {
  const known = ceilings.get(backend);
  if (known) return known;
  const { isCpu, maxBindingBytes } = backend.facts;
  const arithmetic = arithmeticCeiling({ groups: isCpu ? 64 : 2048, rounds: 512 }); // 1.6 GFLOP, or 52
  const groups = Math.floor(Math.min(maxBindingBytes, 2 ** (isCpu ? 25 : 27)) / 4096); // 32 or 128 MiB: more than caches hold
  const memory = memoryCeiling(groups);
  const seed = backend.makeTensor(new Float32Array(1024).fill(0.5), [1024], 'float32'); // a vector for each lane
  const source = backend.makeTensor(new Float32Array(groups * 1024), [groups * 1024], 'float32');
  const stop = backend.record();
  for (let run = 0; run < 4; run++) {
    const made = [
      ...backend.run(memory, [source], [source]),
      ...backend.run(arithmetic, [seed], [{ shape: [arithmetic.workgroups[0] * 256], dtype: 'float32' }]),
    ];
    for (const { dataId } of made) backend.disposeData(dataId);
  }
  for (const { dataId } of [seed, source]) backend.disposeData(dataId);
  const times = await stop();
  const best = (of: (time: DispatchTime) => number) => Math.max(...times.map((time) => perSecond([time], of)));
  const ceiling = {
    flopsPerSecond: best(({ flops = 0 }) => flops),
    bytesPerSecond: best(({ label, bytes }) => (label === memory.shader.label ? bytes : 0)),
  };
  ceilings.set(backend, ceiling);
  return ceiling;
}

const sum = (times: readonly DispatchTime[], of: (time: DispatchTime) => number): number =>
  times.reduce((total, time) => total + of(time), 0);

/** 0 where the clock is too coarse to tell. */
function perSecond(times: readonly DispatchTime[], of: (time: DispatchTime) => number): number {
  const seconds = sum(times, ({ milliseconds }) => milliseconds) / 1000;
  return seconds > 0 ? sum(times, of) / seconds : 0;
}

const percent = (part: number): string => `${(100 * part).toFixed(0)} %`;
