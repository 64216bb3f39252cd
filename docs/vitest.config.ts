import { defineConfig } from 'vitest/config';

const conditions = ['@slimsam/source'];

/** Snippets, commands and links of the documentation, and the examples at tiny sizes: minutes, outside of `npm test`. */
export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: { include: ['docs/test/*.test.ts'], fileParallelism: false, testTimeout: 600_000, hookTimeout: 600_000 },
});
