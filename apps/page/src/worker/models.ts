import { countMacs, countParameters } from '@slimsam/prune';
import { encoderCosts, type LoadSamOptions, loadSam, type Sam } from '@slimsam/vit';
import teacherUrl from '../../../../examples/teacher/teacher.safetensors?url';
import slimUrl from '../../models/slim.safetensors?url';

/** What the page may open. */
export type ModelSource =
  | { readonly bundled: 'slim' | 'teacher' }
  | { readonly file: File }
  /** A model of the Hugging Face Hub, 'owner/name', or the address of a file or (with a '/' at its end) of a folder. */
  | { readonly place: string };

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
  const stop = new AbortController();
  const { weights, config } = await loadSam(from, {
    config: known,
    signal: stop.signal,
    onProgress: ({ file, loaded, total }) => {
      if (total > largest) stop.abort(tooLarge(file, total));
      else onProgress(loaded, total);
    },
  }).catch((error: unknown) => {
    throw stop.signal.aborted ? stop.signal.reason : error;
  });
  return { sam: { weights, config }, name };
}

function placeOf(source: ModelSource): { name: string; from: string | File; config?: LoadSamOptions['config'] } {
  if ('bundled' in source) {
    const [name, url] = bundled[source.bundled];
    return { name, from: new URL(url, self.location.href).href, config: { decoderHeads: 4 } };
  }
  if ('place' in source) {
    const { place } = source;
    if (/^https?:\/\/./.test(place)) {
      if (!URL.canParse(place)) throw new Error(`model: expected an address, got '${place}'`);
      return { name: new URL(place).pathname.split('/').filter(Boolean).at(-1) ?? place, from: place };
    }
    if (!/^[\w.-]+\/[\w.-]+$/.test(place))
      throw new Error(
        `model: expected a Hub id such as nielsr/slimsam-50-uniform, or an address that starts with https://, got '${place}'`,
      );
    return { name: place, from: `https://huggingface.co/${place}/resolve/main/` };
  }
  const { file } = source;
  if (file.size > largest) throw tooLarge(`'${file.name}'`, file.size);
  return { name: file.name.replace(/\.[^.]+$/, ''), from: file };
}

function tooLarge(name: string, bytes: number): Error {
  const [got, most] = [bytes, largest].map((bytes) => `${(bytes / 1e9).toFixed(1)} GB`);
  return new Error(
    `model: expected a file of at most ${most}, got ${name} of ${got}; a tab cannot hold it, compress it with the slimsam command`,
  );
}

export function factsOf(id: string, name: string, { weights, config }: Sam): ModelFacts {
  const parameters = countParameters(weights);
  return {
    ...{ id, name, parameters, bytes: 4 * parameters, imageSize: config.imageSize },
    encoderParameters: countParameters(weights, { prefix: 'image_encoder.' }),
    macs: countMacs(weights, encoderCosts(weights, config)).paperMacs,
  };
}
