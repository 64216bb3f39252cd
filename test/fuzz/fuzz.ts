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
/** Seconds of silence after which a child is ended: of many inputs, and of one that is read again, alone. */
const patience = { first: 2 * mostSeconds, again: 15 * mostSeconds };

/** What a child told of one input; `words` of what is wrong. */
interface Verdict {
  readonly input: number;
  readonly refused: boolean;
  readonly slow: boolean;
  readonly problems: readonly string[];
}

/**
 * Reads mutated inputs of the formats in child processes. A child that is silent for twice the time an input may take is ended, and the
 * next one goes on after that input. Inputs that were slow or silent are read again, each alone and with patience, and that counts: a
 * hang is one each time, a busy machine's pause is not.
 */
export async function fuzz(
  formats: readonly string[],
  { seed, first, count, folder }: FuzzOptions,
): Promise<Map<string, Tally>> {
  const read = (from: number, to: number, seconds: number) =>
    readInputs([JSON.stringify(formats), String(seed), String(from), String(to - from), folder], {
      first: from,
      seconds,
    });
  const tallies = new Map(formats.map((format): [string, Tally] => [format, { inputs: 0, refused: 0, problems: [] }]));
  const add = ({ input, refused, problems }: Verdict) => {
    const tally = tallies.get(formats[input % formats.length]!)!;
    tally.inputs++;
    if (refused) tally.refused++;
    for (const words of problems) tally.problems.push({ input, words });
  };
  const end = first + count;
  for (let next = first; next < end; ) {
    const verdicts = await read(next, end, patience.first);
    for (const verdict of verdicts) {
      const counts = verdict.slow ? (await read(verdict.input, verdict.input + 1, patience.again))[0]! : verdict;
      add(counts);
    }
    next = verdicts.at(-1)!.input + 1;
  }
  return tallies;
}

/** One child's verdicts, until its last input or the one that ended it. */
function readInputs(parameters: string[], { first, seconds }: { first: number; seconds: number }): Promise<Verdict[]> {
  return new Promise((resolve, reject) => {
    const child = fork(fileURLToPath(new URL('child.ts', import.meta.url)), parameters, {
      execArgv: ['--conditions=@slimsam/source', '--import', 'tsx', `--max-old-space-size=${heap}`],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    const verdicts: Verdict[] = [];
    let at = first - 1; // the input under way
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
        }, seconds * 1000);
        return;
      }
      verdicts.push({ ...told, input: told.ended });
    });
    child.once('error', reject);
    child.once('close', (code) => {
      clearTimeout(timer);
      if (code === 0) return resolve(verdicts);
      if (at < first) return reject(new Error(`fuzz: expected its child to start, got ${output.slice(-2000)}`));
      if ((verdicts.at(-1)?.input ?? first - 1) < at) {
        const last = output.trim().split('\n').at(-1) ?? '';
        const words = hung ? `no end within ${seconds} s` : `the process died: ${last}`;
        verdicts.push({ input: at, refused: false, slow: hung, problems: [words] });
      }
      resolve(verdicts);
    });
  });
}
