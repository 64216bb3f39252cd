import { countMacs, countParameters } from '@slimsam/prune';
import { encoderCosts, type LoadSamOptions, loadSam, type Sam } from '@slimsam/vit';
import teacherUrl from '../../../../examples/teacher/teacher.safetensors?url';
import slimUrl from '../../models/slim.safetensors?url';

/** What the page may open. */
export type ModelSource =
  | { readonly bundled: 'slim' | 'teacher' }
  | { readonly file: File }
  /** 'owner/name' */
  | { readonly hub: string };

/** What the page shows of a model. */
export interface ModelFacts {
  readonly id: string;
  readonly name: string;
  /** Of the whole model. */
  readonly parameters: number;
  readonly encoderParameters: number;
  /** Of its weights as float32. */
  readonly bytes: number;
  /** Of the encoder, the paper's count. */
  readonly macs: number;
  /** Pixels. */
  readonly imageSize: number;
}

/** Bytes of the largest file that is opened: a tab has little more memory than it takes as float32. */
const largest = 1.5e9;

const bundled = { slim: ['slim, 50 %', slimUrl], teacher: ['teacher', teacherUrl] } as const;

/** Loads a SAM. @throws when it is none, or too large for a tab */
export async function openSam(
  source: ModelSource,
  onProgress: (loaded: number, total: number) => void,
): Promise<{ sam: Sam; name: string }> {
  const { name, from, config: known = {} } = placeOf(source);
  const { weights, config } = await loadSam(from, {
    config: known,
    onProgress: ({ loaded, total }) => onProgress(loaded, total),
  });
  return { sam: { weights, config }, name };
}

function placeOf(source: ModelSource): { name: string; from: string | File; config?: LoadSamOptions['config'] } {
  if ('bundled' in source) {
    const [name, url] = bundled[source.bundled];
    return { name, from: new URL(url, self.location.href).href, config: { decoderHeads: 4 } };
  }
  if ('hub' in source) {
    const { hub } = source;
    if (!/^[\w.-]+\/[\w.-]+$/.test(hub))
      throw new Error(`model: expected a Hub id such as nielsr/slimsam-50-uniform, got '${hub}'`);
    return { name: hub, from: `https://huggingface.co/${hub}/resolve/main/` };
  }
  const { file } = source;
  if (file.size > largest) {
    const [got, most] = [file.size, largest].map((bytes) => `${(bytes / 1e9).toFixed(1)} GB`);
    throw new Error(
      `model: expected a file of at most ${most}, got '${file.name}' of ${got}; a tab cannot hold it, compress it with the slimsam command`,
    );
  }
  return { name: file.name.replace(/\.[^.]+$/, ''), from: file };
}

export function factsOf(id: string, name: string, { weights, config }: Sam): ModelFacts {
  const parameters = countParameters(weights);
  return {
    ...{ id, name, parameters, bytes: 4 * parameters, imageSize: config.imageSize },
    encoderParameters: countParameters(weights, { prefix: 'image_encoder.' }),
    macs: countMacs(weights, encoderCosts(weights, config)).paperMacs,
  };
}
