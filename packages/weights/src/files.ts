import * as tf from '@tensorflow/tfjs-core';
import { parseSafetensors, type RawTensor, type Safetensors, serializeSafetensors } from './safetensors.ts';
import { disposeWeights, type Weights } from './weights.ts';

/** What `loadWeights` and `parseWeights` check. */
export interface ExpectedShapes {
  /** Names and shapes that must be there; other tensors may be there too. */
  expected?: Readonly<Record<string, readonly number[]>>;
}

/** Weights and what was noted beside them in the file. */
export interface LoadedWeights {
  weights: Weights;
  metadata: Record<string, string>;
}

/** Reads a safetensors file. @throws when the file cannot be read, or see `parseSafetensors` */
export async function readSafetensors(path: string): Promise<Safetensors> {
  return parseSafetensors(await readBytes(path), path);
}

/**
 * Reads a safetensors file as tensors: floats as float32, whole numbers as int32, BOOL as bool.
 *
 * @throws when the file cannot be read or parsed, or a tensor of `expected` is missing or has another shape (all are named)
 */
export async function loadWeights(path: string, options: ExpectedShapes = {}): Promise<LoadedWeights> {
  return parseWeights(await readBytes(path), path, options);
}

/** `loadWeights` for bytes that are already in memory (in browsers: what `fetch` gave). */
export function parseWeights(bytes: Uint8Array, source: string, options: ExpectedShapes = {}): LoadedWeights {
  const { tensors, metadata } = parseSafetensors(bytes, source);
  checkShapes(tensors, options.expected ?? {}, source);
  const weights: Record<string, tf.Tensor> = {};
  try {
    for (const [name, raw] of Object.entries(tensors)) weights[name] = toTensor(raw);
  } catch (error) {
    disposeWeights(weights);
    throw error;
  }
  return { weights, metadata };
}

/**
 * Writes weights to a safetensors file, all or nothing: see `writeFileAtomic`.
 *
 * @param options.dtype of the floats, by default F32
 * @throws when the file cannot be written; an old file of that name is then still there
 */
export async function saveWeights(
  path: string,
  weights: Weights,
  options: { metadata?: Record<string, string>; dtype?: 'F32' | 'F16' } = {},
): Promise<void> {
  const tensors: Record<string, RawTensor> = {};
  for (const [name, tensor] of Object.entries(weights)) {
    tensors[name] = await toRaw(name, tensor, options.dtype ?? 'F32');
  }
  await writeFileAtomic(path, serializeSafetensors(tensors, options.metadata));
}

/**
 * Writes a file, all or nothing: into a temporary file of the same folder, flushed to the disk, then renamed.
 *
 * @throws when the folder is missing, the disk is full and so on; the temporary file is removed and an old file stays
 */
export async function writeFileAtomic(path: string, bytes: Uint8Array | string): Promise<void> {
  const { open, rename, rm } = await import('node:fs/promises');
  const { basename, dirname, join } = await import('node:path');
  const unique = Math.random().toString(36).slice(2);
  const temporary = join(dirname(path), `.${basename(path)}.${unique}.tmp`);
  try {
    const file = await open(temporary, 'wx');
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    const size = typeof bytes === 'string' ? new TextEncoder().encode(bytes).length : bytes.length;
    throw new Error(`writeFileAtomic: expected to write ${size} bytes to '${path}', got ${reason(error)}`, {
      cause: error,
    });
  }
}

async function readBytes(path: string): Promise<Uint8Array> {
  const { open } = await import('node:fs/promises');
  try {
    const file = await open(path, 'r');
    try {
      const bytes = new Uint8Array((await file.stat()).size);
      let end = 0; // in pieces, since one read stops at 2 GiB
      while (end < bytes.length) {
        const { bytesRead } = await file.read(bytes, end, Math.min(2 ** 30, bytes.length - end));
        if (bytesRead === 0) break;
        end += bytesRead;
      }
      return bytes.subarray(0, end);
    } finally {
      await file.close();
    }
  } catch (error) {
    throw new Error(`loadWeights: expected a readable file, got ${reason(error)} for '${path}'`, { cause: error });
  }
}

/** A system error in words. */
function reason(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
  const words: Record<string, string> = {
    ENOSPC: 'a full disk (ENOSPC); free some space',
    EDQUOT: 'a full quota (EDQUOT); free some space',
    ENOENT: 'no such file or folder (ENOENT)',
    ENOTDIR: 'a file where a folder should be (ENOTDIR)',
    EISDIR: 'a folder (EISDIR)',
    EACCES: 'no permission (EACCES)',
    EROFS: 'a read-only disk (EROFS)',
  };
  return words[code] ?? code;
}

function checkShapes(
  tensors: Readonly<Record<string, RawTensor>>,
  expected: Readonly<Record<string, readonly number[]>>,
  source: string,
): void {
  const problems = Object.entries(expected).flatMap(([name, shape]) => {
    const got = tensors[name]?.shape;
    if (got && got.length === shape.length && got.every((size, axis) => size === shape[axis])) return [];
    return [`'${name}' [${shape.join(', ')}], got ${got ? `[${got.join(', ')}]` : 'none'}`];
  });
  if (problems.length === 0) return;
  const shown = problems.slice(0, 5).join('; ');
  const more = problems.length > 5 ? `; and ${problems.length - 5} more` : '';
  throw new Error(`loadWeights: in ${source} expected ${shown}${more}`);
}

function toTensor({ dtype, shape, data }: RawTensor): tf.Tensor {
  if (data instanceof Float32Array) return tf.tensor(data, shape, 'float32');
  if (dtype === 'BOOL') return tf.tensor(data, shape, 'bool');
  return tf.tensor(data instanceof Int32Array ? data : Int32Array.from(data), shape, 'int32');
}

async function toRaw(name: string, tensor: tf.Tensor, float: 'F32' | 'F16'): Promise<RawTensor> {
  const dtypes: Partial<Record<string, RawTensor['dtype']>> = { float32: float, int32: 'I32', bool: 'BOOL' };
  const dtype = dtypes[tensor.dtype];
  if (!dtype) {
    throw new Error(`saveWeights: expected '${name}' as float32, int32 or bool, got ${tensor.dtype}`);
  }
  return { dtype, shape: tensor.shape, data: await tensor.data<'float32'>() };
}
