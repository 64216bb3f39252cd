import '@tensorflow/tfjs-backend-cpu';
import { openAsBlob } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs-core';
import { expect, test } from 'vitest';
import type { WritableFile } from './file-target.ts';
import { loadWeights, saveWeights, writeFileAtomic } from './files.ts';
import { openTensors } from './open-tensors.ts';

/** A browser's file that holds at most `quota` bytes; its content is replaced when a stream is closed. */
function memoryFile(quota = Number.POSITIVE_INFINITY): WritableFile & { blob: Blob } {
  const file = {
    name: 'model.safetensors',
    blob: new Blob(['old']),
    async createWritable() {
      const parts: (Uint8Array<ArrayBuffer> | string)[] = [];
      return {
        async write(data: Uint8Array<ArrayBuffer> | string) {
          parts.push(data);
          if (new Blob(parts).size > quota) throw new DOMException('no space', 'QuotaExceededError');
        },
        async close() {
          file.blob = new Blob(parts);
        },
        async abort() {
          parts.length = 0;
        },
      };
    },
  };
  return file;
}

test('weights go to a browser’s file and come back from its Blob, tensor by tensor too', async () => {
  await tf.setBackend('cpu');
  const file = memoryFile();
  const weights = { a: tf.tensor([1, 2, 3]), b: tf.tensor([[4], [5]]) };
  await saveWeights(file, weights, { metadata: { note: 'x' } });
  const loaded = await loadWeights(file.blob);
  expect(loaded.metadata).toEqual({ note: 'x' });
  expect(await loaded.weights.b!.data()).toEqual(Float32Array.of(4, 5));
  const opened = await openTensors(file.blob);
  expect((await opened.read('a')).data).toEqual(Float32Array.of(1, 2, 3));
  await opened.close();
  tf.dispose([weights, loaded.weights]);
});

test('a full quota leaves the old file and names the cure', async () => {
  const file = memoryFile(8);
  await expect(writeFileAtomic(file, 'more than eight bytes')).rejects.toThrow(
    "writeFileAtomic: expected to write to 'model.safetensors', got a full storage quota; free some space",
  );
  expect(await file.blob.text()).toBe('old');
});

test('a Blob that is no model is named', async () => {
  const file = new File(['not a model at all'], 'notes.txt');
  await expect(openTensors(file)).rejects.toThrow("'notes.txt'");
});

test('a Blob whose file has changed is said in words', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'blob-'));
  try {
    const path = join(folder, 'model.safetensors');
    await writeFile(path, new Uint8Array(100));
    const blob = await openAsBlob(path);
    await writeFile(path, new Uint8Array(50));
    await expect(openTensors(blob)).rejects.toThrow(
      /^openBytes: expected a readable file, got [A-Za-z][^0-9]+ for the given Blob$/,
    );
  } finally {
    await rm(folder, { recursive: true });
  }
});
