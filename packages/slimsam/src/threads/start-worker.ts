import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';

/**
 * Starts a worker thread on a neighbour of a module, of the same kind of file: TypeScript in the repository and JavaScript in the package.
 *
 * @param neighbour `import.meta.url` of the module, and the other's path from it without its extension
 */
export function startWorker(
  neighbour: { readonly of: string; readonly path: string },
  options: { readonly name: string; readonly workerData?: unknown },
): Worker {
  const extension = /\.\w+$/.exec(new URL(neighbour.of).pathname)![0];
  const file = new URL(`${neighbour.path}${extension}`, neighbour.of);
  return extension === '.ts' ? fromSource(file, options) : new Worker(file, options);
}

/** The repository's sources need a loader, which Node does not give to workers, and the condition that finds them. */
function fromSource(file: URL, options: { readonly name: string; readonly workerData?: unknown }): Worker {
  const tsx = pathToFileURL(createRequire(import.meta.url).resolve('tsx/package.json'));
  const loader = new URL('dist/esm/api/index.mjs', tsx).href; // its 'tsx/esm/api', of which require() finds another kind
  const program = `import('${loader}').then(({ register }) => { register(); return import('${file.href}'); });`;
  return new Worker(program, { ...options, eval: true, execArgv: ['--conditions=@slimsam/source'] });
}
