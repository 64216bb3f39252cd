/** npm run fuzz -- --minutes 5 --seed 1 [--format JPEG]: mutated inputs for every format that is read; a table of the verdicts. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import { formats } from './formats.ts';
import { fuzz, type Tally } from './fuzz.ts';
import { inputOf, validInputs } from './mutate.ts';
import { seeded } from './random.ts';

const positive = (text: string) => {
  const value = Number(text);
  if (!(value > 0)) throw new InvalidArgumentError(`expected a number above 0, got '${text}'`);
  return value;
};
const fromZero = (text: string) => (text === '0' ? 0 : positive(text));
const options = new Command('fuzz')
  .description('Reads mutated inputs of every format. Exits with 1 when one hangs, leaks, or is refused by accident.')
  .option('--minutes <n>', 'in all, shared out evenly', positive, 5)
  .option('--inputs <n>', 'for each format, however long it takes, instead of minutes', positive)
  .option('--first <n>', 'number of the first input, to go on with a run', fromZero, 0)
  .option('--seed <n>', 'of the mutations', positive, 1)
  .option('--valid <n>', 'valid inputs of each format, none of which may be refused', positive, 50)
  .option('--format <name>', `one of: ${Object.keys(formats).join('; ')}`)
  .option('--save <folder>', 'where inputs with problems are written')
  .addHelpText('after', '\nExample: npm run fuzz -- --minutes 1 --format PNG')
  .parse()
  .opts<{
    minutes: number;
    inputs?: number;
    first: number;
    valid: number;
    seed: number;
    format?: string;
    save?: string;
  }>();
const { minutes, inputs, first: start, valid, seed, save } = options;
/** Inputs of one child: starting it takes as long as reading a thousand. */
const part = 2500;
const names = Object.keys(formats).filter((name) => options.format === undefined || name === options.format);
if (names.length === 0)
  throw new Error(`fuzz: expected a format of ${Object.keys(formats).join('; ')}, got '${options.format}'`);

await tf.setBackend('cpu'); // for the valid inputs
const folder = await mkdtemp(join(tmpdir(), 'fuzz-'));
const all = new Map<string, Tally>();
try {
  for (const name of names) {
    const end = performance.now() + (minutes * 60_000) / names.length;
    const tally: Tally = { inputs: 0, refused: 0, problems: [] };
    all.set(name, tally);
    tally.problems.push(...(await refusedValid(name)));
    const more = () => (inputs === undefined ? performance.now() < end : tally.inputs < inputs);
    while (more()) {
      const count = inputs === undefined ? part / 5 : Math.min(part, inputs - tally.inputs);
      const found = (await fuzz([name], { seed, first: start + tally.inputs, count, folder })).get(name)!;
      tally.inputs += found.inputs;
      tally.refused += found.refused;
      tally.problems.push(...found.problems);
    }
    console.log(`${name}: ${tally.inputs} inputs, ${tally.refused} refused, ${tally.problems.length} problems`);
    for (const { input, words } of tally.problems.slice(0, 20)) console.log(`  ${input}: ${words}`);
    if (save && tally.problems.length > 0) await saveInputs(name, { tally, to: save });
  }
} finally {
  await rm(folder, { recursive: true });
}
console.log('\n| format | valid, all read | changed | of them read | refused | problems |\n|---|---|---|---|---|---|');
for (const [name, { inputs, refused, problems }] of all)
  console.log(`| ${name} | ${valid} | ${inputs} | ${inputs - refused} | ${refused} | ${problems.length} |`);
process.exitCode = [...all.values()].some(({ problems }) => problems.length > 0) ? 1 : 0;

/** Reads valid inputs; those that are refused are problems with numbers below 0. */
async function refusedValid(name: string): Promise<Tally['problems']> {
  const { valid: make, read } = formats[name]!;
  const problems: Tally['problems'] = [];
  for (let i = 0; i < valid; i++) {
    const bytes = await make(seeded(seed * 104_729 + i));
    await read(bytes, folder).catch((error: Error) => {
      problems.push({ input: -1 - i, words: `a valid input is refused: ${error.message.slice(0, 300)}` });
    });
  }
  return problems;
}

/** Writes twenty of the inputs at most, to look at and to keep as cases. */
async function saveInputs(name: string, { tally, to }: { tally: Tally; to: string }): Promise<void> {
  await mkdir(to, { recursive: true });
  const valid = await validInputs(formats[name]!, { seed });
  for (const { input } of tally.problems.filter(({ input }) => input >= 0).slice(0, 20))
    await writeFile(
      join(to, `${name.replace(/\W+/g, '-')}-${seed}-${input}.bin`),
      inputOf(valid, { seed, number: input }),
    );
}
