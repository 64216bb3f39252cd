import { makeFolder } from '../make-folder.ts';
import { isAlive } from '../temporary-files.ts';
import type { OpenOptions } from './byte-source.ts';
import { type HubFile, hubError, isUnreachable, type Repository } from './hub-repository.ts';
import { Final, retryOrThrow } from './retry.ts';

/** A file to download. */
interface Wanted {
  file: string;
  commit: string;
  info: HubFile;
  /** Its link in the snapshot. */
  place: string;
  /** For errors and progress. */
  name: string;
}

/**
 * Downloads a file into the cache: its bytes to blobs/HASH by way of a file that ends in '.incomplete', which the next attempt, also of
 * another process, goes on with; checked against the hash; then linked into the snapshot.
 */
export async function download(repository: Repository, wanted: Wanted, options: OpenOptions): Promise<void> {
  const fs = await import('#node');
  const { dirname, join, relative } = await import('#node');
  const blob = join(repository.folder, 'blobs', wanted.info.hash);
  await makeFolder(dirname(blob));
  await makeFolder(dirname(wanted.place));
  if (!(await fs.stat(blob).catch(() => undefined))) {
    const partial = await claimPartial(blob);
    try {
      await fill(repository, partial, wanted, options);
      await fs.rename(partial, blob);
    } catch (error) {
      await fs.rename(partial, `${blob}.incomplete`).catch(() => {}); // there may be none yet
      throw error;
    }
  }
  await fs.rm(wanted.place, { force: true }); // a link whose blob is gone
  await fs.symlink(relative(dirname(wanted.place), blob), wanted.place).catch(() => fs.copyFile(blob, wanted.place)); // Windows
}

/** A file that is this download's own: what an interrupted one left, of a process that is gone, or a new one. */
async function claimPartial(blob: string): Promise<string> {
  const { basename, dirname, join, readdir, rename } = await import('#node');
  const own = `${blob}.${process.pid}-${Math.random().toString(36).slice(2)}.incomplete`;
  for (const name of await readdir(dirname(blob))) {
    const left = name.startsWith(basename(blob)) && /\.(?:(\d+)-\w+\.)?incomplete$/.exec(name);
    if (!left || (left[1] && isAlive(Number(left[1])))) continue;
    const claimed = await rename(join(dirname(blob), name), own).then(
      () => true,
      () => false, // another process was faster
    );
    if (claimed) break;
  }
  return own;
}

async function fill(repository: Repository, partial: string, wanted: Wanted, options: OpenOptions): Promise<void> {
  const { rm } = await import('#node');
  const { name, info } = wanted;
  for (let failures = 1; ; failures++) {
    try {
      await append(repository, partial, wanted, options);
      const hash = await hashOf(partial, info);
      if (hash === info.hash) return;
      await rm(partial);
      throw new Error(`${info.algorithm} ${hash}, not ${info.hash}`);
    } catch (error) {
      const { library } = repository;
      const refused = error instanceof library.HubApiError && !isUnreachable(repository, error);
      const reason = refused ? new Final(hubError(repository, error, { what: `'${name}'` }).message) : error;
      await retryOrThrow(reason, { failures, name, signal: options.signal });
    }
  }
}

/** Adds to the file what it lacks. */
async function append(repository: Repository, partial: string, wanted: Wanted, options: OpenOptions): Promise<void> {
  const { open } = await import('#node');
  const { file, commit, info, name } = wanted;
  const { library, request } = repository;
  const out = await open(partial, 'a');
  try {
    let { size: loaded } = await out.stat();
    if (loaded >= info.size) return;
    const whole = await library.downloadFile({ ...request, path: file, revision: commit });
    if (!whole) throw new Final(`openBytes: expected ${name} on ${request.hubUrl}, got none`);
    const reader = (loaded > 0 ? whole.slice(loaded) : whole).stream().getReader();
    for (;;) {
      const { value, done } = await reader.read().catch((reason) => {
        throw reason instanceof Error ? reason : new Error(String(reason)); // the library gives bare texts
      });
      if (done) break;
      await out.writeFile(value);
      loaded += value.length;
      options.onProgress?.({ file: name, loaded, total: info.size });
    }
    if (loaded < info.size) throw new Error(`${loaded} of ${info.size} bytes`);
    await out.sync();
  } finally {
    await out.close();
  }
}

/** SHA-256 of the file, or git's SHA-1 of it as a blob. */
async function hashOf(path: string, { algorithm, size }: HubFile): Promise<string> {
  const { createHash, createReadStream } = await import('#node');
  const hash = createHash(algorithm);
  if (algorithm === 'sha1') hash.update(`blob ${size}\0`);
  for await (const chunk of createReadStream(path)) hash.update(chunk);
  return hash.digest('hex');
}
