import '@tensorflow/tfjs-backend-cpu';
import '@slimsam/tensor-webgpu/ops';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import * as tf from '@tensorflow/tfjs-core';
import { expect, test, vi } from 'vitest';

test('the README’s first snippet runs and prints what it says', async () => {
  await tf.setBackend('cpu');
  const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
  const snippet = /```ts\n([\s\S]*?)```/.exec(readme)![1]!;
  const file = new URL('./readme-snippet.gen.ts', import.meta.url);
  const log = vi.spyOn(console, 'log').mockImplementation(() => {});
  try {
    writeFileSync(file, snippet);
    await import(file.href);
    expect(log).toHaveBeenCalledWith(2048, '->', 1024);
  } finally {
    log.mockRestore();
    rmSync(file);
  }
});
