import type { Random } from './random.ts';

/** A kind of input from outside: how a valid one is made, and the call that reads it. */
export interface Format {
  /** A small valid input. */
  readonly valid: (random: Random) => Promise<Uint8Array>;
  /** Reads one, in a folder of its own. Throws for what is wrong. */
  readonly read: (bytes: Uint8Array, folder: string) => Promise<void>;
}

export const utf8 = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));

export function json(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    throw new Error('JSON.parse: expected JSON, got other text'); // the caller's own reading
  }
}

export const ramp = (length: number): Float32Array => Float32Array.from({ length }, (_, i) => Math.sin(i));
