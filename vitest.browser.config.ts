import { playwright } from '@vitest/browser-playwright';
import { defineConfig } from 'vitest/config';
import { chromium } from './scripts/setup/chromium.mjs';

const { executablePath, args, env } = chromium();

/** By their full names: tests that this adapter cannot pass in a page, and why. */
const excluded = [
  'more than 65,535 batches', // minutes on SwiftShader
  'more attentions than a row of workgroups',
  '4096 queries over 64 x 64 keys', // minutes
  'half precision', // no shader-f16 in SwiftShader: there `half` has only its error, which is tested
  'rows of NaN, of nothing but -Infinity', // its exp and max drop NaN, as WGSL allows
];

/** The backend's tests in a page of headless Chromium, from the same files as in Node; SwiftShader is its WebGPU adapter. */
export default defineConfig({
  resolve: { conditions: ['@slimsam/source'] },
  optimizeDeps: { include: ['@tensorflow/tfjs-core', '@tensorflow/tfjs-backend-cpu'] },
  test: {
    include: ['packages/tensor-webgpu/src/**/*.test.ts'],
    exclude: ['**/attention-gpu.test.ts'], // there attention.test.ts takes these kernels, at the same sizes; other vendors' shapes of them run in Node
    testNamePattern: new RegExp(`^(?!.*(${excluded.join('|')}))`),
    fileParallelism: false,
    testTimeout: 120_000,
    hookTimeout: 120_000,
    browser: {
      enabled: true,
      headless: true,
      screenshotFailures: false,
      provider: playwright({ launchOptions: { executablePath, args, env: env as Record<string, string> } }),
      instances: [{ browser: 'chromium' }],
    },
  },
});
