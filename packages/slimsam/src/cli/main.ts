#!/usr/bin/env node
import { Command, CommanderError } from 'commander';
import pc from 'picocolors';
import { compressCommand } from './commands/compress.ts';
import { evaluateCommand } from './commands/evaluate.ts';
import { exportCommand } from './commands/export.ts';
import { infoCommand } from './commands/info.ts';
import { segmentCommand } from './commands/segment.ts';

/** 0 done, 1 failed, 2 a wrong command line, 130 stopped by Ctrl-C. */
const codes = { failed: 1, usage: 2, stopped: 130 };

const stop = new AbortController();
for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(name, () => stop.abort(new Error('stopped; the same command goes on after the last checkpoint')));
}
const program = new Command('slimsam')
  .description('compresses Segment Anything models (SAM) and plain ViTs on your own photographs')
  .showHelpAfterError('(--help tells the options)')
  .exitOverride();
for (const make of [compressCommand, evaluateCommand, segmentCommand, exportCommand, infoCommand]) {
  program.addCommand(make(stop.signal).exitOverride().showHelpAfterError('(--help tells the options)'));
}
try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : codes.usage;
  else {
    const [message] = (error instanceof Error ? error.message : String(error)).split('\n  at ');
    console.error(pc.red(`slimsam: ${message!.replace(/\s*\n\s*/g, ' ')}`));
    process.exitCode = stop.signal.aborted ? codes.stopped : codes.failed;
  }
}
