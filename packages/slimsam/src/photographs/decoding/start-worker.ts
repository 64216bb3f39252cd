import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';

/** Starts a decoding worker: of the same kind of file as this one, TypeScript in the repository and JavaScript in the package. */
export function startWorker(): Worker {
  const extension = /\.\w+$/.exec(new URL(import.meta.url).pathname)![0];
  const file = new URL(`./decode-worker${extension}`, import.meta.url);
  return extension === '.ts' ? fromSource(file) : new Worker(file, { name: 'photographs' });
}

/** The repository's sources need a loader, which Node does not give to workers, and the condition that finds them. */
function fromSource(file: URL): Worker {
  const tsx = pathToFileURL(createRequire(import.meta.url).resolve('tsx/package.json'));
  const loader = new URL('dist/esm/api/index.mjs', tsx).href; // its 'tsx/esm/api', of which require() finds another kind
  const program = `import('${loader}').then(({ register }) => { register(); return import('${file.href}'); });`;
  return new Worker(program, { name: 'photographs', eval: true, execArgv: ['--conditions=@slimsam/source'] });
}
