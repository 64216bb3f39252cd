import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { crc32 } from 'node:zlib';
import type { RgbImage } from '@slimsam/vit/images';

const magic = 0x31626772; // 'rgb1'
/** Magic number, width, height and the pixels' CRC-32: four words, little-endian. */
const headerBytes = 16;

/** Bytes of the largest file for a size. */
export const mostBytes = (size: number): number => headerBytes + size * size * 3;

/** Reads resized pixels; undefined when the file is missing, cut short or changed. */
export async function readResized(file: string): Promise<RgbImage | undefined> {
  const bytes = await readFile(file).catch(() => undefined);
  if (!bytes || bytes.length < headerBytes) return undefined;
  const [width, height] = [bytes.readUInt32LE(4), bytes.readUInt32LE(8)];
  const data = bytes.subarray(headerBytes);
  if (bytes.readUInt32LE(0) !== magic || data.length !== width * height * 3) return undefined;
  if (crc32(data) !== bytes.readUInt32LE(12)) return undefined;
  return { width, height, data: new Uint8Array(data) }; // its own memory, which can be sent
}

/**
 * Writes resized pixels, whole or not at all: beside the file, then renamed. Not flushed to the disk, since the checksum finds what a
 * power cut leaves.
 */
export async function writeResized(file: string, { width, height, data }: RgbImage): Promise<number> {
  const bytes = Buffer.alloc(headerBytes + data.length);
  bytes.writeUInt32LE(magic, 0);
  bytes.writeUInt32LE(width, 4);
  bytes.writeUInt32LE(height, 8);
  bytes.writeUInt32LE(crc32(data), 12);
  bytes.set(data, headerBytes);
  const temporary = `${temporaryPrefix(file)}${Math.random().toString(36).slice(2)}.tmp`;
  try {
    await writeFile(temporary, bytes, { flag: 'wx' });
    await rename(temporary, file);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    throw error;
  }
  return bytes.length;
}

const temporaryPrefix = (file: string): string =>
  path.join(path.dirname(file), `.${path.basename(file)}.${process.pid}-`);

/** The process that was writing this temporary file; undefined when it is none. */
export function writerOf(name: string): number | undefined {
  const pid = /^\.[0-9a-f]{64}\.rgb\.(\d+)-\w+\.tmp$/.exec(name)?.[1];
  return pid === undefined ? undefined : Number(pid);
}
