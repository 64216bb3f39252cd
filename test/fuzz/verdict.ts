/** Seconds that any input may take. */
export const mostSeconds = 2;
/** A reading that uses less of its time than this share waits for something; one that competes with a busy machine gets more. */
const waitingShare = 0.05;
/** Bytes beside twice the input. */
const mostBytes = 200e6;

/** A child's messages. */
export type Told =
  | { readonly begun: number }
  | { readonly ended: number; readonly refused: boolean; readonly slow: boolean; readonly problems: readonly string[] };

/** One reading of one input. */
export interface Reading {
  /** The error's message; undefined when it was read. */
  readonly refused: string | undefined;
  readonly seconds: number;
  /** Seconds of processor time, of all threads. */
  readonly processor: number;
  /** Bytes. */
  readonly grown: number;
  /** Of the input, bytes. */
  readonly size: number;
  /** Tensors that stayed. */
  readonly leaked: number;
}

/** What no error may say: it would be an accident, not a check. */
const accidents =
  /undefined|Invalid typed array length|call stack|Invalid string length|is not a function|is not iterable|Cannot (read propert|destructure|convert|mix)|out of memory|Array buffer allocation|RangeError|TypeError|\[object Object\]/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const control = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/;

/**
 * Whether a reading takes too long by itself: other programs lengthen its time, not its processor time. What waits without using any is
 * slow too.
 */
export function isSlow({ seconds, processor }: Reading): boolean {
  return seconds > mostSeconds && (processor > mostSeconds || processor < waitingShare * seconds);
}

/** What is wrong with a reading, in words; empty when nothing is. */
export function wordsOf(reading: Reading): string[] {
  const { refused, seconds, processor, grown, size, leaked } = reading;
  const problems: string[] = [];
  if (isSlow(reading)) problems.push(`${seconds.toFixed(1)} s, ${processor.toFixed(1)} s of processor time`);
  if (grown > 2 * size + mostBytes) problems.push(`${(grown / 1e6).toFixed(0)} MB for ${size} bytes`);
  if (leaked !== 0) problems.push(`${leaked} tensors stayed`);
  if (refused === undefined) return problems;
  const text = refused.slice(0, 200);
  if (accidents.test(refused)) problems.push(`an accident: ${text}`);
  if (control.test(refused)) problems.push(`control characters: ${JSON.stringify(text)}`);
  if (!/expected/.test(refused)) problems.push(`no word of what was expected: ${text}`);
  if (refused.length > 5000) problems.push(`${refused.length} letters`);
  return problems;
}
