#!/usr/bin/env node
import { runProgram } from './program.ts';

const stop = new AbortController();
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(name, () => stop.abort(new Error('stopped; the same command goes on after the last checkpoint')));
}
process.exitCode = await runProgram(process.argv.slice(2), stop.signal);
