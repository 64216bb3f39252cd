#!/usr/bin/env node
import { runProgram } from './program.ts';
import { stopSignal } from './stop-signal.ts';

process.exitCode = await runProgram(process.argv.slice(2), stopSignal());
