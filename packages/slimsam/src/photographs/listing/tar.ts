import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { fileKind } from '@slimsam/vit/images';
import { Header, Pax } from 'tar';
import { isHidden, isImageName, type Listing, quoted } from './entry.ts';

const block = 512;
/** Of a long name or a PAX record; names of files are shorter by far. */
const mostHeaderBytes = 1 << 20;
const plain = new Set(['File', 'OldFile', 'ContiguousFile']);

/**
 * Lists the images of a tar shard, as SA-1B comes in, by its headers alone: images are read from their places later. A shard that is cut
 * short gives the images before the cut.
 *
 * @throws when it is compressed or no tar
 */
export async function listTar(
  shard: { readonly name: string; readonly path: string },
  { listing, signal }: { listing: Listing; signal: AbortSignal | undefined },
): Promise<void> {
  const file = await open(shard.path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
  try {
    const facts = await file.stat();
    if (!facts.isFile()) throw new Error(`photographs: expected a tar file, got ${fileKind(facts)} at '${shard.path}'`);
    let count = 0;
    for await (const { path, size, offset, modified } of readHeaders(file, { path: shard.path, end: facts.size })) {
      if (++count % 256 === 0) signal?.throwIfAborted();
      const inside = path.replace(/^(\.?\/)+/, '');
      if (!isImageName(inside) || isHidden(inside.split('/').at(-1)!)) {
        listing.passedOver++;
        continue;
      }
      const name = shard.name === '' ? inside : `${shard.name}/${inside}`;
      if (offset + size > facts.size) {
        listing.skipped.push({
          name,
          reason: `cut short: the tar ends ${offset + size - facts.size} bytes before it does`,
        });
        continue;
      }
      const part = { path: shard.path, offset, length: size, size: facts.size };
      listing.entries.push({ name, source: { kind: 'file', part }, bytes: size, modified });
    }
  } finally {
    await file.close();
  }
}

interface Member {
  readonly path: string;
  readonly size: number;
  /** Where its bytes begin. */
  readonly offset: number;
  /** Milliseconds. */
  readonly modified: number;
}

/** The regular files of a tar: ustar, PAX and GNU long names. */
async function* readHeaders(
  file: FileHandle,
  { path, end }: { path: string; end: number },
): AsyncGenerator<Member, void, undefined> {
  let extended: Pax | undefined;
  let global: Pax | undefined;
  for (let at = 0; at + block <= end; ) {
    const bytes = await readBytes(file, { at, length: block });
    const header = new Header(bytes, 0, extended, global);
    if (header.nullBlock) return;
    if (!header.cksumValid) throw notTar(bytes, { path, at });
    const { size = 0, type } = header;
    const offset = at + block;
    at = offset + Math.ceil(size / block) * block;
    if (type === 'ExtendedHeader' || type === 'GlobalExtendedHeader' || type === 'NextFileHasLongPath') {
      if (size > mostHeaderBytes)
        throw new Error(`photographs: expected names in the tar '${path}', got one of ${size} bytes`);
      const text = (await readBytes(file, { at: offset, length: size })).toString('utf8');
      if (type === 'GlobalExtendedHeader') global = Pax.parse(text, global, true);
      else if (type === 'ExtendedHeader') extended = Pax.parse(text, extended, false);
      else extended = new Pax({ ...extended, path: text.replace(/\0.*$/s, '') });
      continue;
    }
    const name = extended?.path ?? global?.path ?? header.path; // header's own has ustar's prefix before a PAX path
    if (plain.has(type) && name) {
      yield { path: name, size, offset, modified: header.mtime?.getTime() ?? 0 };
    }
    extended = undefined;
  }
}

async function readBytes(file: FileHandle, { at, length }: { at: number; length: number }): Promise<Buffer> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, at);
  return buffer.subarray(0, bytesRead);
}

function notTar(bytes: Buffer, { path, at }: { path: string; at: number }): Error {
  const gzip = at === 0 && bytes[0] === 0x1f && bytes[1] === 0x8b;
  const got = gzip ? 'a gzip file; unpack it by gunzip' : `other bytes at ${at}`;
  return new Error(`photographs: expected a tar in ${quoted(path)}, got ${got}`);
}
