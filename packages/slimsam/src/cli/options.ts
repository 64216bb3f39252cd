import path from 'node:path';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { backends } from '../backend/open-backend.ts';

/** A path of the command line, absolute, so that an error says where it was looked for. */
export function userPath(text: string): string {
  return path.resolve(text);
}

/** The paths of an option that takes several. */
export function userPaths(text: string, before: readonly string[] = []): string[] {
  return [...before, userPath(text)];
}

/** Parses an option that counts something. */
export function positiveInteger(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) throw new InvalidArgumentError('expected a positive integer.');
  return value;
}

/** Parses an option that may be any whole number from 0. */
export function naturalNumber(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isSafeInteger(value) || value < 0)
    throw new InvalidArgumentError('expected a whole number, 0 or more.');
  return value;
}

/** Parses a number above 0. */
export function positiveNumber(text: string): number {
  const value = Number(text);
  if (!(value > 0 && value < Number.POSITIVE_INFINITY)) throw new InvalidArgumentError('expected a number above 0.');
  return value;
}

/** Parses a probability. */
export function probability(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !(value >= 0 && value <= 1)) throw new InvalidArgumentError('expected a number in [0, 1].');
  return value;
}

/** Parses a seed; the upper bound keeps the sets of scenes of all programs apart. */
export function seedNumber(text: string): number {
  const value = naturalNumber(text);
  if (value >= 1_000_000) throw new InvalidArgumentError('expected less than 1,000,000.');
  return value;
}

/** Parses a pruning ratio: the share of channels to remove. */
export function pruningRatio(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !(value >= 0 && value < 1)) throw new InvalidArgumentError('expected a number in [0, 1).');
  return value;
}

/** Parses pruning ratios with commas between them; twice the same is one. */
export const ratioList = (text: string): number[] => [...new Set(text.split(',').map(pruningRatio))];

const magnitudes: Readonly<Record<string, number>> = { '': 1, k: 1e3, m: 1e6, g: 1e9, b: 1e9, t: 1e12 };

/** Parses a large count: 9100000, 9.1M, 23G. */
export function largeCount(text: string): number {
  const found = /^([\d.]+)\s*([kmgbt]?)$/i.exec(text.trim());
  const value = Number(found?.[1]) * (magnitudes[found?.[2]?.toLowerCase() ?? ''] ?? Number.NaN);
  if (!(value > 0)) throw new InvalidArgumentError('expected a count like 9100000, 9.1M or 23G.');
  return Math.round(value);
}

/** Parses bytes: 16GiB, 800MB, 4G. */
export function byteCount(text: string): number {
  const found = /^([\d.]+)\s*([kmgt])?(i)?b?$/i.exec(text.trim());
  const power = { k: 1, m: 2, g: 3, t: 4 }[(found?.[2] ?? '').toLowerCase()] ?? 0;
  const value = Number(found?.[1]) * (found?.[3] ? 1024 : 1000) ** power;
  if (!(value > 0)) throw new InvalidArgumentError('expected bytes like 16GiB or 800MB.');
  return Math.floor(value);
}

/** Parses numbers with commas between them. */
export function numbers(count: number): (text: string) => number[] {
  return (text) => {
    const values = text.split(',').map((part) => (part.trim() === '' ? Number.NaN : Number(part)));
    if (values.length === count && values.every(Number.isFinite)) return values;
    throw new InvalidArgumentError(`expected ${count} numbers with commas between them.`);
  };
}

/** Adds values of an option that may be repeated. */
export function repeated<T>(parse: (text: string) => T): (text: string, before: readonly T[] | undefined) => T[] {
  return (text, before) => [...(before ?? []), parse(text)];
}

/** Parsers of options for commander. */
export const parse: {
  readonly path: typeof userPath;
  readonly paths: typeof userPaths;
  readonly positiveInteger: typeof positiveInteger;
  readonly ratio: typeof pruningRatio;
  readonly seed: typeof seedNumber;
} = { path: userPath, paths: userPaths, positiveInteger, ratio: pruningRatio, seed: seedNumber };

/** What every command takes. */
export interface CommonOptions {
  readonly backend: string;
  readonly json: boolean;
  readonly decoderHeads?: number;
}

/** What commands take that work in a run folder. */
export interface RunFolderOptions {
  readonly validate?: string;
  readonly seed: number;
  readonly run: string;
}

/**
 * Adds the options of commands that work in a run folder.
 *
 * @param texts what `--validate` does, what the seed is of, and the folder where none is given
 */
export function inRunFolder(
  command: Command,
  texts: { readonly validate: string; readonly seed: string; readonly run: string },
): Command {
  return command
    .option('--validate <folder>', `images with masks in SA-1B's format: ${texts.validate}`, userPath)
    .option('--seed <n>', texts.seed, seedNumber, 1)
    .option('--run <folder>', 'where everything goes; the same command goes on in it', userPath, userPath(texts.run));
}

/** Adds the options that every command takes, and an example. */
export function common(command: Command, example: string): Command {
  return command
    .addOption(new Option('--backend <name>', 'what computes').choices([...backends]).default('webgpu'))
    .option('--decoder-heads <n>', 'of a SAM whose file does not say and that is not as wide as SAM', positiveInteger)
    .option('--json', 'the result as JSON, for programs', false)
    .addHelpText('after', `\nExample:\n  ${example}`);
}
