import { readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';

const models = fileURLToPath(new URL('../../models', import.meta.url));

/** The models of the repository, a folder each, that are served beside the page and fetched when they are chosen. */
const served = readdirSync(models, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => {
    const folder = path.join(models, name);
    const weights = readdirSync(folder).filter((file) => file.endsWith('.safetensors'));
    return { name, bytes: weights.reduce((sum, file) => sum + statSync(path.join(folder, file)).size, 0) };
  })
  .filter(({ bytes }) => bytes > 0);

/** Static files with relative addresses: any web server serves them, from any folder, without headers of its own. */
export default defineConfig({
  base: './',
  publicDir: models,
  define: { servedModels: JSON.stringify(served) },
  resolve: { conditions: ['@slimsam/source', 'module', 'browser', 'development|production'] },
  assetsInclude: ['**/*.safetensors'],
  worker: { format: 'es' },
  build: { target: 'es2023', assetsInlineLimit: 0 },
});
