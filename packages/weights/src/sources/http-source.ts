import { printable } from '../formats/printable.ts';
import type { ByteSource, OpenOptions } from './byte-source.ts';
import { MissingFile } from './missing-file.ts';
import { authorizationOf, deadline, nameOf } from './request-parts.ts';
import { Final, retryOrThrow } from './retry.ts';

/** Bytes that are read past rather than asked for in a new request. */
const skipped = 2 ** 20;
/** Bytes between two failures that are then not in a row. */
const progressed = 2 ** 20;
/** Bytes that are reserved before any of them has come: a server may claim any size. */
const reserved = 2 ** 26;

/** A response's body, its chunk at hand and where in the file that starts. */
interface Stream {
  reader: ReadableStreamDefaultReader<Uint8Array>;
  start: number;
  chunk: Uint8Array;
}

/** What every answer about a file must agree on. */
interface Identity {
  /** Bytes. */
  readonly size: number;
  readonly etag: string | null;
  readonly modified: string | null;
}

/**
 * Opens a file of a web server. A server that knows ranges is read in pieces, in one request as long as the reads go forward; an
 * interrupted transfer goes on where it stopped, if the server says that the file is still the same. From another one the whole file is
 * taken into memory, from the start again after an interruption. A user and a password in the address are sent as such and never shown.
 *
 * @throws when there is no such file, the server cannot be reached, stalls or contradicts itself, or the file changes meanwhile
 */
export async function openHttp(url: URL, options: OpenOptions): Promise<ByteSource> {
  const name = nameOf(url);
  const { response, stop } = await request(url, { start: 0, options });
  if (response.status === 200) return wholeFile(url, { response, stop, options });
  const identity = identityOf(name, response, 0);
  const { size } = identity;
  let open: { stream: Stream; stop: () => void } | undefined = { stream: streamOf(response, 0), stop };
  let loaded = 0;

  const drop = () => {
    open?.stop();
    void open?.stream.reader.cancel().catch(() => {});
    open = undefined;
  };

  /** What is at hand from `position` on, one byte at least. */
  async function bytesAt(position: number): Promise<Uint8Array> {
    const ahead = open ? position - open.stream.start : 0;
    if (open && (ahead < 0 || ahead > open.stream.chunk.length + skipped)) drop();
    if (!open) {
      const again = await request(url, { start: position, options, identity });
      open = { stream: streamOf(again.response, position), stop: again.stop };
      if (again.response.status !== 206 || !sameFile(identity, identityOf(name, again.response, position))) {
        drop();
        throw new Final(`openBytes: expected the same file at ${name} in every request, got another; load it again`);
      }
    }
    const { stream } = open;
    while (position >= stream.start + stream.chunk.length) {
      const { value, done } = await deadline(stream.reader.read(), options);
      stream.start += stream.chunk.length;
      if (done) throw new Error(`${stream.start} of ${size} bytes`);
      if (stream.start + value.length > size) {
        drop();
        throw new Final(`openBytes: expected ${size} bytes at ${name}, as the server says, got more; try again later`);
      }
      stream.chunk = value;
      loaded = Math.min(size, loaded + value.length);
      options.onProgress?.({ file: name, loaded, total: size });
    }
    return stream.chunk.subarray(position - stream.start);
  }

  return {
    name,
    size,
    overlaps: false,
    async read(start, end) {
      let bytes = new Uint8Array(Math.min(end - start, reserved));
      let filled = 0;
      let failures = 0;
      let failedAt = 0;
      while (filled < end - start) {
        try {
          const chunk = (await bytesAt(start + filled)).subarray(0, end - start - filled);
          if (filled + chunk.length > bytes.length) bytes = grown(bytes, filled, end - start);
          bytes.set(chunk.subarray(0, bytes.length - filled), filled);
          filled += Math.min(chunk.length, bytes.length - filled);
        } catch (error) {
          drop();
          failures = filled - failedAt >= progressed ? 1 : failures + 1;
          failedAt = filled;
          await retryOrThrow(error, { failures, name, signal: options.signal });
        }
      }
      return bytes;
    },
    close: async () => drop(),
  };
}

/** The first `filled` bytes in an array of twice the length, at most `most`. */
function grown(bytes: Uint8Array<ArrayBuffer>, filled: number, most: number): Uint8Array<ArrayBuffer> {
  const larger = new Uint8Array(Math.min(most, bytes.length * 2));
  larger.set(bytes.subarray(0, filled));
  return larger;
}

/** What a partial answer says of the file. @throws when it does not start where it was asked to, or its size is missing */
function identityOf(name: string, { headers }: Response, start: number): Identity {
  const range = headers.get('content-range') ?? 'none';
  const [, first, last, total] = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(range) ?? [];
  const size = Number(total);
  const whole = Number(first) === start && Number(last) === size - 1 && Number.isSafeInteger(size);
  if (!whole) {
    const message = `openBytes: expected 'bytes ${start}-' to the end at ${name}, got the range '${range}'; try again later`;
    throw new Final(printable(message));
  }
  return { size, etag: headers.get('etag'), modified: headers.get('last-modified') };
}

function sameFile(a: Identity, b: Identity): boolean {
  return a.size === b.size && a.etag === b.etag && a.modified === b.modified;
}

async function request(
  url: URL,
  { start, options, identity }: { start: number; options: OpenOptions; identity?: Identity },
): Promise<{ response: Response; stop: () => void }> {
  const name = nameOf(url);
  const headers: Record<string, string> = { Range: `bytes=${start}-`, ...authorizationOf(url) };
  const validator = identity?.etag ?? identity?.modified;
  if (validator && !validator.startsWith('W/')) headers['If-Range'] = validator;
  for (let failures = 1; ; failures++) {
    const stopper = new AbortController();
    const stop = () => stopper.abort();
    const signal = options.signal ? AbortSignal.any([options.signal, stopper.signal]) : stopper.signal;
    try {
      const response = await deadline(fetch(name, { headers, signal }), options);
      if (response.status === 200 || response.status === 206) return { response, stop };
      const got = printable(`${response.status} ${response.statusText}`.trim());
      const message = `openBytes: expected a file at ${name}, got ${got}; check the address`;
      if (response.status === 404) throw new MissingFile(message);
      throw response.status >= 500 || response.status === 429 ? new Error(message) : new Final(message);
    } catch (error) {
      stop();
      await retryOrThrow(lastingRefusal(name, error) ?? error, { failures, name, signal: options.signal });
    }
  }
}

/** `fetch` itself refuses (another protocol behind a redirect, a port that it bars): no trouble of the network, which has a code. */
function lastingRefusal(name: string, error: unknown): Final | undefined {
  if (!(error instanceof TypeError) || !(error.cause instanceof Error) || 'code' in error.cause) return undefined;
  return new Final(
    printable(`openBytes: expected a file at ${name}, got '${error.cause.message}'; check the address`),
    { cause: error },
  );
}

async function wholeFile(
  url: URL,
  first: { response: Response; stop: () => void; options: OpenOptions },
): Promise<ByteSource> {
  const name = nameOf(url);
  const { options } = first;
  let { response, stop } = first;
  for (let failures = 1; ; failures++) {
    try {
      const bytes = await readBody(name, response, options);
      return {
        name,
        size: bytes.length,
        overlaps: false,
        read: async (start, end) => bytes.subarray(start, end),
        close: async () => {},
      };
    } catch (error) {
      stop();
      await retryOrThrow(error, { failures, name, signal: options.signal });
      ({ response, stop } = await request(url, { start: 0, options }));
    }
  }
}

/** @throws when fewer bytes come than the server says, which `fetch` notices by itself but for encoded bodies */
async function readBody(name: string, response: Response, options: OpenOptions): Promise<Uint8Array> {
  const total = Number(response.headers.get('content-length') ?? 0);
  const chunks: Uint8Array[] = [];
  let loaded = 0;
  for (const { reader } = streamOf(response, 0); ; ) {
    const { value, done } = await deadline(reader.read(), options);
    if (done) break;
    chunks.push(value);
    loaded += value.length;
    options.onProgress?.({ file: name, loaded, total: Math.max(total, loaded) });
  }
  const bytes = new Uint8Array(loaded);
  let end = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, end);
    end += chunk.length;
  }
  return bytes;
}

function streamOf(response: Response, start: number): Stream {
  if (!response.body) throw new Error('an answer without a body');
  return { reader: response.body.getReader(), start, chunk: new Uint8Array(0) };
}
