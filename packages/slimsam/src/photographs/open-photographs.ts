import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { checkFields } from '@slimsam/weights';
import { checkAugment, variationOf } from './augment.ts';
import { createDecodePool } from './decoding/decode-pool.ts';
import { type CacheOptions, type CachePlan, openResizedCache, type ResizedCache } from './decoding/resized-cache.ts';
import type { Decoded } from './decoding/task.ts';
import { type Entry, type Listing, quoted } from './listing/entry.ts';
import { listSource, type PhotographLocation } from './listing/list-source.ts';
import { sample } from './order.ts';
import {
  checkIndex,
  checkRead,
  type Photograph,
  type Photographs,
  type ReadPhotographs,
  type SkippedPhotograph,
} from './photographs.ts';
import { type Begun, readAhead } from './read-ahead.ts';

/** How photographs are found and decoded. */
export interface OpenPhotographsOptions {
  /** A photograph that is damaged or no regular file is an error, rather than left out. */
  readonly strict?: boolean;
  /** Keeps resized pixels on the disk; those that a scale varies are not kept. */
  readonly cache?: CacheOptions;
  /** Threads; all processors but one, at most four, unless given. */
  readonly workers?: number;
  /** Photographs that are decoded, or wait, ahead of the reader; 16 unless given. Each takes 3 bytes a pixel. */
  readonly ahead?: number;
  /** The folder of a COCO file's images; see `listCoco` for where they are looked for unless given. */
  readonly images?: string;
  /** So many of them, by chance. */
  readonly subset?: number;
  /** Of the subset; 0 unless given. */
  readonly seed?: number;
  /** Ends opening, and reading whenever it aborts, and frees the workers. */
  readonly signal?: AbortSignal;
}

/**
 * Opens photographs from disk. Names, sizes and times are looked at, nothing is decoded: that happens in worker threads, when they are
 * read. They end when the photographs are closed; idle ones do not keep a process alive.
 *
 * @param source a folder (recursive, tar shards within it), a tar, a COCO file, a list file, one image, or an iterable of items
 * @throws when the source is missing, of no known kind or without photographs, when an option is wrong, when the signal aborts and, if
 * strict, at the first file that cannot be a photograph
 */
export async function openPhotographs(
  source: PhotographLocation,
  options: OpenPhotographsOptions = {},
): Promise<Photographs> {
  checkFields('openPhotographs', { options }, { options: 'object?' });
  if (typeof source !== 'string') checkFields('openPhotographs', { source }, { source: 'iterable' });
  const { strict = false, cache, images, subset, seed = 0, signal, ahead = 16 } = options;
  const workers = options.workers ?? Math.max(1, Math.min(4, availableParallelism() - 1));
  for (const [name, value] of Object.entries({ workers, ahead })) {
    if (Number.isInteger(value) && value >= 1) continue;
    throw new Error(`openPhotographs: expected ${name} as 1, 2, …, got ${value}`);
  }
  signal?.throwIfAborted();
  const listing = await listSource(source, { images, signal });
  const [first] = listing.skipped;
  if (strict && first) throw strictError(first);
  if (listing.entries.length === 0) throw nothingFound(source, listing);
  const entries = subset === undefined ? listing.entries : sample(listing.entries, { size: subset, seed });
  const resized = cache && (await openResizedCache(cache));
  signal?.throwIfAborted();
  return fromEntries(entries, { skipped: listing.skipped, strict, resized, workers, ahead, signal });
}

interface Found {
  readonly skipped: SkippedPhotograph[];
  readonly strict: boolean;
  readonly resized: ResizedCache | undefined;
  readonly workers: number;
  readonly ahead: number;
  readonly signal: AbortSignal | undefined;
}

function fromEntries(entries: readonly Entry[], found: Found): Photographs {
  const { skipped, strict, resized, workers, ahead } = found;
  const pool = createDecodePool(workers);
  const damaged = new Set<number>();
  let waited = 0;
  let warned = false;

  const close = (): Promise<void> => {
    found.signal?.removeEventListener('abort', onAbort);
    return pool.close();
  };
  const onAbort = (): void => void close();
  found.signal?.addEventListener('abort', onAbort);

  /** Sends a photograph to a worker. */
  function begin(index: number, { size, fit = 'longest', augment }: ReadPhotographs): Begun<Photograph | undefined> {
    const { name, source, modified } = entries[index]!;
    const variation = augment && variationOf(augment, name);
    const keeps = resized && source.kind === 'file' && (!variation || variation.scale === 1);
    const plan = keeps ? resized.plan(source.part, { size, fit, modified }) : undefined;
    const { id, decoded } = pool.decode({
      source,
      size,
      fit,
      ...(variation && { variation }),
      ...(plan && { cache: plan }),
    });
    return {
      result: decoded.then(
        (result) => {
          if (plan) settle(plan, result);
          if (result.kind === 'damaged') return skip(index, result.reason);
          return result.kind === 'image' ? { index, name, image: result.image } : undefined;
        },
        (error: Error) => error,
      ),
      leave: () => pool.leave([id]),
    };
  }

  function settle(plan: CachePlan, result: Decoded): void {
    const { written, unwritten } = result.kind === 'image' ? result : {};
    resized?.settle(plan, written);
    if (unwritten === undefined) return;
    resized?.stop();
    if (warned) return;
    warned = true;
    process.emitWarning(`photographs: nothing more is kept in the cache: ${unwritten}`, { code: 'SLIMSAM_CACHE' });
  }

  function skip(index: number, reason: string): Error | undefined {
    const photograph = { name: entries[index]!.name, reason };
    if (strict) return strictError(photograph);
    if (damaged.has(index)) return undefined;
    damaged.add(index);
    skipped.push(photograph);
    return damaged.size < entries.length ? undefined : noneLeft();
  }

  function noneLeft(): Error {
    const { name, reason } = skipped.at(-1)!;
    const got = `${entries.length} that cannot, ${quoted(name)} the last: ${reason}`;
    return new Error(`photographs: expected some that can be decoded, got ${got}`);
  }

  async function* read(
    indices: Iterable<number>,
    options: ReadPhotographs,
  ): AsyncGenerator<Photograph, void, undefined> {
    checkRead(options);
    if (options.augment) checkAugment(options.augment);
    if (damaged.size === entries.length) throw noneLeft();
    const wanted = indices[Symbol.iterator]();
    const next = (): Begun<Photograph | undefined> | undefined => {
      for (let { done, value } = wanted.next(); !done; { done, value } = wanted.next()) {
        checkIndex(value, entries.length);
        if (!damaged.has(value)) return begin(value, options);
      }
      return undefined;
    };
    const signals = [options.signal, found.signal].filter((signal) => signal !== undefined);
    const signal = signals.length > 0 ? AbortSignal.any(signals) : undefined;
    const onWaited = (seconds: number): void => {
      waited += seconds;
    };
    for await (const photograph of readAhead(next, { ahead, signal, onWaited })) {
      if (photograph) yield photograph;
    }
  }

  return {
    names: entries.map(({ name }) => name),
    identity: identityOf(entries),
    read,
    file: (index) => {
      checkIndex(index, entries.length);
      return readSource(entries[index]!);
    },
    skipped,
    get waited() {
      return waited;
    },
    close,
  };
}

async function readSource({ name, source }: Entry): Promise<Uint8Array> {
  if (source.kind === 'encoded') return source.bytes;
  if (source.kind === 'image')
    throw new Error(`photographs: expected the file of ${quoted(name)}, got pixels in memory`);
  const { path, offset = 0, length } = source.part;
  const handle = await open(path);
  try {
    const size = length ?? (await handle.stat()).size - offset;
    const { bytesRead, buffer } = await handle.read(new Uint8Array(size), 0, size, offset);
    if (bytesRead === size) return buffer;
    throw new Error(`photographs: expected ${size} bytes of ${quoted(name)}, got ${bytesRead}; it changed`);
  } finally {
    await handle.close();
  }
}

function identityOf(entries: readonly Entry[]): string {
  const hash = createHash('sha256');
  for (const { name, bytes, modified, source } of entries) {
    hash.update(JSON.stringify([name, bytes, modified]));
    if (source.kind === 'encoded') hash.update(source.bytes);
    if (source.kind === 'image') hash.update(source.image.data);
  }
  return hash.digest('hex');
}

function strictError({ name, reason }: SkippedPhotograph): Error {
  return new Error(
    `photographs: expected every file to be a photograph (strict), got ${quoted(name)}: ${reason}; remove it, or leave strict out`,
  );
}

function nothingFound(source: PhotographLocation, { skipped, passedOver }: Listing): Error {
  const [first] = skipped;
  const others = first ? `, ${skipped.length} skipped (${quoted(first.name)}: ${first.reason})` : '';
  const where = typeof source === 'string' ? `in '${source}'` : 'from the iterable';
  return new Error(
    `photographs: expected JPEG, PNG, WebP, TIFF, GIF or AVIF files ${where}, got ${passedOver} files of other kinds${others}`,
  );
}
