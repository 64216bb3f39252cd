import { inNode } from '../sources/byte-source.ts';

/** CRC-32 of bytes (ISO 3309, as zip has it): zlib's in Node, 3 GB/s, else by tables, 0.5 GB/s. */
export function crc32(bytes: Uint8Array): number {
  const zlib = inNode ? process.getBuiltinModule?.('node:zlib') : undefined;
  return zlib?.crc32 ? zlib.crc32(bytes) : crc32ByTables(bytes);
}

let tables: Eight | undefined;

/** Eight bytes a step by eight tables (Intel's slicing-by-8). */
export function crc32ByTables(bytes: Uint8Array): number {
  tables ??= makeTables();
  const [t0, t1, t2, t3, t4, t5, t6, t7] = tables;
  const whole = bytes.length - (bytes.length % 8);
  let crc = 0xffffffff;
  let at = 0;
  for (; at < whole; at += 8) {
    const low = crc ^ (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24));
    crc =
      t7[low & 255]! ^
      t6[(low >>> 8) & 255]! ^
      t5[(low >>> 16) & 255]! ^
      t4[low >>> 24]! ^
      t3[bytes[at + 4]!]! ^
      t2[bytes[at + 5]!]! ^
      t1[bytes[at + 6]!]! ^
      t0[bytes[at + 7]!]!;
  }
  for (; at < bytes.length; at++) crc = t0[(crc ^ bytes[at]!) & 255]! ^ (crc >>> 8);
  return ~crc >>> 0;
}

type Eight = [Uint32Array, Uint32Array, Uint32Array, Uint32Array, Uint32Array, Uint32Array, Uint32Array, Uint32Array];

function makeTables(): Eight {
  const first = Uint32Array.from({ length: 256 }, (_, byte) => {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? 0xedb88320 ^ (crc >>> 1) : crc >>> 1;
    return crc;
  });
  const all = [first];
  for (let table = 1; table < 8; table++) all.push(all[table - 1]!.map((crc) => first[crc & 255]! ^ (crc >>> 8)));
  return all as Eight;
}
