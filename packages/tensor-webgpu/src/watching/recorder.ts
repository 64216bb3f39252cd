import type { Program } from '../program/program.ts';
import type { CommandQueue } from '../runtime/command-queue.ts';
import type { Clock, Cost, DispatchTimer } from './dispatch-timer.ts';

/** One timed dispatch. */
export interface DispatchTime {
  /** The program's label. */
  readonly label: string;
  /** Milliseconds of the clock, from some start. */
  readonly start: number;
  readonly milliseconds: number;
  readonly workgroups: readonly [number, number, number];
  /** Floating-point operations, where the program tells them. */
  readonly flops?: number;
  /** Sizes of all its inputs and outputs. */
  readonly bytes: number;
}

/** Recordings of dispatches with their times; several may be under way. */
export class Recorder {
  readonly #queue: CommandQueue;
  readonly #timer: DispatchTimer | undefined;
  readonly #recordings = new Set<{ readonly clock: Clock; readonly times: DispatchTime[] }>();
  #first = false;

  constructor(queue: CommandQueue, timer: DispatchTimer | undefined) {
    this.#queue = queue;
    this.#timer = timer;
  }

  get active(): boolean {
    return this.#recordings.size > 0;
  }

  /** Starts a recording; the function that it returns ends it and waits for the times, in the order of the dispatches. */
  start(clock: Clock): () => Promise<DispatchTime[]> {
    const recording = { clock, times: [] };
    this.#recordings.add(recording);
    this.#first = true;
    if (clock === 'cpu') this.#queue.hold();
    return async () => {
      this.#recordings.delete(recording);
      if (clock === 'cpu') await this.#queue.release();
      else {
        await this.#queue.drain();
        this.#queue.flush();
        await this.#timer?.settled();
      }
      return recording.times;
    };
  }

  /** What the queue needs to time a dispatch for the recordings under way; nothing when there are none. */
  cost({ shader: { label }, workgroups, flops }: Program, bytes: number): Cost {
    const recordings = [...this.#recordings];
    const first = this.#first;
    this.#first = false;
    return {
      clock: recordings.some(({ clock }) => clock === 'cpu') ? 'cpu' : 'timestamp-query',
      first,
      finish(start, end) {
        const milliseconds = Math.max(0, end - start);
        const time = { label, start, milliseconds, workgroups, ...(flops !== undefined && { flops }), bytes };
        for (const { times } of recordings) times.push(time);
      },
    };
  }
}
