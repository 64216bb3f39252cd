/** A signal that aborts at the process's first SIGINT, SIGTERM or SIGHUP; the second one ends the process. */
export function stopSignal(): AbortSignal {
  const stop = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(name, () => {
      process.stderr.write('stopping, what is at work is saved first; again ends at once\n');
      stop.abort(new Error('stopped; the same command goes on in its run folder, where it has one'));
    });
  }
  return stop.signal;
}
