import { printable } from '../formats/printable.ts';
import { MissingFile } from './missing-file.ts';

/** Failures in a row that are one too many. */
const attempts = 4;

/** Thrown on at once: another attempt would end the same. */
export class Final extends Error {}

/** Waits before another attempt: 0.1, 0.2, 0.4 s. @throws the error when it is final, the signal is aborted, or it is the fourth in a row */
export async function retryOrThrow(
  error: unknown,
  { failures, name, signal }: { failures: number; name: string; signal: AbortSignal | undefined },
): Promise<void> {
  if (error instanceof Final || error instanceof MissingFile || signal?.aborted) throw error;
  if (failures >= attempts) {
    const { message, cause } = error as Error;
    if (message.startsWith('openBytes')) throw error;
    const got = cause instanceof Error && cause.message ? cause.message : message;
    const text = `openBytes: expected the file at ${name}, got '${got}' ${attempts} times; try again later`;
    throw new Error(printable(text), {
      cause: error,
    });
  }
  await new Promise((resolve) => setTimeout(resolve, 50 * 2 ** failures));
}
