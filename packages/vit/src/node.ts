/** What this package takes of Node, all in one place: bundles for browsers have `node-browser.ts` instead (package.json, "imports"). */
export { mkdtemp, readdir, rename, rm } from 'node:fs/promises';
export { dirname, extname, join } from 'node:path';
