import type { ByteSource } from '../sources/byte-source.ts';

/** A stored file of a zip. */
export interface ZipEntry {
  /** Where its local header starts, bytes. */
  header: number;
  /** Bytes. */
  size: number;
}

/**
 * Lists a zip's files from its central directory (APPNOTE 4.3, with the ZIP64 records 4.3.14 and 4.5.3).
 *
 * @throws when the end is missing (truncated), or a file is compressed or beyond the zip's end
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
    const extra = view.getUint16(at + 30, true);
    const entry = wide(view.getUint32(at + 24, true), view.getUint32(at + 42, true), bytes.subarray(end, end + extra));
    if (entry.header + 30 + entry.size > source.size)
      fail(source, `'${name}' within ${source.size} bytes`, 'more; truncated?');
    entries.set(name, entry);
    at = end + extra + view.getUint16(at + 32, true);
  }
  return entries;
}

/** Where an entry's data starts, after its local header. */
export async function zipDataStart(source: ByteSource, { header, size }: ZipEntry): Promise<number> {
  const view = viewOf(await source.read(header, header + 30));
  if (view.getUint32(0, true) !== 0x04034b50) fail(source, `a local header at ${header}`, 'none; damaged?');
  const start = header + 30 + view.getUint16(26, true) + view.getUint16(28, true);
  if (start + size > source.size) fail(source, `data within ${source.size} bytes`, `${start + size}; truncated?`);
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
function wide(size: number, header: number, extra: Uint8Array): ZipEntry {
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
  throw new Error(`readZip: expected ${expected} in ${source.name}, got ${got}`);
}
