import type { Case, Pass } from '../cases/case.ts';

/** A case made ready on one backend. */
export interface Prepared {
  /** Computes so many times in a row, once unless given, and waits until all is done. */
  run(times?: number): Promise<void>;
  /** The results of the last run: the output, or the gradients of the inputs. */
  results(): Promise<Float32Array[]>;
  free(): void;
}

export interface Runner {
  readonly name: string;
  /** @throws when it cannot do the case, with the reason */
  prepare(one: Case, made: ReturnType<Case['make']>, pass: Pass): Promise<Prepared>;
}

/**
 * @throws when the largest tensor of a composition is more than a peer takes. Beyond what the adapter binds, those on WebGPU log an error
 * and go on with wrong numbers
 */
export function expectFits(largest: number, mostBytes: number): void {
  const bytes = largest * 4;
  if (bytes > mostBytes) throw new Error(`stores a tensor of ${bytes} bytes, more than the ${mostBytes} that it takes`);
}
