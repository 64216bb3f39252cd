import { existsSync } from 'node:fs';
import path from 'node:path';
import type { Sam } from '@slimsam/vit';
import { loadSam, loadVit } from '@slimsam/vit';
import { isSam, type Model } from './network.ts';

/** What the file of a model may not tell. */
export interface ModelOptions {
  readonly decoderHeads?: number;
}

/** An address or a Hub id as it is, else a path. */
function sourceOf(text: string): string {
  if (/^https?:/.test(text)) return text;
  const file = path.resolve(text);
  return !existsSync(file) && /^[\w-][\w.-]*\/[\w-][\w.-]*$/.test(text) ? text : file;
}

/**
 * Loads a SAM or a plain ViT: a file, a folder, an address or a Hub id.
 *
 * @throws when it is neither, saying what both expect
 */
export async function loadModel(text: string, options: ModelOptions = {}): Promise<Model> {
  const source = sourceOf(text);
  const { decoderHeads } = options;
  try {
    return await loadSam(source, decoderHeads === undefined ? {} : { config: { decoderHeads } });
  } catch (error) {
    if (!(error instanceof Error) || !/is it a SAM\?/.test(error.message)) throw error;
    return loadVit(source).catch((other: Error) => {
      if (!/^loadVit: expected the names of a ViT/.test(other.message)) throw other;
      const got = other.message.replace(/^.*?, got /, '');
      throw new Error(`MODEL: expected a SAM or a plain ViT in '${text}', got ${got}`);
    });
  }
}

/** Loads a SAM. @throws when it is a plain ViT or nothing known */
export async function loadOnlySam(text: string, options: ModelOptions = {}): Promise<Sam> {
  const model = await loadModel(text, options);
  if (isSam(model)) return model;
  throw new Error(`MODEL: expected a SAM in '${text}', got a plain ViT; it has no prompts and masks`);
}
