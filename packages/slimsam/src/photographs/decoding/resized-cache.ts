import { createHash } from 'node:crypto';
import { access, constants, readdir, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import type { FilePart } from '@slimsam/vit/images';
import { makeFolder } from '@slimsam/weights';
import { mostBytes, writerOf } from './resized-file.ts';

/** Where resized pixels are kept, 3 bytes a pixel. */
export interface CacheOptions {
  /** Made where missing; several programs may share it. */
  readonly folder: string;
  /** Bytes of all files in it. When they are reached, what this program has not used yet makes room, oldest first; then no more is kept. */
  readonly limit: number;
}

/** A photograph's file, and whether it may be written. */
export interface CachePlan {
  readonly file: string;
  readonly write: boolean;
  /** Bytes for which room is kept until `settle`. */
  readonly reserved: number;
}

/** A folder of resized photographs. */
export interface ResizedCache {
  plan(part: FilePart, fit: { size: number; fit: string; modified: number }): CachePlan;
  /** Tells what came of a plan: the bytes written, if they were. */
  settle(plan: CachePlan, written: number | undefined): void;
  /** Writes no more. */
  stop(): void;
}

/**
 * Opens a cache. Files that a process which is gone was writing are removed.
 *
 * @throws when the limit is no number of bytes or the folder cannot be written to
 */
export async function openResizedCache({ folder, limit }: CacheOptions): Promise<ResizedCache> {
  if (!(limit >= 0)) throw new Error(`photographs: expected a cache's limit in bytes, got ${limit}`);
  await makeFolder(folder);
  try {
    await access(folder, constants.W_OK);
  } catch (error) {
    throw new Error(`photographs: expected a folder to cache in, got ${(error as Error).message}`, { cause: error });
  }
  /** Bytes of files that this program has not used, oldest first, and of those that it has. */
  const unused = await keptFiles(folder);
  const used = new Map<string, number>();
  let total = [...unused.values()].reduce((sum, bytes) => sum + bytes, 0);
  let stopped = false;

  function makeRoom(bytes: number): boolean {
    for (const [name, size] of unused) {
      if (total + bytes <= limit) break;
      unused.delete(name);
      total -= size;
      rm(path.join(folder, name), { force: true }).catch(() => {}); // another program may hold it, on Windows
    }
    return total + bytes <= limit;
  }

  return {
    plan(part, { size, fit, modified }) {
      const facts = [path.resolve(String(part.path)), part.offset, part.length, part.size, modified, size, fit];
      const name = `${createHash('sha256').update(JSON.stringify(facts)).digest('hex')}.rgb`;
      const file = path.join(folder, name);
      const kept = unused.get(name) ?? used.get(name);
      unused.delete(name);
      if (kept !== undefined) {
        used.set(name, kept);
        return { file, write: !stopped, reserved: 0 }; // to be written again if it is damaged
      }
      const reserved = mostBytes(size);
      if (stopped || !makeRoom(reserved)) return { file, write: false, reserved: 0 };
      used.set(name, reserved);
      total += reserved;
      return { file, write: true, reserved };
    },
    settle({ file, reserved }, written) {
      const name = path.basename(file);
      if (written === undefined && reserved === 0) return;
      total += (written ?? 0) - (used.get(name) ?? 0);
      if (written === undefined) used.delete(name);
      else used.set(name, written);
    },
    stop() {
      stopped = true;
    },
  };
}

/** Bytes of each file, oldest first. */
async function keptFiles(folder: string): Promise<Map<string, number>> {
  const found: { name: string; bytes: number; time: number }[] = [];
  for (const name of await readdir(folder)) {
    const writer = writerOf(name);
    if (writer !== undefined && !isAlive(writer)) await rm(path.join(folder, name), { force: true });
    if (!/^[0-9a-f]{64}\.rgb$/.test(name)) continue;
    const facts = await stat(path.join(folder, name)).catch(() => undefined);
    if (facts?.isFile()) found.push({ name, bytes: facts.size, time: facts.mtimeMs });
  }
  found.sort((a, b) => a.time - b.time);
  return new Map(found.map(({ name, bytes }) => [name, bytes]));
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0); // sends nothing
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
