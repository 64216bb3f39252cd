import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { serializeSafetensors } from '../formats/safetensors.ts';
import { openTensors } from '../tensor-file.ts';
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
