import type { OpenOptions } from './byte-source.ts';

const defaultTimeout = 30_000;

/** The address without user and password, for requests and errors. */
export function nameOf(url: URL): string {
  if (url.username === '' && url.password === '') return url.href;
  const bare = new URL(url);
  bare.username = '';
  bare.password = '';
  return bare.href;
}

/** Headers for the user and password of an address; `fetch` takes none inside it, and drops them when it is led to another host. */
export function authorizationOf({ username, password }: URL): Record<string, string> {
  if (username === '' && password === '') return {};
  const bytes = new TextEncoder().encode(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`);
  return { Authorization: `Basic ${btoa(String.fromCharCode(...bytes))}` };
}

/** Waits for a promise as long as a server may be silent. @throws an error that is worth another attempt */
export async function deadline<T>(promise: Promise<T>, { timeout = defaultTimeout }: OpenOptions): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const silence = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`nothing for ${timeout / 1000} s`)), timeout);
  });
  try {
    return await Promise.race([promise, silence]);
  } finally {
    clearTimeout(timer);
  }
}
