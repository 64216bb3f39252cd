import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { serializeSafetensors } from '../formats/safetensors.ts';
import { openTensors } from '../open-tensors.ts';
import type { Progress } from './byte-source.ts';

const big = Float32Array.from({ length: 300_000 }, (_, i) => i % 1000);
const small = Float32Array.of(1, 2, 3);
const bytes = serializeSafetensors({
  big: { dtype: 'F32', shape: [300_000], data: big },
  small: { dtype: 'F32', shape: [3], data: small },
});

let close = () => {};
afterEach(() => close());

/** Serves with a handler, on a free port. */
async function serve(handler: (request: IncomingMessage, response: ServerResponse) => void): Promise<string> {
  const server = createServer(handler).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  close = () => {
    server.closeAllConnections();
    server.close();
  };
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/model.safetensors`;
}

/** Answers a range request; `cut` ends the connection after so many bytes. */
function answerRange(request: IncomingMessage, response: ServerResponse, cut?: number): void {
  const start = Number(/bytes=(\d+)-/.exec(request.headers.range!)![1]);
  response.writeHead(206, {
    'content-range': `bytes ${start}-${bytes.length - 1}/${bytes.length}`,
    'content-length': bytes.length - start,
    etag: '"1"',
  });
  if (cut === undefined) response.end(bytes.subarray(start));
  else response.write(bytes.subarray(start, start + cut), () => response.destroy());
}

const bytesOf = ({ buffer, byteOffset, byteLength }: ArrayBufferView) => new Uint8Array(buffer, byteOffset, byteLength);

/** Whether each of the two tensors is what was served. */
const readBoth = async (address: string, options: Parameters<typeof openTensors>[1] = {}) => {
  const file = await openTensors(address, options);
  try {
    const read = [await file.read('big'), await file.read('small')];
    return read.map(({ data }, i) => Buffer.compare(bytesOf(data), bytesOf([big, small][i]!)) === 0);
  } finally {
    await file.close();
  }
};

test('a file is streamed with progress, in few requests', async () => {
  let requests = 0;
  const address = await serve((request, response) => {
    requests++;
    answerRange(request, response);
  });
  const seen: Progress[] = [];
  expect(await readBoth(address, { onProgress: (progress) => seen.push(progress) })).toEqual([true, true]);
  expect(requests).toBe(1);
  expect(seen.at(-1)).toEqual({ file: address, loaded: bytes.length, total: bytes.length });
});

test('an interrupted transfer goes on where it stopped', async () => {
  const starts: string[] = [];
  const address = await serve((request, response) => {
    starts.push(request.headers.range!);
    answerRange(request, response, starts.length > 2 ? undefined : 250_000);
  });
  expect(await readBoth(address)).toEqual([true, true]);
  expect(new Set(starts).size).toBe(3);
});

test('a server without ranges: the whole file, again after an interruption', async () => {
  let requests = 0;
  const address = await serve((_, response) => {
    response.writeHead(200, { 'content-length': bytes.length });
    if (++requests > 1) response.end(bytes);
    else response.write(bytes.subarray(0, 1000), () => response.destroy());
  });
  const seen: Progress[] = [];
  expect(await readBoth(address, { onProgress: (progress) => seen.push(progress) })).toEqual([true, true]);
  expect(requests).toBe(2);
  expect(seen.at(-1)).toEqual({ file: address, loaded: bytes.length, total: bytes.length });
});

test('never a half file: a transfer that keeps breaking, a file that changes, one that is missing', async () => {
  const broken = await serve((request, response) => answerRange(request, response, 100));
  await expect(readBoth(broken)).rejects.toThrow(
    /^openBytes: expected the file at http.*, got .* 4 times; try again later$/,
  );
  close();
  let requests = 0;
  const changed = await serve((request, response) => {
    if (++requests === 1) answerRange(request, response, 100_000);
    else response.writeHead(200).end(bytes);
  });
  await expect(readBoth(changed)).rejects.toThrow('expected the same file');
  close();
  const missing = await serve((_, response) => response.writeHead(404).end());
  await expect(readBoth(missing)).rejects.toThrow(`openBytes: expected a file at ${missing}, got 404 Not Found`);
});

test('a signal stops it', async () => {
  const address = await serve(answerRange);
  await expect(readBoth(address, { signal: AbortSignal.abort(new Error('enough')) })).rejects.toThrow('enough');
});

const quick = { timeout: 500 }; // long enough for a busy machine's server

test('a range that starts elsewhere, another size and another version are refused, not read', async () => {
  const lies: [string, (start: number) => Record<string, string>, string][] = [
    ['start', () => ({ 'content-range': `bytes 0-${bytes.length - 1}/${bytes.length}` }), 'the range'],
    [
      'total',
      (start) => ({ 'content-range': `bytes ${start}-${bytes.length}/${bytes.length + (start > 0 ? 1 : 0)}` }),
      'the range',
    ],
    [
      'etag',
      (start) => ({ 'content-range': `bytes ${start}-${bytes.length - 1}/${bytes.length}`, etag: `"${start}"` }),
      'the same file',
    ],
    ['no range', () => ({}), "the range 'none'"],
  ];
  for (const [, headers, message] of lies) {
    let requests = 0;
    const address = await serve((request, response) => {
      const start = Number(/bytes=(\d+)-/.exec(request.headers.range!)![1]);
      response.writeHead(206, headers(start));
      const part = bytes.subarray(start);
      if (++requests === 1) response.write(part.subarray(0, 200_000), () => response.destroy());
      else response.end(part);
    });
    await expect(readBoth(address, quick)).rejects.toThrow(message);
    close();
  }
});

test('a server that stalls is given up after the time asked for, tried again, and named', async () => {
  const silent = await serve(() => {});
  await expect(readBoth(silent, quick)).rejects.toThrow(
    `openBytes: expected the file at ${silent}, got 'nothing for 0.5 s' 4 times; try again later`,
  );
  close();
  let requests = 0;
  const address = await serve((request, response) => {
    if (++requests > 1) return answerRange(request, response);
    response.writeHead(206, { 'content-range': `bytes 0-${bytes.length - 1}/${bytes.length}`, etag: '"1"' });
    response.write(bytes.subarray(0, 1000)); // and no more
  });
  expect(await readBoth(address, quick)).toEqual([true, true]);
  expect(requests).toBe(2);
});

test('a claimed size is not reserved before its bytes come', async () => {
  const claimed = 4 * 2 ** 30;
  const header = JSON.stringify({ big: { dtype: 'U8', shape: [claimed], data_offsets: [0, claimed] } });
  const start = Buffer.alloc(8 + header.length);
  start.writeBigUInt64LE(BigInt(header.length));
  start.write(header, 8);
  const size = start.length + claimed;
  const address = await serve((request, response) => {
    const at = Number(/bytes=(\d+)-/.exec(request.headers.range!)![1]);
    response.writeHead(206, { 'content-range': `bytes ${at}-${size - 1}/${size}` });
    response.end(start.subarray(at));
  });
  const before = process.memoryUsage().arrayBuffers;
  const file = await openTensors(address, quick);
  const reading = file.read('big');
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(100e6);
  await expect(reading).rejects.toThrow('4 times; try again later');
});

test('answers without content, and redirects out of the web, are refused at once', async () => {
  let requests = 0;
  const empty = await serve((_, response) => {
    requests++;
    response.writeHead(204).end();
  });
  await expect(readBoth(empty)).rejects.toThrow(`expected a file at ${empty}, got 204 No Content; check the address`);
  expect(requests).toBe(1);
  close();
  const outside = await serve((_, response) => {
    requests++;
    response.writeHead(302, { location: 'file:///etc/passwd' }).end();
  });
  await expect(readBoth(outside)).rejects.toThrow(/^openBytes: expected a file at http.*; check the address$/);
  expect(requests).toBe(2);
});

test('a user and a password in the address are sent, and shown nowhere', async () => {
  const address = await serve((request, response) => {
    if (request.headers.authorization !== `Basic ${btoa('me:se cret')}`) response.writeHead(401).end();
    else answerRange(request, response);
  });
  const withUser = (user: string) => address.replace('http://', `http://${user}@`);
  expect(await readBoth(withUser('me:se%20cret'))).toEqual([true, true]);
  const error: Error = await readBoth(withUser('me:hidden')).then(
    () => expect.unreachable(),
    (reason) => reason,
  );
  expect(error.message).toBe(`openBytes: expected a file at ${address}, got 401 Unauthorized; check the address`);
});
