import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import path from 'node:path';
import { z } from 'zod';

const owner = z.object({ host: z.string(), pid: z.int().positive(), began: z.string(), since: z.string() });
type Owner = z.infer<typeof owner>;

/** A folder that one process alone writes into. */
export interface Lock {
  readonly release: () => Promise<void>;
}

/**
 * Locks a folder by a file that names the process. The lock of a process of this machine that is gone is taken over.
 *
 * @throws when another process has it, naming process and file
 */
export async function lock(folder: string): Promise<Lock> {
  const file = path.join(folder, 'run.lock');
  const own: Owner = { host: hostname(), pid: process.pid, began: await startOf(process.pid), since: now() };
  const text = JSON.stringify(own);
  for (let tries = 0; tries < 5; tries++) {
    if (await create(file, text)) return { release: () => release(file, text) };
    const other = await read(file);
    if (other === 'gone') continue;
    if (other && (await isAlive(other)))
      throw new Error(
        `run folder: expected '${folder}' for this process alone, got the lock run.lock of process ${other.pid} on ${other.host} since ${other.since}; wait for it, or take another folder`,
      );
    // of two processes that find a dead lock only one can move it away
    const moved = `${file}.${process.pid}.dead`;
    await rename(file, moved).catch(() => {});
    await rm(moved, { force: true });
  }
  throw new Error(`run folder: expected to lock '${folder}', got other processes that do so too; start one at a time`);
}

async function create(file: string, text: string): Promise<boolean> {
  try {
    await writeFile(file, text, { flag: 'wx' });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

async function read(file: string): Promise<Owner | 'gone' | undefined> {
  const text = await readFile(file, 'utf8').catch(() => undefined);
  if (text === undefined) return 'gone';
  try {
    return owner.parse(JSON.parse(text));
  } catch {
    return undefined; // torn by a kill
  }
}

/** A process of another machine may be alive. */
async function isAlive({ host, pid, began }: Owner): Promise<boolean> {
  if (host !== hostname()) return true;
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false;
  }
  return (await startOf(pid)) === began; // else its number was given to another one
}

/** When a process began, in ticks since the machine's start; '' where that cannot be told. */
async function startOf(pid: number): Promise<string> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
}

async function release(file: string, text: string): Promise<void> {
  const there = await readFile(file, 'utf8').catch(() => undefined);
  if (there === text) await rm(file, { force: true });
}

const now = () => new Date().toISOString();
