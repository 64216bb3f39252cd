import { defineConfig } from 'vite';

/** Static files with relative addresses: any web server serves them, from any folder, without headers of its own. */
export default defineConfig({
  base: './',
  resolve: { conditions: ['@slimsam/source', 'module', 'browser', 'development|production'] },
  assetsInclude: ['**/*.safetensors'],
  worker: { format: 'es' },
  build: { target: 'es2023', assetsInlineLimit: 0 },
});
