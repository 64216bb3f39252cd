import type { ByteSource } from '../sources/byte-source.ts';
import { crc32 } from './crc32.ts';
import { printable } from './printable.ts';

/** A stored file of a zip. */
export interface ZipEntry {
  name: string;
  /** Where its local header starts, bytes. */
  header: number;
  /** Bytes. */
  size: number;
  /** Of its bytes; 0 where the writer left it out. */
  crc: number;
  /** Where what follows it starts: the next file, or the directory. */
  limit: number;
}

/** Flag of an encrypted file. */
const encrypted = 1;
/** Flag of sizes and checksum that stand behind the data (as PyTorch writes them), not in the local header. */
const sizesBehind = 8;

/**
 * Lists a zip's files from its central directory (APPNOTE 4.3, with the ZIP64 records 4.3.14 and 4.5.3).
 *
 * @throws when the end is missing (truncated), a name occurs twice, or a file is compressed, encrypted, beyond the zip's end or
 *   overlaps another
 */
export async function readZipDirectory(source: ByteSource): Promise<Map<string, ZipEntry>> {
  const { start, size, count } = await findDirectory(source);
  const bytes = await source.read(start, start + size);
  const view = viewOf(bytes);
  const entries = new Map<string, ZipEntry>();
  let at = 0;
  for (let i = 0; i < count; i++) {
    if (at + 46 > size || view.getUint32(at, true) !== 0x02014b50)
      fail(source, `${count} files in the directory`, `${i}`);
    const end = at + 46 + view.getUint16(at + 28, true);
    const name = new TextDecoder().decode(bytes.subarray(at + 46, end));
    if (view.getUint16(at + 10, true) !== 0)
      fail(source, `'${name}' stored`, 'it compressed; write it with torch.save');
    if (view.getUint16(at + 8, true) & encrypted) fail(source, `'${name}' readable`, 'it encrypted; decrypt it first');
    const extra = view.getUint16(at + 30, true);
    const place = wide(view.getUint32(at + 24, true), view.getUint32(at + 42, true), bytes.subarray(end, end + extra));
    const shortest = end - at - 46 + 30; // of a local header with this name
    if (place.header + shortest + place.size > start)
      fail(
        source,
        `'${name}' before the directory at ${start}`,
        `its end at ${place.header + shortest + place.size}; truncated?`,
      );
    if (entries.has(name)) fail(source, 'every name once', `'${name}' twice`);
    entries.set(name, { name, ...place, crc: view.getUint32(at + 16, true), limit: start });
    at = end + extra + view.getUint16(at + 32, true);
  }
  const order = [...entries.values()].sort((a, b) => a.header - b.header);
  order.forEach((entry, i) => {
    entry.limit = order[i + 1]?.header ?? start;
    if (entry.header + 30 + entry.size > entry.limit)
      fail(source, `'${entry.name}' to end before ${entry.limit}, where the next file starts`, 'an overlap; damaged?');
  });
  return entries;
}

/** The bytes of a file. @throws when its local header says otherwise, or their checksum differs */
export async function readZipEntry(source: ByteSource, entry: ZipEntry): Promise<Uint8Array> {
  const start = await zipDataStart(source, entry);
  return checked(source, { entry, bytes: await source.read(start, start + entry.size) });
}

/**
 * Reads entries as `readZipEntry` does. While they are asked for in the given order, the next one is read from the disk beside one and during
 * its checksum, which would else make loading a fifth longer.
 */
export function zipReader(source: ByteSource, order: readonly ZipEntry[]): (entry: ZipEntry) => Promise<Uint8Array> {
  const places = new Map(order.map((entry, place) => [entry, place]));
  let expected = 0;
  let ahead: { entry: ZipEntry; bytes: Promise<Uint8Array> } | undefined;
  const read = async (entry: ZipEntry) => {
    const start = await zipDataStart(source, entry);
    return source.read(start, start + entry.size);
  };
  return async (entry) => {
    const place = places.get(entry);
    const reading = ahead?.entry === entry ? ahead.bytes : read(entry);
    const next = source.overlaps && place === expected ? order[place + 1] : undefined;
    expected = (place ?? -1) + 1;
    ahead = next && { entry: next, bytes: read(next) };
    ahead?.bytes.catch(() => {}); // thrown once that entry is asked for
    return checked(source, { entry, bytes: await reading });
  };
}

function checked(source: ByteSource, { entry, bytes }: { entry: ZipEntry; bytes: Uint8Array }): Uint8Array {
  if (entry.crc !== 0 && entry.size > 0 && crc32(bytes) !== entry.crc)
    fail(
      source,
      `the checksum ${hex(entry.crc)} of '${entry.name}'`,
      `${hex(crc32(bytes))}; damaged, download it again`,
    );
  return bytes;
}

const hex = (value: number) => value.toString(16).padStart(8, '0');

/** Where an entry's data starts, after its local header, which must agree with the directory. */
async function zipDataStart(source: ByteSource, { name, header, size, limit }: ZipEntry): Promise<number> {
  const view = viewOf(await source.read(header, header + 30));
  if (view.getUint32(0, true) !== 0x04034b50) fail(source, `a local header at ${header}`, 'none; damaged?');
  const flags = view.getUint16(6, true);
  const listed = view.getUint32(22, true);
  const other = !(flags & sizesBehind) && listed !== 0xffffffff && listed !== size;
  if (view.getUint16(8, true) !== 0 || flags & encrypted || other)
    fail(source, `'${name}' stored in ${size} bytes, as the directory says`, 'a local header that differs; damaged?');
  const start = header + 30 + view.getUint16(26, true) + view.getUint16(28, true);
  if (start + size > limit) fail(source, `'${name}' to end before ${limit}`, `its end at ${start + size}; damaged?`);
  return start;
}

async function findDirectory(source: ByteSource): Promise<{ start: number; size: number; count: number }> {
  const from = Math.max(0, source.size - 22 - 0xffff); // the end record may have a comment
  const tail = await source.read(from, source.size);
  const view = viewOf(tail);
  let at = tail.length - 22;
  while (at >= 0 && view.getUint32(at, true) !== 0x06054b50) at--;
  if (at < 0) fail(source, "a zip's end record", 'none; truncated? download it again');
  let [count, size, start] = [
    view.getUint16(at + 10, true),
    view.getUint32(at + 12, true),
    view.getUint32(at + 16, true),
  ];
  if (at >= 20 && view.getUint32(at - 20, true) === 0x07064b50) {
    const record = uint64(view, at - 12);
    if (record + 56 > source.size) fail(source, 'a ZIP64 end record', 'none; damaged?');
    const wideView = viewOf(await source.read(record, record + 56));
    count = uint64(wideView, 32);
    size = uint64(wideView, 40);
    start = uint64(wideView, 48);
  }
  if (start + size > source.size)
    fail(source, `a directory within ${source.size} bytes`, `${start + size}; truncated?`);
  return { start, size, count };
}

/** Sizes and offsets beyond 32 bits stand in the ZIP64 extra field: size, compressed size, offset, as far as needed. */
function wide(size: number, header: number, extra: Uint8Array): Pick<ZipEntry, 'size' | 'header'> {
  const view = viewOf(extra);
  let at = 0;
  while (at + 4 <= extra.length && view.getUint16(at, true) !== 1) at += 4 + view.getUint16(at + 2, true);
  at += 4;
  const isWide = size === 0xffffffff;
  return {
    size: isWide ? uint64(view, at) : size,
    header: header === 0xffffffff ? uint64(view, isWide ? at + 16 : at) : header,
  };
}

/** Beyond 2^53 it is inexact, and far beyond any file's end; so is what the bytes do not hold. */
function uint64(view: DataView, at: number): number {
  return at + 8 <= view.byteLength ? Number(view.getBigUint64(at, true)) : Number.POSITIVE_INFINITY;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function fail(source: ByteSource, expected: string, got: string): never {
  throw new Error(printable(`readZip: expected ${expected} in ${source.name}, got ${got}`));
}
