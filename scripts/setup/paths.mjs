import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** The repository's root. */
export const root = fileURLToPath(new URL('../..', import.meta.url));

/** What set-up keeps between runs. */
export const cacheFolder = path.join(root, '.cache');
