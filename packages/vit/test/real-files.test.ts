/** Files as people have them: trainers' dicts, tied names, parts of a model, folders of today's transformers, marks of editors. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { disposeWeights, serializeSafetensors, type Weights } from '@slimsam/weights';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { instance, type Python, pickleOf, tensorOf, torchFile } from '../../weights/test/pytorch-files.ts';
import { loadSam, loadVit } from '../src/index.ts';
import { decoderHeads, expectEqual, huggingFaceFolder, readTinyFiles, type TinyFiles } from './checkpoint-files.ts';
import { tinyConfig, withWebgpu } from './support.ts';

withWebgpu();
let files: TinyFiles;
let tensors: TinyFiles['tensors'];
beforeAll(async () => {
  files = await readTinyFiles();
  tensors = files.tensors;
});
const expectTiny = (weights: Weights) => expectEqual(weights, tensors);

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'real-files-'));
});
afterEach(() => rm(folder, { recursive: true }));

/** sam-tiny as a .pth with the state dict below each of these keys, and other objects beside. */
function torchModels(keys: readonly string[], beside: readonly (readonly [string, Python])[] = []): Uint8Array {
  const names = Object.keys(tensors);
  const state = new Map(names.map((name, i) => [name, tensorOf(String(i), tensors[name]!.shape)]));
  const storages = Object.fromEntries(names.map((name, i) => [String(i), tensors[name]!.data]));
  return torchFile(
    pickleOf(new Map<string, Python>([...keys.map((key) => [key, state] as const), ...beside])),
    storages,
  );
}

describe('files of real people', () => {
  it('several models in one file are an error that names them, unless one is chosen; a sole one is taken below any prefix', async () => {
    const both = torchModels(['model_ema', 'model']);
    await expect(loadSam(both, decoderHeads)).rejects.toThrow(
      "loadSam: expected one SAM in the given bytes, got 2 below 'model_ema.', 'model.'; choose with prefix: 'model_ema.'",
    );
    for (const prefix of ['model', 'model_ema.'])
      await expectTiny((await loadSam(both, { ...decoderHeads, prefix })).weights);
    await expect(loadSam(both, { ...decoderHeads, prefix: 'teacher' })).rejects.toThrow("a SAM below 'teacher'");
    await expectTiny((await loadSam(torchModels(['any.thing']), decoderHeads)).weights);
  });

  it('harmless companions of a state dict are left alone and listed', async () => {
    const namespace = instance('argparse', 'Namespace', new Map<string, Python>([['lr', 1]]));
    const { weights, opaque } = await loadSam(torchModels(['model'], [['args', namespace]]), decoderHeads);
    await expectTiny(weights);
    expect(opaque).toEqual(['args: argparse.Namespace']);
  });

  it('a tied tensor is taken under either of its names', async () => {
    const [first, copy] = [
      'shared_image_embedding.positional_embedding',
      'prompt_encoder.shared_embedding.positional_embedding',
    ];
    const all = Object.entries(files.huggingFaceNames).map(([name, meta]) => [name, tensors[meta]!] as const);
    for (const left of [first, copy]) {
      const bytes = serializeSafetensors(Object.fromEntries(all.filter(([name]) => name !== left)), {
        [left]: left === first ? copy : first,
      });
      await expectTiny((await loadSam(bytes, decoderHeads)).weights);
    }
    const neither = Object.fromEntries(all.filter(([name]) => name !== first && name !== copy));
    await expect(loadSam(serializeSafetensors(neither), decoderHeads)).rejects.toThrow('gaussian_matrix');
  });

  it("an image encoder's own state dict loads with part: 'encoder', and loadVit points there", async () => {
    const start = 'image_encoder.';
    const encoder = Object.entries(tensors).filter(([name]) => name.startsWith(start));
    for (const prefix of ['', 'model.']) {
      const bare = serializeSafetensors(
        Object.fromEntries(encoder.map(([name, raw]) => [prefix + name.slice(start.length), raw])),
      );
      const { weights, config } = await loadSam(bare, { part: 'encoder', ...decoderHeads });
      expect(config).toEqual(tinyConfig);
      expect(Object.keys(weights).sort()).toEqual(encoder.map(([name]) => name).sort());
      await expect(loadSam(bare)).rejects.toThrow('got an image encoder alone');
      await expect(loadVit(bare)).rejects.toThrow("got SAM's image encoder");
    }
  });

  it('an image processor is honoured, also inside processor_config.json, or refused', async () => {
    await huggingFaceFolder(folder, files, { parts: 1 });
    const load = async (processor: object) => {
      await writeFile(join(folder, 'processor_config.json'), JSON.stringify({ image_processor: processor }));
      const { weights, config } = await loadSam(folder);
      disposeWeights(weights);
      return config;
    };
    expect(await load({ image_mean: [0.5, 0.5, 0.5], size: { longest_edge: 128 } })).toMatchObject({
      pixelMean: [127.5, 127.5, 127.5],
    });
    expect(await load({ do_normalize: false })).toMatchObject({ pixelMean: [0, 0, 0], pixelStd: [255, 255, 255] });
    expect(await load({ do_rescale: false, do_normalize: false })).toMatchObject({ pixelStd: [1, 1, 1] });
    const refused: [object, string][] = [
      [{ size: { longest_edge: 1024 } }, 'expected size to be { longest_edge: 128 }'],
      [{ resample: 3 }, 'expected resample to be 2 (bilinear)'],
      [{ do_resize: false }, 'expected do_resize to be true'],
      [{ do_pad: false }, 'expected pad_size to be 128 x 128'],
      [{ pad_size: { height: 64, width: 64 } }, 'expected pad_size to be 128 x 128'],
      [{ do_normalize: 'no' }, "'do_normalize'"],
    ];
    for (const [processor, message] of refused) await expect(load(processor)).rejects.toThrow(message);
  });

  it('a byte order mark, as editors on Windows write, in the JSON files of a folder', async () => {
    await huggingFaceFolder(folder, files, { parts: 2 });
    await writeFile(join(folder, 'preprocessor_config.json'), '{"image_mean": [0.5, 0.5, 0.5]}');
    for (const name of ['config.json', 'model.safetensors.index.json', 'preprocessor_config.json'])
      await writeFile(join(folder, name), `\ufeff${await readFile(join(folder, name), 'utf8')}`);
    const { weights, config } = await loadSam(folder);
    await expectTiny(weights);
    expect(config).toEqual({ ...tinyConfig, pixelMean: [127.5, 127.5, 127.5] });
    disposeWeights(weights);
    await writeFile(join(folder, 'config.json'), '\ufeff\u200b{'); // what nobody sees is shown
    await expect(loadSam(folder)).rejects.toThrow('\\u200b');
  });

  it("a server's HTML page for what it does not have: said of weights, passed over beside them", async () => {
    await huggingFaceFolder(folder, files, { parts: 1 });
    const page = '<!DOCTYPE html>\n<html lang="en"><title>App</title></html>';
    const server = createServer(async (request, response) => {
      const bytes = await readFile(join(folder, request.url!.slice(1))).catch(() => page);
      response.writeHead(200, { 'content-type': 'text/html' }).end(bytes);
    }).listen(0, '127.0.0.1');
    try {
      await new Promise((resolve) => server.once('listening', resolve));
      const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
      const { weights, config } = await loadSam(address); // neither an index nor a processor is there
      await expectTiny(weights);
      expect(config).toEqual(tinyConfig);
      disposeWeights(weights);
      for (const load of [loadSam, loadVit])
        await expect(load(`${address}none.safetensors`)).rejects.toThrow(
          'got an HTML page, as servers send for addresses',
        );
    } finally {
      server.close();
    }
    await writeFile(join(folder, 'config.json'), page);
    await expect(loadSam(folder)).rejects.toThrow('config.json, got an HTML page');
    const pointer = new TextEncoder().encode('version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n');
    await expect(loadSam(pointer)).rejects.toThrow('got a pointer of Git LFS; get the file itself by `git lfs pull`');
  });
});
