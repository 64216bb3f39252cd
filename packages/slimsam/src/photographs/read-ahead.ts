/** Something that was begun before it is needed. */
export interface Begun<T> {
  /** Never rejects: an error is a value, so that none is lost while nobody waits. */
  readonly result: Promise<T | Error>;
  /** Nobody will wait for it. */
  leave(): void;
}

/**
 * Gives the results of begun work in order, always `ahead` of them under way or waiting.
 *
 * @param begin the next piece of work; undefined when there is no more
 * @param options.onWaited is given the seconds that were waited for each
 * @throws what work fails with, and the signal's reason at once
 */
export async function* readAhead<T>(
  begin: () => Begun<T> | undefined,
  options: { ahead: number; signal: AbortSignal | undefined; onWaited: (seconds: number) => void },
): AsyncGenerator<T, void, undefined> {
  const { ahead, signal, onWaited } = options;
  const begun: Begun<T>[] = [];
  let more = true;
  let stop: () => void = () => {};
  const onAbort = (): void => stop();
  signal?.addEventListener('abort', onAbort);
  /** Not Promise.race with one promise for the signal: that would hold every result until the reader ends. */
  const orStopped = (result: Promise<T | Error>): Promise<T | Error | undefined> =>
    new Promise((resolve) => {
      stop = () => resolve(undefined);
      void result.then(resolve);
    });
  try {
    while (true) {
      signal?.throwIfAborted();
      while (more && begun.length < ahead) {
        const next = begin();
        if (next) begun.push(next);
        else more = false;
      }
      const first = begun[0];
      if (!first) return;
      const start = performance.now();
      const result = await orStopped(first.result);
      onWaited((performance.now() - start) / 1000);
      signal?.throwIfAborted();
      begun.shift();
      if (result instanceof Error) throw result;
      yield result as T;
    }
  } finally {
    signal?.removeEventListener('abort', onAbort);
    for (const { leave } of begun) leave();
  }
}
