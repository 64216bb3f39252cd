import type { OpenOptions } from './byte-source.ts';
import type { HubSource } from './hub-source.ts';

/** A model as its requests need it. */
export interface Repository {
  library: typeof import('@huggingface/hub');
  /** What every request to the library holds. */
  request: { repo: string; hubUrl: string; fetch: typeof fetch; accessToken?: string };
  /** Its folder in the cache. */
  folder: string;
}

/** What the Hub says of a file. */
export interface HubFile {
  /** Bytes. */
  size: number;
  /** Names its content: the SHA-256 of a large file, git's hash of a small one. */
  hash: string;
  algorithm: 'sha256' | 'sha1';
}

/** @throws when @huggingface/hub is not installed */
export async function openRepository({ hub, token, hubUrl }: HubSource, { signal }: OpenOptions): Promise<Repository> {
  const library = await importLibrary(hub);
  const { join } = await import('#node');
  const accessToken = token ?? process.env.HF_TOKEN;
  return {
    library,
    request: {
      repo: hub,
      hubUrl: (hubUrl ?? process.env.HF_ENDPOINT ?? library.HUB_URL).replace(/\/$/, ''),
      fetch: (input, init) => fetch(input, signal ? { ...init, signal } : init),
      ...(accessToken && { accessToken }),
    },
    folder: join(library.getHFHubCachePath(), library.getRepoFolderName({ type: 'model', name: hub })),
  };
}

async function importLibrary(id: string): Promise<Repository['library']> {
  try {
    return await import('@huggingface/hub');
  } catch (error) {
    throw new Error(
      `openTensors: expected the package @huggingface/hub for the Hub id '${id}', got none; npm install @huggingface/hub`,
      { cause: error },
    );
  }
}

/** No answer (what `fetch` throws), or one that says that the server is at fault. */
export function isUnreachable({ library }: Repository, error: unknown): boolean {
  if (error instanceof library.HubApiError) return error.statusCode >= 500;
  return error instanceof TypeError && error.cause !== undefined;
}

/** An error of the library in our words. */
export function hubError(
  { library, request }: Repository,
  error: unknown,
  { what, signal }: { what: string; signal?: AbortSignal | undefined },
): Error {
  if (signal?.aborted) return signal.reason;
  const cures: Record<number, string> = {
    401: 'check the id, and give token or HF_TOKEN if it is private',
    403: 'give a token that may read it, or accept its terms on the Hub',
    404: 'check the id and the revision',
  };
  const { message, cause } = error as Error;
  const [got, cure] =
    error instanceof library.HubApiError
      ? [`${error.statusCode} (${message})`, cures[error.statusCode]]
      : [cause instanceof Error && cause.message ? `'${cause.message}'` : `'${message}'`, 'check the connection'];
  return new Error(`openTensors: expected ${what} on ${request.hubUrl}, got ${got}; ${cure ?? 'try again later'}`, {
    cause: error,
  });
}
