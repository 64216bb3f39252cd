/**
 * Awaits GPU work without taking the core that a software adapter needs.
 *
 * Dawn in Node polls through `setImmediate` as fast as the event loop turns. Between two turns this sleeps the thread for a
 * moment, which slows that polling; nothing global is replaced. Browsers simply await.
 */
export async function awaitGpu<T>(work: Promise<T>): Promise<T> {
  if (typeof setImmediate === 'undefined' || typeof process === 'undefined') return work;
  let settled = false;
  const done = work.finally(() => {
    settled = true;
  });
  done.catch(() => {}); // the caller gets the rejection from the await below
  for (let turn = 0; !settled; turn++) {
    await new Promise((resolve) => setImmediate(resolve));
    if (!settled && turn > 2) Atomics.wait(cell, 0, 0, Math.min(0.5, 0.02 * turn));
  }
  return done;
}

const cell = new Int32Array(new SharedArrayBuffer(4));
