import { expect, test } from 'vitest';
import { parseWeights, serializeSafetensors } from './index.ts';
import { requireBackend } from './require-backend.ts';

test('without a backend: which call comes first', async () => {
  const first = /expected a backend of TensorFlow.js, got 'No backend found in registry'; call `await useWebgpu\(\)`/;
  expect(() => requireBackend('loadSam')).toThrow(first);
  const bytes = serializeSafetensors({ a: { dtype: 'F32', shape: [1], data: Float32Array.of(7) } });
  expect(() => parseWeights(bytes, 'a file')).toThrow(first);
  await import('@tensorflow/tfjs-backend-cpu');
  expect(() => requireBackend('loadSam')).not.toThrow();
  expect(parseWeights(bytes, 'a file').weights.a!.shape).toEqual([1]);
});
