import * as tf from '@tensorflow/tfjs-core';
import { checkFields } from './check-fields.ts';
import { checkTarget, type FileContent, type FileTarget, nameOf, writeHandle } from './file-target.ts';
import type { RawTensor } from './formats/raw-tensor.ts';
import { encodeTensor, layOut, parseSafetensors, type Safetensors } from './formats/safetensors.ts';
import { parseHeader } from './formats/safetensors-header.ts';
import { requireBackend } from './require-backend.ts';
import type { FileSource } from './sources/byte-source.ts';
import { openBytes, systemError } from './sources/open-bytes.ts';
import { removeStale, temporaryName } from './temporary-files.ts';
import type { Weights } from './weights.ts';

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
  checkFields('readSafetensors', { path }, { path: 'path' });
  return parseSafetensors((await readWhole(path)).bytes, path);
}

/**
 * Reads a safetensors file as tensors: floats as float32, whole numbers as int32, BOOL as bool.
 *
 * @throws when the file cannot be read or parsed, or a tensor of `expected` is missing or has another shape (all are named)
 */
export async function loadWeights(source: FileSource, options: ExpectedShapes = {}): Promise<LoadedWeights> {
  const { name, bytes } = await readWhole(source);
  return parseWeights(bytes, name, options);
}

/** `loadWeights` for bytes that are already in memory (in browsers: what `fetch` gave). */
export function parseWeights(bytes: Uint8Array, source: string, options: ExpectedShapes = {}): LoadedWeights {
  requireBackend('loadWeights');
  const { tensors, metadata } = parseSafetensors(bytes, source);
  checkShapes(tensors, options.expected ?? {}, source);
  const made: [string, tf.Tensor][] = [];
  try {
    for (const [name, raw] of Object.entries(tensors)) made.push([name, toTensor(raw)]);
  } catch (error) {
    for (const [, tensor] of made) tensor.dispose();
    throw error;
  }
  return { weights: Object.fromEntries(made), metadata }; // own properties, whatever their names
}

/**
 * Writes weights to a safetensors file tensor by tensor, all or nothing: see `writeFileAtomic`.
 *
 * @param options.dtype of the floats, by default F32
 * @param options.metadata texts by name
 * @throws when dtype or metadata are of another type, or the file cannot be written; an old file of that name is then still there
 */
export async function saveWeights(
  target: FileTarget,
  weights: Weights,
  options: { metadata?: Record<string, string>; dtype?: 'F32' | 'F16' } = {},
): Promise<void> {
  checkTarget('saveWeights', target);
  checkFields('saveWeights', { options }, { options: 'object' });
  const { dtype = 'F32' } = options;
  const path = nameOf(target);
  if (typeof weights !== 'object' || weights === null)
    throw new Error(`saveWeights: expected a table of weights for '${path}', got ${String(weights)}`);
  if (dtype !== 'F32' && dtype !== 'F16')
    throw new Error(`saveWeights: expected dtype 'F32' or 'F16' for '${path}', got '${String(dtype)}'`);
  const infos = Object.fromEntries(
    Object.entries(weights).map(([name, tensor]) => [
      name,
      { dtype: dtypeOf(name, tensor, dtype), shape: tensor.shape },
    ]),
  );
  const { header, order, size } = layOut(infos, options.metadata ?? {});
  parseHeader(header, path, header.length + size); // what could not be read back is not written
  await writeFileAtomic(target, chunks());

  async function* chunks(): AsyncGenerator<Uint8Array> {
    yield header;
    for (const name of order)
      yield encodeTensor(name, { ...infos[name]!, data: await weights[name]!.data<'float32'>() });
  }
}

/**
 * Writes a file, all or nothing: into a temporary file of the same folder, flushed to the disk, then renamed. What killed processes
 * left of such temporary files is removed from the folder first. A browser's handle is written through `createWritable`, which
 * replaces the file when all is there.
 *
 * @throws when the folder is missing, the disk or the quota is full and so on; the temporary file is removed and an old file stays
 */
export async function writeFileAtomic(target: FileTarget, content: FileContent): Promise<void> {
  checkTarget('writeFileAtomic', target);
  if (typeof content !== 'string' && !(content instanceof Uint8Array))
    checkFields('writeFileAtomic', { content }, { content: 'iterable' });
  if (typeof target !== 'string') return writeHandle(target, content);
  const path = target;
  const { dirname, open, rename, rm } = await import('#node');
  await removeStale(dirname(path));
  const temporary = await temporaryName(path);
  try {
    const file = await open(temporary, 'wx');
    try {
      if (typeof content === 'string' || content instanceof Uint8Array) await file.writeFile(content);
      else for await (const chunk of content) await file.writeFile(chunk);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    if (!(error instanceof Error && 'code' in error)) throw error; // of the content, not of the file
    throw new Error(`writeFileAtomic: expected to write ${sizeOf(content)} to '${path}', got ${systemError(error)}`, {
      cause: error,
    });
  }
}

function sizeOf(content: FileContent): string {
  if (typeof content === 'string') return `${new TextEncoder().encode(content).length} bytes`;
  return content instanceof Uint8Array ? `${content.length} bytes` : 'the content';
}

/** The whole of a file, and its name for errors. */
async function readWhole(source: FileSource): Promise<{ name: string; bytes: Uint8Array }> {
  const file = await openBytes(source);
  try {
    return { name: file.name, bytes: await file.read(0, file.size) };
  } finally {
    await file.close();
  }
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

function dtypeOf(name: string, tensor: tf.Tensor, float: 'F32' | 'F16'): RawTensor['dtype'] {
  const dtypes: Partial<Record<string, RawTensor['dtype']>> = { float32: float, int32: 'I32', bool: 'BOOL' };
  const dtype = dtypes[tensor.dtype];
  if (!dtype) {
    throw new Error(`saveWeights: expected '${name}' as float32, int32 or bool, got ${tensor.dtype}`);
  }
  return dtype;
}
