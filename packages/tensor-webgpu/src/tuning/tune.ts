import type * as tf from '@tensorflow/tfjs-core';
import type { WebgpuBackend } from '../backend.ts';
import { replacing, rounded } from '../kernels/elementwise/half.ts';
import { checkCall } from '../program/check-call.ts';
import type { Program } from '../program/program.ts';
import type { DispatchTime } from '../watching/recorder.ts';
import { openCache, type Timings } from './tune-cache.ts';
import { type Tunable, tuningOf } from './tunings.ts';

/** The programs that were timed for one class of matmuls or attentions. */
export interface TunedKernel extends Timings {
  /** What it is and the shapes of its operands, `..` before sizes that go up to a power of two. */
  readonly kernel: string;
  /** Read from the cache, not timed now. */
  readonly cached: boolean;
}

/** How to tune. */
export interface TuneOptions {
  /**
   * Where times are kept: a file in Node, `~/.cache/slimsam/tuned.json` unless given (under XDG_CACHE_HOME where that is set), or an
   * item of a page's localStorage, `slimsam-tuned` unless given; false keeps none.
   */
  readonly cache?: string | false;
  readonly signal?: AbortSignal;
}

/**
 * Times the programs that can make each matmul of `work`, and on GPUs each attention and its gradients, and lets the backend take the fastest from then on.
 *
 * Runs `work` once to see what it has of them. Each class of shapes is then timed on operands of its own: up to 4 programs in turns, 5 rounds,
 * medians, by the profiler's clock; a program must be 3 % faster than the one that is taken untuned. Results change by rounding at
 * most. What was timed on this adapter before, with the same programs, comes from the cache.
 *
 * A cache of another version, or damaged, is measured and written anew; one that is a file of something else, or cannot be read or
 * written, is left alone, and times are kept for this run only. Each is said once by `console.warn`.
 *
 * @returns each class as it is done; leaving the loop ends the tuning
 * @throws when an argument is of another kind, what `work` throws, or the signal's reason
 */
export async function* tune(
  backend: WebgpuBackend,
  work: () => unknown,
  options: TuneOptions = {},
): AsyncGenerator<TunedKernel> {
  checkCall('tune', { backend, work, options }, { backend: 'a backend', work: 'a function', options: 'an object' });
  const { cache, signal } = options;
  if (cache !== undefined && cache !== false && typeof cache !== 'string')
    throw new Error(`tune: expected cache to be a file's path or false, got ${String(cache)}`);
  if (signal !== undefined) checkCall('tune', { signal }, { signal: 'an object' });
  const known = await openCache(cache, backend.facts.name);
  const met = await tunablesOf(backend, work);
  for (const [kernel, tunable] of met) {
    signal?.throwIfAborted();
    const list = tunable.candidates().map(({ name, program }) => ({ name, program: program() }));
    const programs = list
      .map(({ program: { shader } }) => shader.wgsl)
      .sort()
      .join(); // which is first depends on sizes that vary within a class
    const found = await known.find(kernel, programs);
    const timings = found ?? (await timesOf(backend, { tunable, list }, signal));
    tuningOf(backend).winners.set(kernel, timings.winner);
    if (!found) await known.keep(kernel, programs, timings);
    yield { kernel, ...timings, cached: found !== undefined };
  }
}

async function tunablesOf(backend: WebgpuBackend, work: () => unknown): Promise<ReadonlyMap<string, Tunable>> {
  const tuning = tuningOf(backend);
  const met = new Map<string, Tunable>();
  tuning.met.add(met);
  try {
    await work();
  } finally {
    tuning.met.delete(met);
  }
  return met;
}

/** A candidate's program. */
interface Timed {
  readonly name: string;
  readonly program: Program;
}

const rounds = 5;
const least = 2; // ms a measurement: short programs run several times, since clocks may be coarse
const gain = 0.97;

/** Medians of the times of each program, in turns on operands of the work's sizes. */
async function timesOf(
  backend: WebgpuBackend,
  { tunable, list }: { tunable: Tunable; list: readonly Timed[] },
  signal: AbortSignal | undefined,
): Promise<Timings> {
  const outputs = tunable.results.map((shape) => ({ shape, dtype: 'float32' as const }));
  const inputs: tf.TensorInfo[] = [];
  const run = (program: Program): void => {
    for (const { dataId } of backend.run(program, inputs, outputs)) backend.disposeData(dataId);
  };
  const time = async (program: Program, repeats = 1): Promise<number> => {
    signal?.throwIfAborted();
    const stop = backend.record();
    let times: DispatchTime[];
    try {
      for (let n = 0; n < repeats; n++) run(program);
    } finally {
      times = await stop();
    }
    return times.reduce((sum, { milliseconds }) => sum + milliseconds, 0) / repeats;
  };
  try {
    const { shader } = list[0]!.program;
    for (const [i, elements] of tunable.operands.entries())
      inputs.push(operand(backend, { elements, half: shader.inputs[i]!.half }));
    await backend.warmUp(() => {
      for (const { program } of list) run(program);
    });
    const repeats = Math.ceil(least / Math.max(await time(list[0]!.program), 0.05));
    const times = list.map(() => [] as number[]);
    for (let round = 0; round < rounds; round++)
      for (const [i, { program }] of list.entries()) times[i]!.push(await time(program, repeats));
    const medians = times.map((all) => all.sort((a, b) => a - b)[rounds >> 1]!);
    const best = medians.indexOf(Math.min(...medians));
    return {
      milliseconds: Object.fromEntries(list.map(({ name }, i) => [name, medians[i]!])),
      winner: list[medians[best]! < gain * medians[0]! ? best : 0]!.name,
    };
  } finally {
    for (const { dataId } of inputs) backend.disposeData(dataId);
  }
}

/** Values in [-0.5, 0.5]. */
function operand(backend: WebgpuBackend, { elements, half }: { elements: number; half: boolean }): tf.TensorInfo {
  const values = Float32Array.from({ length: elements }, (_, i) => (i % 17) / 16 - 0.5);
  const x = backend.makeTensor(values, [elements], 'float32');
  return half ? replacing(backend, x, rounded) : x;
}
