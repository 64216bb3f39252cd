import type { ByteSource, OpenOptions } from './byte-source.ts';
import { MissingFile } from './missing-file.ts';
import { Final, retryOrThrow } from './retry.ts';

/** Bytes that are read past rather than asked for in a new request. */
const skipped = 2 ** 20;
/** Bytes between two failures that are then not in a row. */
const progressed = 2 ** 20;

/** A response's body, its chunk at hand and where in the file that starts. */
interface Stream {
  reader: ReadableStreamDefaultReader<Uint8Array>;
  start: number;
  chunk: Uint8Array;
}

/**
 * Opens a file of a web server. A server that knows ranges is read in pieces, in one request as long as the reads go forward; an
 * interrupted transfer goes on where it stopped. From another one the whole file is taken into memory, from the start again after
 * an interruption.
 *
 * @throws when there is no such file, the server cannot be reached, or the file changes between two requests
 */
export async function openHttp(url: URL, options: OpenOptions): Promise<ByteSource> {
  const name = url.href;
  const response = await request(name, { start: 0, options });
  if (response.status === 200) return wholeFile(name, response, options);
  const size = Number(
    /\/(\d+)$/.exec(response.headers.get('content-range') ?? '')?.[1] ?? response.headers.get('content-length'),
  );
  const validator = response.headers.get('etag') ?? response.headers.get('last-modified') ?? undefined;
  let stream: Stream | undefined = streamOf(response, 0);
  let loaded = 0;

  const drop = () => {
    void stream?.reader.cancel().catch(() => {});
    stream = undefined;
  };

  /** What is at hand from `position` on, one byte at least. */
  async function bytesAt(position: number): Promise<Uint8Array> {
    const ahead = stream ? position - stream.start : 0;
    if (stream && (ahead < 0 || ahead > stream.chunk.length + skipped)) drop();
    if (!stream) {
      const again = await request(name, { start: position, options, validator });
      if (again.status !== 206) {
        throw new Final(`openBytes: expected the same file at ${name} in every request, got another; load it again`);
      }
      stream = streamOf(again, position);
    }
    while (position >= stream.start + stream.chunk.length) {
      const { value, done } = await stream.reader.read();
      stream.start += stream.chunk.length;
      if (done) throw new Error(`${stream.start} of ${size} bytes`);
      stream.chunk = value;
      loaded = Math.min(size, loaded + value.length);
      options.onProgress?.({ file: name, loaded, total: size });
    }
    return stream.chunk.subarray(position - stream.start);
  }

  return {
    name,
    size,
    async read(start, end) {
      const bytes = new Uint8Array(end - start);
      let filled = 0;
      let failures = 0;
      let failedAt = 0;
      while (filled < bytes.length) {
        try {
          const chunk = (await bytesAt(start + filled)).subarray(0, bytes.length - filled);
          bytes.set(chunk, filled);
          filled += chunk.length;
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

async function request(
  name: string,
  { start, options, validator }: { start: number; options: OpenOptions; validator?: string | undefined },
): Promise<Response> {
  const headers: Record<string, string> = { Range: `bytes=${start}-` };
  if (validator && !validator.startsWith('W/')) headers['If-Range'] = validator;
  for (let failures = 1; ; failures++) {
    try {
      const response = await fetch(name, { headers, ...(options.signal && { signal: options.signal }) });
      if (response.ok) return response;
      const got = `${response.status} ${response.statusText}`.trim();
      const message = `openBytes: expected a file at ${name}, got ${got}; check the address`;
      if (response.status === 404) throw new MissingFile(message);
      throw response.status >= 500 ? new Error(message) : new Final(message);
    } catch (error) {
      await retryOrThrow(error, { failures, name, signal: options.signal });
    }
  }
}

async function wholeFile(name: string, first: Response, options: OpenOptions): Promise<ByteSource> {
  for (let failures = 1, response = first; ; failures++) {
    try {
      const bytes = await readBody(name, response, options);
      return {
        name,
        size: bytes.length,
        read: async (start, end) => bytes.subarray(start, end),
        close: async () => {},
      };
    } catch (error) {
      await retryOrThrow(error, { failures, name, signal: options.signal });
      response = await request(name, { start: 0, options });
    }
  }
}

async function readBody(name: string, response: Response, { onProgress }: OpenOptions): Promise<Uint8Array> {
  const total = Number(response.headers.get('content-length') ?? 0);
  const chunks: Uint8Array[] = [];
  let loaded = 0;
  for (const { reader } = streamOf(response, 0); ; ) {
    const { value, done } = await reader.read();
    if (done) break;
    chunks.push(value);
    loaded += value.length;
    onProgress?.({ file: name, loaded, total: Math.max(total, loaded) });
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
  return { reader: response.body!.getReader(), start, chunk: new Uint8Array(0) };
}
