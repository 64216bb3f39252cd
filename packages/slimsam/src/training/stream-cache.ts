import { existsSync } from 'node:fs';
import path from 'node:path';
import { loadWeights, makeFolder, saveWeights } from '@slimsam/weights';
import type * as tf from '@tensorflow/tfjs-core';

/** Keeps tensors by name. */
export interface StreamCache {
  read(name: string): Promise<tf.Tensor4D | undefined>;
  write(name: string, streams: tf.Tensor4D): Promise<void>;
}

/**
 * A folder of F16 files, one a tensor. What other settings wrote is not read, and written over.
 *
 * @param settings what the tensors depend on; JSON
 */
export function streamFolder(folder: string, settings: unknown): StreamCache {
  const key = JSON.stringify(settings);
  const fileOf = (name: string) => path.join(folder, `streams-${name}.safetensors`);
  return {
    async read(name) {
      if (!existsSync(fileOf(name))) return undefined;
      const { weights, metadata } = await loadWeights(fileOf(name));
      if (metadata.settings === key && weights.streams) return weights.streams as tf.Tensor4D;
      for (const tensor of Object.values(weights)) tensor.dispose();
      return undefined;
    },
    async write(name, streams) {
      await makeFolder(folder);
      await saveWeights(fileOf(name), { streams }, { dtype: 'F16', metadata: { settings: key } });
    },
  };
}
