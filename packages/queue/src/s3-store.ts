import { createWriteStream, openAsBlob } from 'node:fs';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { S3mini } from 's3mini';
import { checkKey, type Store } from 'slimsam/jobs';

/** Milliseconds before another try of what failed for a moment, and how often. */
const waits = [200, 1_000, 5_000];

/**
 * A store in a bucket of S3, or of what speaks it.
 *
 * @param location `s3://BUCKET/PREFIX?endpoint=https://HOST&region=NAME`; the keys are in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY
 * @throws when it is out of reach, refuses the keys, or has no such bucket
 */
export async function openS3Store(location: string): Promise<Store> {
  if (typeof location !== 'string')
    throw new Error(`--store: expected s3://BUCKET/PREFIX?endpoint=https://HOST, got ${typeof location}`);
  const { bucket, prefix, endpoint, region } = parse(location);
  const { AWS_ACCESS_KEY_ID: accessKeyId = '', AWS_SECRET_ACCESS_KEY: secretAccessKey = '' } = process.env;
  const shown = `s3://${bucket}${prefix && `/${prefix.slice(0, -1)}`} at ${endpoint}`;
  if (!accessKeyId || !secretAccessKey)
    throw new Error(
      `--store: expected AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment for ${shown}, got none`,
    );
  const options = { accessKeyId, secretAccessKey, endpoint: `${endpoint}/${bucket}`, region };
  const s3 = new S3mini(options);
  // where S3 knows conditional writes, the first of two writers wins; elsewhere the second one writes the same again
  const once = new S3mini({
    ...options,
    fetch: (address, init) => fetch(address, { ...init, headers: { ...headersOf(init), 'if-none-match': '*' } }),
  });
  const at = (key: string) => `${prefix}${checkKey(key)}`;
  const attempt = <T>(what: string, action: () => Promise<T>, tries = waits.length) =>
    retried(action, { tries, asError: (cause) => failure(cause, { what, shown }) });

  // a wrong address is told at once
  const found = await attempt('to be reached', () => s3.listObjects('/', `${prefix}nothing/`, 1), 1);
  if (found === null) throw new Error(`store: expected ${shown} to be a bucket, got none; make it first`);
  const store: Store = {
    location: shown,
    has: async (key) => attempt(`to tell of '${key}'`, async () => (await s3.objectExists(at(key))) === true),
    async read(key) {
      const bytes = await attempt(`to give '${key}'`, () => s3.getObjectArrayBuffer(at(key)));
      return bytes ? new Uint8Array(bytes) : undefined;
    },
    readFile: async (key, file) =>
      attempt(`to give '${key}'`, async () => {
        const response = await s3.getObjectResponse(at(key));
        if (!response?.body) return false;
        await pipeline(Readable.from(response.body), createWriteStream(file));
        return true;
      }),
    async create(key, content) {
      if (await store.has(key)) return false;
      return attempt(`to keep '${key}'`, async () => {
        const body = 'file' in content ? await openAsBlob(content.file) : content;
        try {
          await (body instanceof Blob ? once.putAnyObject(at(key), body) : once.putObject(at(key), body));
          return true;
        } catch (error) {
          if (statusOf(error) === 412 || statusOf(error) === 409) return false; // another one was first
          throw error;
        }
      });
    },
    async *list(start) {
      let token: string | undefined;
      do {
        const page = await attempt(`to list '${start}'`, () =>
          s3.listObjectsPaged('/', `${prefix}${start}`, 1000, token),
        );
        for (const { Key, Size, LastModified } of page?.objects ?? []) {
          yield { key: Key.slice(prefix.length), bytes: Number(Size), modified: new Date(LastModified).getTime() };
        }
        token = page?.nextContinuationToken;
      } while (token);
    },
    remove: async (key) => attempt(`to remove '${key}'`, async () => void (await s3.deleteObject(at(key)))),
  };
  return store;
}

function parse(location: string): { bucket: string; prefix: string; endpoint: string; region: string } {
  const expected = '--store: expected s3://BUCKET/PREFIX?endpoint=https://HOST';
  const { protocol, hostname, pathname, searchParams } = new URL(URL.canParse(location) ? location : 'none:');
  const region = searchParams.get('region') ?? process.env.AWS_REGION ?? 'us-east-1';
  const given = searchParams.get('endpoint') ?? process.env.AWS_ENDPOINT_URL ?? `https://s3.${region}.amazonaws.com`;
  const prefix = pathname.replace(/^\/+|\/+$/g, '');
  if (protocol !== 's3:' || hostname === '' || !/^[\w./-]*$/.test(prefix) || !/^https?:\/\/[^/@]+(\/|$)/.test(given))
    throw new Error(`${expected}, got '${location.replace(/\/\/[^/]*@/g, '//…@')}'`);
  return { bucket: hostname, prefix: prefix && `${prefix}/`, endpoint: given.replace(/\/+$/, ''), region };
}

const headersOf = (init: RequestInit | undefined): Record<string, string> =>
  Object.fromEntries(new Headers(init?.headers));

const statusOf = (error: unknown): number | undefined =>
  error instanceof Error && 'status' in error && typeof error.status === 'number' ? error.status : undefined;

/** Tries again what failed on the way, or by the server's fault; not what was refused. */
async function retried<T>(
  action: () => Promise<T>,
  { tries: most, asError }: { readonly tries: number; readonly asError: (cause: unknown) => Error },
): Promise<T> {
  for (let tries = 0; ; tries++) {
    try {
      return await action();
    } catch (error) {
      const status = statusOf(error);
      const refused = status !== undefined && status !== 429 && (status < 500 || status === 507);
      const wait = tries < most ? waits[tries] : undefined;
      if (refused || wait === undefined) throw asError(error);
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }
}

function failure(cause: unknown, { what, shown }: { what: string; shown: string }): Error {
  const status = statusOf(cause);
  const code = cause instanceof Error && 'serviceCode' in cause ? String(cause.serviceCode ?? '') : '';
  const message = cause instanceof Error ? [cause.message, ...reasons(cause)].join(': ') : String(cause);
  const cures: readonly [boolean, string][] = [
    [
      status === 507 || /quota|storage.?full|insufficient.?storage/i.test(code),
      "; the store is full: 'slimsam store gc' frees some",
    ],
    [/TimeTooSkewed/i.test(code + message), "; set this machine's clock"],
    [status === 401 || status === 403, '; see to AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and what they may do'],
  ];
  const cure = cures.find(([fits]) => fits)?.[1] ?? '';
  return new Error(`store: expected ${shown} ${what}, got ${message.replace(/\s+/g, ' ').slice(0, 300)}${cure}`, {
    cause,
  });
}

const reasons = (error: Error): string[] => {
  const { cause } = error;
  return cause instanceof Error && cause.message ? [cause.message] : [];
};
