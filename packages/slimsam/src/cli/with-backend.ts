import { openBackend } from '../backend/open-backend.ts';
import type { CommonOptions } from './options.ts';
import { type Output, output } from './output.ts';

/** What a command works with. */
export interface Session extends Output {
  /** What computes. */
  readonly adapter: string;
  readonly signal: AbortSignal;
}

/** Opens the backend for a command and lets go of it at the end, however that comes. */
export async function withBackend(
  { backend: name, json }: CommonOptions,
  signal: AbortSignal,
  run: (session: Session) => Promise<void>,
): Promise<void> {
  const backend = await openBackend(name);
  if (backend.reason) console.error(`--backend auto: ${backend.reason}`); // stdout may be JSON
  try {
    await run({ ...output({ json }), adapter: backend.adapter, signal });
  } finally {
    backend.close();
  }
}
