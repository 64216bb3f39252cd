/** What this package takes of Node, all in one place: bundles for browsers have `node-browser.ts` instead (package.json, "imports"). */
export { readFile } from 'node:fs/promises';
