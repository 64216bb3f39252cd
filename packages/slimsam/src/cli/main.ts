#!/usr/bin/env node
import { runProgram } from './program.ts';
import { stopSignal } from './stop-signal.ts';

process.exitCode = await runProgram(process.argv.slice(2), stopSignal());
// a connection that still looks for a broker or store that is away does not hold the process
setTimeout(() => process.exit(), 1_000).unref();
