/** What the package's main entry takes of Node, all in one place: bundles for browsers have `node-browser.ts` instead (package.json, "imports"). */
export { createHash } from 'node:crypto';
export { createReadStream } from 'node:fs';
export { access, appendFile, open, readdir, readFile, truncate } from 'node:fs/promises';
export { default as path } from 'node:path';
export { createGunzip } from 'node:zlib';
export { extract } from 'tar-stream';
