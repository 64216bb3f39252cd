/**
 * Awaits GPU work without taking the core that a software adapter needs.
 *
 * Dawn in Node polls through `setImmediate` as fast as the event loop turns. Between two turns this sleeps the thread for a
 * moment, which slows that polling; nothing global is replaced, and all waits share one sleep. Browsers simply await.
 */
export async function awaitGpu<T>(work: Promise<T>): Promise<T> {
  if (!polls) return work;
  waits++;
  turn = 0; // short work is answered at once
  if (!sleeping) setImmediate(sleepBetweenTurns);
  sleeping = true;
  try {
    return await work;
  } finally {
    waits--;
  }
}

function sleepBetweenTurns(): void {
  sleeping = waits > 0; // not before: a wait that begins in this turn goes on with this loop
  if (!sleeping) return;
  if (turn++ > 2) {
    cell ??= new Int32Array(new SharedArrayBuffer(4)); // browsers have none outside of isolated pages
    Atomics.wait(cell, 0, 0, Math.min(0.5, 0.02 * turn)); // milliseconds
  }
  setImmediate(sleepBetweenTurns);
}

/** Waits for `work`, at most so long. */
export async function settled(work: Promise<unknown>, milliseconds: number): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const timeout = new Promise((resolve) => {
    timer = setTimeout(resolve, milliseconds);
  });
  await Promise.race([work, timeout]);
  clearTimeout(timer);
}

/** Node and Bun run Dawn; Deno, which also says it is Node, has a WebGPU of its own that does not poll so. */
const polls = typeof process !== 'undefined' && process.versions?.node !== undefined && !('Deno' in globalThis);
let waits = 0;
let turn = 0;
let sleeping = false;
let cell: Int32Array<SharedArrayBuffer> | undefined;
