import { readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { checkFields } from '@slimsam/weights';
import { reason } from '../data/sa1b-image.ts';
import { openFastSam } from './fast-sam.ts';
import { type OnnxModel, type OnnxOptions, openOnnx } from './open-onnx.ts';

/** An open model and the files that it is of. */
export interface OnnxPathModel extends OnnxModel {
  readonly files: readonly string[];
}

/**
 * Opens what lies at a path: a file `*.onnx` as FastSAM (`openFastSam`), a folder as a pair of an image encoder and a decoder (`openOnnx`),
 * which are the files with 'encoder' and 'decoder' in their names, in it or in its folder `onnx`. Of several, such as
 * `vision_encoder.onnx` and `vision_encoder_fp16.onnx`, it is the shortest name.
 *
 * @throws when there is no such file or pair, or as these functions do
 */
export async function openOnnxPath(
  place: string,
  options: Pick<OnnxOptions, 'convention' | 'resize' | 'side'> = {},
): Promise<OnnxPathModel> {
  checkFields('openOnnxPath', { place, options }, { place: 'string', options: 'object?' });
  const found = await stat(place).catch((error: unknown) => {
    throw new Error(`openOnnxPath: expected ONNX files at '${place}', got ${reason(error)}`, { cause: error });
  });
  if (!found.isDirectory()) return { ...(await openFastSam({ ...options, model: place })), files: [place] };
  const pair = (await pairIn(place)) ?? (await pairIn(path.join(place, 'onnx')));
  if (!pair) {
    throw new Error(
      `openOnnxPath: expected files named …encoder….onnx and …decoder….onnx in '${place}' or its folder onnx, got none`,
    );
  }
  return { ...(await openOnnx({ ...options, ...pair })), files: [pair.encoder, pair.decoder] };
}

async function pairIn(folder: string): Promise<{ encoder: string; decoder: string } | undefined> {
  const names = (await readdir(folder).catch(() => []))
    .filter((name) => name.endsWith('.onnx'))
    .sort((a, b) => a.length - b.length || a.localeCompare(b));
  const decoder = names.find((name) => /decoder/i.test(name));
  const encoder = names.find((name) => /encoder/i.test(name) && !/decoder/i.test(name));
  if (!encoder || !decoder) return undefined;
  return { encoder: path.join(folder, encoder), decoder: path.join(folder, decoder) };
}
