import path from 'node:path';
import { InvalidArgumentError } from 'commander';

/** Parses an option that counts something. */
export function positiveInteger(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) throw new InvalidArgumentError('expected a positive integer.');
  return value;
}

/** Parses an option that may be any whole number from 0. */
export function naturalNumber(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0) throw new InvalidArgumentError('expected a whole number, 0 or more.');
  return value;
}

/** Parses a folder: relative to where the user is, also when npm runs the program from the repository's root. */
export function folderPath(text: string): string {
  return path.resolve(process.env.INIT_CWD ?? '.', text);
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
