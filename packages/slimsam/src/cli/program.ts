import { Command, CommanderError } from 'commander';
import { slimsamVersion } from '../jobs/job.ts';
import { ablateCommand } from './commands/ablate.ts';
import { compressCommand } from './commands/compress.ts';
import { costsCommand } from './commands/costs.ts';
import { evaluateCommand } from './commands/evaluate.ts';
import { exportCommand } from './commands/export.ts';
import { infoCommand } from './commands/info.ts';
import { queueCommand } from './commands/queue.ts';
import { segmentCommand } from './commands/segment.ts';
import { storeCommand } from './commands/store.ts';
import { sweepCommand } from './commands/sweep.ts';
import { trainCommand } from './commands/train.ts';
import { workerCommand } from './commands/worker.ts';
import { colours } from './output.ts';

/** Of the process: done, failed, a wrong command line, stopped by a signal. */
const codes = { done: 0, failed: 1, usage: 2, stopped: 130 };

/** The commands and their options. */
export function programOf(signal: AbortSignal): Command {
  const program = new Command('slimsam')
    .description('compresses Segment Anything models (SAM) and plain ViTs on your own photographs')
    .version(slimsamVersion)
    .exitOverride();
  const commands = [
    ...[compressCommand, evaluateCommand, costsCommand, segmentCommand],
    ...[exportCommand, infoCommand, trainCommand, sweepCommand, ablateCommand],
    ...[workerCommand, queueCommand, storeCommand],
  ];
  for (const make of commands) program.addCommand(make(signal).exitOverride());
  return program;
}

/**
 * Runs the command line `slimsam`. What goes wrong is one line on stderr.
 *
 * @param words what follows the program's name
 * @returns the process's exit code
 */
export async function runProgram(words: readonly string[], signal: AbortSignal): Promise<number> {
  try {
    await programOf(signal).parseAsync([...words], { from: 'user' });
    return codes.done;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? codes.done : codes.usage; // it has said why
    const message = error instanceof Error ? error.message : String(error);
    process.stderr.write(`${colours(process.stderr).red(`slimsam: ${message.replace(/\s*\n\s*/g, ' ')}`)}\n`);
    return signal.aborted ? codes.stopped : codes.failed;
  }
}
