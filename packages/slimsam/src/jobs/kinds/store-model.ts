import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Model } from '../../models/network.ts';
import { saveModel } from '../../run/run-store-of.ts';
import { putFile } from '../store/blobs.ts';
import type { Store } from '../store/store.ts';

/** Keeps a model in the store. @returns its file's hash */
export async function storeModel(store: Store, model: Model): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), 'slimsam-model-'));
  try {
    const file = path.join(folder, 'model.safetensors');
    await saveModel(file, model);
    return await putFile(store, file);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
