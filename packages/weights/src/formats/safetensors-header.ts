import { isHtml } from './html.ts';
import { printable } from './printable.ts';
import type { RawTensor } from './raw-tensor.ts';
import { scanHeader } from './scan-header.ts';

/** Bytes of one element. */
export const elementBytes: Readonly<Record<RawTensor['dtype'], number>> = {
  F64: 8,
  I64: 8,
  F32: 4,
  I32: 4,
  F16: 2,
  BF16: 2,
  U8: 1,
  BOOL: 1,
};

/** Bytes of a header; the limit of the safetensors library. */
export const longestHeader = 100_000_000;

/** Where a tensor lies: bytes [start, end) after the header. */
export interface Entry {
  name: string;
  dtype: RawTensor['dtype'];
  shape: number[];
  start: number;
  end: number;
}

/**
 * Reads and checks everything before the data.
 *
 * @param bytes the file, or its start up to the data
 * @param size of the file, bytes
 */
export function parseHeader(
  bytes: Uint8Array,
  source: string,
  size: number = bytes.length,
): { entries: Entry[]; metadata: Record<string, string>; dataStart: number } {
  const json = headerJson(bytes, source);
  const dataStart = 8 + headerLength(bytes, source);
  let metadata: Record<string, string> = {};
  const entries: Entry[] = [];
  for (const [name, value] of Object.entries(json)) {
    if (name === '__metadata__') metadata = checkMetadata(value, source);
    else entries.push(checkEntry(name, value, source));
  }
  checkOffsets(entries, size - dataStart, source);
  return { entries, metadata, dataStart };
}

function fail(source: string, expected: string, got: string): never {
  throw new Error(printable(`parseSafetensors: expected ${expected} in ${source}, got ${got}`));
}

function headerLength(bytes: Uint8Array, source: string): number {
  if (isHtml(bytes)) fail(source, 'safetensors', 'an HTML page, as servers send for addresses that they do not know');
  if (startsWith(bytes, 'version https://git-lfs'))
    fail(source, 'safetensors', 'a pointer of Git LFS; get the file itself by `git lfs pull`');
  if (bytes.length < 8) fail(source, 'at least the 8 bytes of the header length', `${bytes.length}; truncated?`);
  const length = new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true);
  if (length > BigInt(bytes.length - 8)) {
    fail(source, `a header of at most ${bytes.length - 8} bytes`, `${length}; truncated, or not a safetensors file`);
  }
  if (length > longestHeader) fail(source, `a header of at most ${longestHeader} bytes`, `${length}`);
  return Number(length);
}

const startsWith = (bytes: Uint8Array, text: string): boolean =>
  new TextDecoder().decode(bytes.subarray(0, text.length)) === text;

function headerJson(bytes: Uint8Array, source: string): Record<string, unknown> {
  const header = bytes.subarray(8, 8 + headerLength(bytes, source));
  let text: string;
  let json: unknown;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(header);
  } catch {
    return fail(source, 'a JSON header', 'bytes that are not UTF-8');
  }
  const problem = scanHeader(text);
  if (problem) fail(source, problem.expected, problem.got);
  try {
    json = JSON.parse(text);
  } catch (error) {
    return fail(source, 'a JSON header', `'${error instanceof Error ? error.message : error}'`);
  }
  if (!isRecord(json)) return fail(source, 'a JSON object as header', `'${text.slice(0, 20)}'`);
  return json;
}

function checkMetadata(value: unknown, source: string): Record<string, string> {
  if (!isRecord(value) || Object.values(value).some((text) => typeof text !== 'string')) {
    fail(source, '__metadata__ as an object of strings', short(value));
  }
  return value as Record<string, string>;
}

function checkEntry(name: string, value: unknown, source: string): Entry {
  if (!isRecord(value)) {
    return fail(source, `an object for tensor '${name}'`, short(value));
  }
  const { dtype, shape, data_offsets: offsets } = value;
  if (!isDtype(dtype)) {
    return fail(source, `dtype of '${name}' to be one of ${Object.keys(elementBytes).join(', ')}`, short(dtype));
  }
  if (!isSizes(shape)) {
    return fail(source, `shape of '${name}' as whole numbers from 0`, short(shape));
  }
  if (!isSizes(offsets) || offsets.length !== 2 || offsets[0]! > offsets[1]!) {
    return fail(source, `data_offsets of '${name}' as [start, end]`, short(offsets));
  }
  const [start, end] = [offsets[0]!, offsets[1]!];
  const size = shape.reduce((product, length) => product * length, elementBytes[dtype]);
  if (size !== end - start) {
    fail(source, `${size} bytes for '${name}' (${dtype} [${shape.join(', ')}])`, `${end - start}`);
  }
  return { name, dtype, shape, start, end };
}

/** The data is to be covered without a gap or an overlap. */
function checkOffsets(entries: readonly Entry[], length: number, source: string): void {
  const order = [...entries].sort((a, b) => a.start - b.start || a.end - b.end);
  let end = 0;
  let before = 'the header';
  for (const entry of order) {
    if (entry.start !== end) {
      const kind = entry.start < end ? 'an overlap' : 'a gap';
      fail(source, `'${entry.name}' to start at ${end}, after ${before}`, `${entry.start}: ${kind}`);
    }
    if (entry.end > length) {
      fail(source, `'${entry.name}' to end within ${length} bytes of data`, `${entry.end}; truncated?`);
    }
    end = entry.end;
    before = `'${entry.name}'`;
  }
  if (end !== length) fail(source, `the data to end at ${end}, after ${before}`, `${length - end} bytes more`);
}

/** A value in a few letters, for errors. */
function short(value: unknown): string {
  if (value === undefined) return 'none';
  return String(JSON.stringify(Array.isArray(value) ? value.slice(0, 10) : value)).slice(0, 60);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isDtype(value: unknown): value is RawTensor['dtype'] {
  return typeof value === 'string' && Object.hasOwn(elementBytes, value);
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);
}
