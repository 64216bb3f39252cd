import { fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { mostSeconds, type Told } from './verdict.ts';

/** What came out for one format. */
export interface Tally {
  inputs: number;
  refused: number;
  /** Inputs by their numbers, each with what is wrong. */
  readonly problems: { readonly input: number; readonly words: string }[];
}

export interface FuzzOptions {
  readonly seed: number;
  /** Number of the first input, and how many; input i is of format i modulo their number. */
  readonly first: number;
  readonly count: number;
  /** For temporary files. */
  readonly folder: string;
}

/** Megabytes of a child's heap: what goes beyond is an accident. */
const heap = 600;

/**
 * Reads mutated inputs of the formats in child processes. One that is silent for twice the time an input may take is ended, and its
 * input is a hang; the next child goes on after it.
 */
export async function fuzz(
  formats: readonly string[],
  { seed, first, count, folder }: FuzzOptions,
): Promise<Map<string, Tally>> {
  const tallies = new Map(formats.map((format): [string, Tally] => [format, { inputs: 0, refused: 0, problems: [] }]));
  const tallyOf = (input: number) => tallies.get(formats[input % formats.length]!)!;
  const end = first + count;
  for (let next = first; next < end; ) {
    const parameters = [JSON.stringify(formats), String(seed), String(next), String(end - next), folder];
    next = await runChild(parameters, { tallyOf, first: next });
  }
  return tallies;
}

/** @returns the number of the input to go on with */
function runChild(
  parameters: string[],
  { tallyOf, first }: { tallyOf: (input: number) => Tally; first: number },
): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = fork(fileURLToPath(new URL('child.ts', import.meta.url)), parameters, {
      execArgv: ['--conditions=@slimsam/source', '--import', 'tsx', `--max-old-space-size=${heap}`],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    let at = first - 1; // the input under way
    let done = first - 1;
    let output = '';
    let timer: NodeJS.Timeout | undefined;
    let hung = false;
    child.stderr!.on('data', (bytes) => (output += bytes));
    child.on('message', (told: Told) => {
      clearTimeout(timer);
      if ('begun' in told) {
        at = told.begun;
        timer = setTimeout(() => {
          hung = true;
          child.kill('SIGKILL');
        }, mostSeconds * 2000);
        return;
      }
      done = told.ended;
      const tally = tallyOf(done);
      tally.inputs++;
      if (told.refused) tally.refused++;
      for (const words of told.problems) tally.problems.push({ input: done, words });
    });
    child.once('error', reject);
    child.once('close', (code) => {
      clearTimeout(timer);
      if (code === 0) return resolve(Number.POSITIVE_INFINITY);
      if (at < first) return reject(new Error(`fuzz: expected its child to start, got ${output.slice(-2000)}`));
      if (done < at) {
        const tally = tallyOf(at);
        const last = output.trim().split('\n').at(-1) ?? '';
        const words = hung ? `no end within ${mostSeconds * 2} s` : `the process died: ${last}`;
        tally.inputs++;
        tally.problems.push({ input: at, words });
      }
      resolve(at + 1);
    });
  });
}
