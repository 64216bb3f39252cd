import { defineConfig } from 'vitest/config';

/** The page in headless Chromium, against Node on the same kind of adapter: minutes, outside of `npm test`. */
export default defineConfig({
  resolve: { conditions: ['@slimsam/source'] },
  ssr: { resolve: { conditions: ['@slimsam/source', 'module', 'node', 'development|production'] } },
  test: {
    include: ['apps/page/test/**/*.test.ts'],
    fileParallelism: false,
    testTimeout: 7_200_000,
    hookTimeout: 600_000,
  },
});
