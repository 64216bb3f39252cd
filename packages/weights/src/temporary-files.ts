/** Milliseconds after which a temporary file is nobody's, wherever its process ran. */
const abandoned = 24 * 60 * 60 * 1000;

/** '.NAME.HOST-PID-RANDOM.tmp' */
const pattern = /^\..+\.([0-9a-f]{8})-(\d+)-[0-9a-z]+\.tmp$/;

const cleaned = new Map<string, Promise<void>>();

/** A name beside the file that tells whose it is. */
export async function temporaryName(path: string): Promise<string> {
  const { basename, dirname, join } = await import('#node');
  const unique = Math.random().toString(36).slice(2);
  return join(dirname(path), `.${basename(path)}.${await host()}-${process.pid}-${unique}.tmp`);
}

/**
 * Removes temporary files of `writeFileAtomic` that processes of this machine left when they were killed, and those older than a day.
 * Looks into a folder once in a process. A folder that cannot be read is left to the write that follows.
 */
export function removeStale(folder: string): Promise<void> {
  const known = cleaned.get(folder);
  if (known) return known;
  const work = clean(folder).catch(() => {});
  cleaned.set(folder, work);
  return work;
}

async function clean(folder: string): Promise<void> {
  const { join, readdir, rm, stat } = await import('#node');
  const here = await host();
  for (const name of await readdir(folder)) {
    const parts = pattern.exec(name);
    if (!parts) continue;
    const path = join(folder, name);
    const orphan = parts[1] === here && !isAlive(Number(parts[2]));
    const info = orphan ? undefined : await stat(path).catch(() => undefined);
    if (orphan || (info && Date.now() - info.mtimeMs > abandoned)) await rm(path, { force: true }).catch(() => {});
  }
}

/** Eight letters for this machine: a process id says nothing on another one. */
async function host(): Promise<string> {
  const { createHash, hostname } = await import('#node');
  return createHash('sha256').update(hostname()).digest('hex').slice(0, 8);
}

/** Whether a process of this machine is running. */
export function isAlive(process_: number): boolean {
  try {
    return process.kill(process_, 0); // sends nothing
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}
