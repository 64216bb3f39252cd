import { checkFields } from '@slimsam/weights';
import { SingleBar } from 'cli-progress';
import Table from 'cli-table3';
import pc from 'picocolors';

/** What a command tells: people read lines, tables and bars, programs read JSON. Progress goes to stderr, results to stdout. */
export interface Output {
  readonly json: boolean;
  /** A line of progress. */
  note(line: string): void;
  /** A line that warns. */
  warn(line: string): void;
  /** A result: its lines, or with --json the value in one line. */
  result(lines: string, value: unknown): void;
  /** A bar on a terminal; elsewhere a line now and then. */
  bar(name: string, total: number): Bar;
}

export interface Bar {
  update(done: number, rest?: string): void;
  stop(): void;
}

/** Colours for a terminal only: picocolors alone also writes them into the pipes and files of every CI machine (`CI` is set there). */
export function colours(stream: { readonly isTTY?: boolean }): ReturnType<typeof pc.createColors> {
  return pc.createColors(pc.isColorSupported && stream.isTTY === true);
}

/** Milliseconds between two lines where there is no terminal. */
const quiet = 20_000;

export function output(options: { readonly json: boolean }): Output {
  checkFields('output', options, { json: 'boolean' });
  const { json } = options;
  const note = (line: string) => void process.stderr.write(`${line}\n`);
  return {
    json,
    note,
    warn: (line) => note(colours(process.stderr).yellow(line)),
    result: (lines, value) => console.log(json ? JSON.stringify(value) : lines),
    bar: (name, total) => (process.stderr.isTTY ? terminalBar(name, total) : lineBar(name, total, note)),
  };
}

function terminalBar(name: string, total: number): Bar {
  const bar = new SingleBar({
    format: `${name.padEnd(26)} {bar} {value}/{total}  {eta} s left  {rest}`,
    stream: process.stderr,
  });
  bar.start(total, 0, { rest: '' });
  return { update: (done, rest = '') => bar.update(done, { rest }), stop: () => bar.stop() };
}

function lineBar(name: string, total: number, note: (line: string) => void): Bar {
  let told = performance.now();
  return {
    update(done, rest = '') {
      if (performance.now() - told < quiet) return;
      told = performance.now();
      note(`  ${name}: ${done} of ${total}${rest && `  ${rest}`}`);
    },
    stop() {},
  };
}

/** A table of text, without colour codes where stdout is no terminal. */
export function table(columns: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const style = colours(process.stdout).isColorSupported ? {} : { head: [], border: [] };
  const made = new Table({
    head: [...columns],
    style,
    colAligns: columns.map((_, i) => (typeof rows[0]?.[i] === 'number' ? 'right' : 'left')),
  });
  made.push(...rows.map((row) => row.map((cell) => (typeof cell === 'number' ? digits(cell) : cell))));
  return made.toString();
}

/** Thousands with commas, and four significant digits of small numbers. */
export function digits(value: number): string {
  if (Number.isInteger(value) || Math.abs(value) >= 1000) return Math.round(value).toLocaleString('en');
  return value.toPrecision(4);
}

/** Bytes in words: powers of 1024. */
export function bytes(count: number): string {
  for (const [unit, size] of [
    ['GiB', 2 ** 30],
    ['MiB', 2 ** 20],
    ['KiB', 2 ** 10],
  ] as const) {
    if (count >= size) return `${(count / size).toFixed(count >= 100 * size ? 0 : 1)} ${unit}`;
  }
  return `${count} bytes`;
}
