/** A signal that aborts at the process's first SIGINT, SIGTERM or SIGHUP; the second one ends the process. */
export function stopSignal(): AbortSignal {
  const stop = new AbortController();
  const names = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  const onSignal = () => {
    for (const name of names) process.off(name, onSignal); // any second one ends the process
    process.stderr.write('stopping, what is at work is saved first; again ends at once\n');
    stop.abort(new Error('stopped; the same command goes on in its run folder, where it has one'));
  };
  for (const name of names) process.on(name, onSignal);
  return stop.signal;
}
