import { writeFileAtomic } from '../files.ts';
import { printable } from '../formats/printable.ts';
import { makeFolder } from '../make-folder.ts';
import { inNode, type OpenOptions } from './byte-source.ts';
import type { Folder } from './folder.ts';
import { download } from './hub-download.ts';
import { type HubFile, hubError, isUnreachable, openRepository, type Repository } from './hub-repository.ts';
import { type HubSource, isHubId } from './hub-source.ts';
import { MissingFile } from './missing-file.ts';

/**
 * Opens a model of the Hub as a folder whose files are downloaded when they are first asked for, into the cache that the Hub's own
 * libraries share (HF_HOME): blobs by their hash, snapshots of links to them, refs from branches to commits. All files are of the one
 * commit that the revision is at; where the Hub cannot be reached, of the one it was at last.
 *
 * @throws when @huggingface/hub is not installed, there is no such model or revision, or it is private
 */
export async function openHub(source: HubSource, options: OpenOptions): Promise<Folder> {
  const { hub: id, revision = 'main', file } = source;
  const wrong = isHubId(id) ? [revision, file].find((name) => name !== undefined && !isInside(name)) : id;
  if (wrong !== undefined) {
    throw new Error(`openTensors: expected a Hub id as 'owner/name' and names as revision and file, got '${wrong}'`);
  }
  if (!inNode) throw new Error(`openTensors: expected an address in a browser, got the Hub id '${id}'`);
  const repository = await openRepository(source, options);
  const { join } = await import('#node');
  const commit = await commitOf(repository, revision, options);
  return {
    name: (file) => `${id}@${commit.slice(0, 7)}/${file}`,
    async find(file) {
      const place = join(repository.folder, 'snapshots', commit, file);
      if (await isThere(place)) return place;
      const absent = join(repository.folder, '.no_exist', commit, file); // as the Hub's Python library notes it
      if (!(await isThere(absent))) {
        const info = await fileInfo(repository, { file, commit }, options);
        if (info) {
          await download(repository, { file, commit, info, place, name: `${id}/${file}` }, options);
          return place;
        }
        await writeWithFolder(absent, '');
      }
      throw new MissingFile(
        `openTensors: expected '${file}' in ${id} at revision '${revision}' of the Hub, got no such file`,
      );
    },
  };
}

/** Whether a name of a branch or a file stays in its folder. */
function isInside(name: string): boolean {
  return /^[^./\\][^/\\]*(\/[^./\\][^/\\]*)*$/.test(name);
}

/** The commit that a revision is at. */
async function commitOf(repository: Repository, revision: string, { signal }: OpenOptions): Promise<string> {
  if (isCommit(revision)) return revision;
  const { library, request, folder } = repository;
  const { join, readFile } = await import('#node');
  const ref = join(folder, 'refs', revision);
  const noted = await readFile(ref, 'utf8').then(
    (text) => text.trim(),
    () => '',
  );
  const known = isCommit(noted) ? noted : undefined;
  let commit: string;
  try {
    const name = request.repo;
    ({ sha: commit } = await library.modelInfo({ ...request, name, revision, additionalFields: ['sha'] }));
  } catch (error) {
    if (known && isUnreachable(repository, error) && !signal?.aborted) return known;
    throw hubError(repository, error, { what: `model '${request.repo}' at revision '${revision}'`, signal });
  }
  if (!isCommit(commit)) {
    const message = `openTensors: expected a commit of 40 hexadecimal digits from ${request.hubUrl}, got '${String(commit)}'`;
    throw new Error(printable(message)); // it becomes a path
  }
  if (commit !== known) await writeWithFolder(ref, commit);
  return commit;
}

function isCommit(text: unknown): text is string {
  return typeof text === 'string' && /^[0-9a-f]{40}$/.test(text);
}

async function fileInfo(
  repository: Repository,
  { file, commit }: { file: string; commit: string },
  { signal }: OpenOptions,
): Promise<HubFile | undefined> {
  const { library, request } = repository;
  try {
    const [info] = await library.pathsInfo({ ...request, paths: [file], revision: commit });
    if (info?.type !== 'file') return undefined;
    const hash = info.lfs?.oid ?? info.oid ?? '';
    if (!/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(hash)) throw new Error(printable(`the hash '${hash}'`)); // it becomes a path
    if (!Number.isSafeInteger(info.size) || info.size < 0) throw new Error(`a size of ${info.size}`);
    return { size: info.size, hash, algorithm: info.lfs ? 'sha256' : 'sha1' };
  } catch (error) {
    throw hubError(repository, error, { what: `'${file}' of model '${request.repo}' at commit ${commit}`, signal });
  }
}

async function isThere(path: string): Promise<boolean> {
  const { stat } = await import('#node');
  return stat(path).then(
    () => true,
    () => false,
  );
}

async function writeWithFolder(path: string, content: string): Promise<void> {
  const { dirname } = await import('#node');
  await makeFolder(dirname(path));
  await writeFileAtomic(path, content);
}
