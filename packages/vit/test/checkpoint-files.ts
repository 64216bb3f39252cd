/** sam-tiny in the files that people have. */
import { copyFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { type RawTensor, readSafetensors, serializeSafetensors, type Weights } from '@slimsam/weights';
import { expect } from 'vitest';
import { fixturePath } from './support.ts';

/** The one size of sam-tiny that no file of Meta's tells. */
export const decoderHeads = { config: { decoderHeads: 4 } };

export interface TinyFiles {
  readonly tensors: Record<string, RawTensor>;
  /** Hugging Face's name of every tensor -> Meta's, found by equal values in the fixture's model.hf.safetensors and model.safetensors. */
  readonly huggingFaceNames: Record<string, string>;
}

export async function readTinyFiles(): Promise<TinyFiles> {
  const { tensors } = await readSafetensors(fixturePath('sam-tiny/model.safetensors'));
  const names = gunzipSync(await readFile(fixturePath('sam-tiny/hugging-face-names.json.gz')));
  return { tensors, huggingFaceNames: JSON.parse(names.toString()) };
}

/** Expects the weights to be these, value for value. */
export async function expectEqual(weights: Weights, tensors: TinyFiles['tensors']): Promise<void> {
  expect(Object.keys(weights).sort()).toEqual(Object.keys(tensors).sort());
  for (const [name, { shape, data }] of Object.entries(tensors)) {
    expect(weights[name]!.shape).toEqual(shape);
    const got = await weights[name]!.data();
    expect(got.every((value, i) => value === data[i])).toBe(true);
  }
}

/** Writes a SamModel folder, in one file or two. */
export async function huggingFaceFolder(
  folder: string,
  { tensors, huggingFaceNames }: TinyFiles,
  options: { parts: 1 | 2 },
): Promise<string> {
  const entries = Object.entries(huggingFaceNames).map(([name, meta]) => [name, tensors[meta]!] as const);
  await copyFile(fixturePath('sam-tiny/config.hf.json'), join(folder, 'config.json'));
  if (options.parts === 1) {
    await writeFile(join(folder, 'model.safetensors'), serializeSafetensors(Object.fromEntries(entries)));
    return folder;
  }
  const file = (i: number) => `model-0000${1 + (i % 2)}-of-00002.safetensors`;
  for (const half of [0, 1]) {
    const own = entries.filter((_, i) => i % 2 === half);
    await writeFile(join(folder, file(half)), serializeSafetensors(Object.fromEntries(own)));
  }
  const index = { metadata: {}, weight_map: Object.fromEntries(entries.map(([name], i) => [name, file(i)])) };
  await writeFile(join(folder, 'model.safetensors.index.json'), JSON.stringify(index));
  return folder;
}
