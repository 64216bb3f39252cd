/** What this package takes of Node, all in one place: bundles for browsers have `node-browser.ts` instead (package.json, "imports"). */
export { createHash } from 'node:crypto';
export { constants, createReadStream } from 'node:fs';
export { copyFile, mkdir, open, readdir, readFile, rename, rm, stat, symlink } from 'node:fs/promises';
export { hostname } from 'node:os';
export { basename, dirname, join, relative, resolve } from 'node:path';
export { fileURLToPath } from 'node:url';
