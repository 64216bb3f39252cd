import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { type RawTensor, serializeSafetensors, type Weights } from '@slimsam/weights';
import * as tf from '@tensorflow/tfjs-core';
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { serveHub } from '../../weights/test/hub-server.ts';
import { call, pickleOf, tensorOf, torchFile } from '../../weights/test/pytorch-files.ts';
import { type LoadSamOptions, loadSam } from '../src/index.ts';
import { decoderHeads, expectEqual, huggingFaceFolder, readTinyFiles, type TinyFiles } from './checkpoint-files.ts';
import { fixturePath, readSlimsamObject, tinyConfig, withWebgpu } from './support.ts';

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
  folder = await mkdtemp(join(tmpdir(), 'load-sam-'));
});
afterEach(() => rm(folder, { recursive: true }));

/** sam-tiny with changes, as the bytes of a safetensors file; undefined removes a tensor. */
function changed(changes: Record<string, RawTensor | undefined>): Uint8Array {
  const all = Object.entries({ ...tensors, ...changes }).filter((entry): entry is [string, RawTensor] => !!entry[1]);
  return serializeSafetensors(Object.fromEntries(all));
}

/** model.pth of the fixture: its own pickle; storage i is the i-th weight by name. */
async function torchCheckpoint(): Promise<Uint8Array> {
  const pickle = gunzipSync(await readFile(fixturePath('sam-tiny/model.pth.pkl.gz')));
  const names = Object.keys(tensors).sort();
  return torchFile(pickle, Object.fromEntries(names.map((name, i) => [String(i), tensors[name]!.data])));
}

describe('loadSam', () => {
  it("reads Meta's safetensors, its config from the shapes, and leaks nothing", async () => {
    const before = tf.memory().numTensors;
    const { weights, config, problems } = await loadSam(fixturePath('sam-tiny/model.safetensors'), decoderHeads);
    await expectTiny(weights);
    expect(config).toEqual(tinyConfig);
    expect(problems).toEqual([]);
    tf.dispose(weights);
    expect(tf.memory().numTensors).toBe(before);
  });

  it("warns when nothing tells the decoder's heads and it has not SAM's width", async () => {
    const warn = vi.spyOn(console, 'warn').mockReturnValue(undefined);
    try {
      const { config } = await loadSam(changed({}));
      expect(config).toEqual({ ...tinyConfig, decoderHeads: 8 });
      expect(warn.mock.calls).toEqual([[expect.stringContaining('Give config: { decoderHeads }')]]);
      await loadSam(changed({}), decoderHeads);
      await loadSam(changed({}), { part: 'encoder' });
      expect(warn).toHaveBeenCalledTimes(1);
    } finally {
      warn.mockRestore();
    }
  });

  it('takes our config.json beside a file, and a folder with it and any one file of weights', async () => {
    const given = { ...tinyConfig, pixelMean: [1, 2, 3] };
    await writeFile(join(folder, 'teacher.safetensors'), serializeSafetensors(tensors));
    await writeFile(join(folder, 'config.json'), JSON.stringify(given));
    for (const source of [join(folder, 'teacher.safetensors'), folder]) {
      const { weights, config } = await loadSam(source);
      expect(config).toEqual(given);
      await expectTiny(weights);
    }
    const inside = { sam_config: JSON.stringify({ ...given, pixelStd: [4, 5, 6] }) };
    await writeFile(join(folder, 'teacher.safetensors'), serializeSafetensors(tensors, inside));
    expect((await loadSam(folder)).config).toEqual({ ...given, pixelStd: [4, 5, 6] }); // what is inside comes first

    await writeFile(join(folder, 'teacher.safetensors'), serializeSafetensors(tensors));
    await writeFile(join(folder, 'config.json'), '{"editor": "another program\'s"}');
    expect((await loadSam(join(folder, 'teacher.safetensors'), decoderHeads)).config).toEqual(tinyConfig);
    await writeFile(join(folder, 'other.pth'), '');
    await expect(loadSam(folder)).rejects.toThrow(/expected one file of weights in .*, got other.pth, teacher.safeten/);
  });

  it("reads Meta's .pth, also below a trainer's prefix", async () => {
    const path = join(folder, 'sam.pth');
    await writeFile(path, await torchCheckpoint());
    const { weights, config } = await loadSam(path, { ...decoderHeads, check: true });
    await expectTiny(weights);
    expect(config).toEqual(tinyConfig);

    const names = Object.keys(tensors);
    const state = new Map(names.map((name, i) => [`module.${name}`, tensorOf(String(i), tensors[name]!.shape)]));
    const storages = Object.fromEntries(names.map((name, i) => [String(i), tensors[name]!.data]));
    const training = new Map<string, number | typeof state>([
      ['epoch', 3],
      ['model', state],
    ]);
    await expectTiny((await loadSam(torchFile(pickleOf(training), storages))).weights);
  });

  it('reads a Hugging Face folder, whole and in parts, by path and by address', async () => {
    const server = createServer(async (request, response) => {
      const bytes = await readFile(join(folder, request.url!.slice(1))).catch(() => undefined);
      response.writeHead(bytes ? 200 : 404).end(bytes);
    }).listen(0, '127.0.0.1');
    try {
      await new Promise((resolve) => server.once('listening', resolve));
      const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
      for (const parts of [1, 2] as const) {
        for (const source of [await huggingFaceFolder(folder, files, { parts }), address]) {
          const { weights, config } = await loadSam(source);
          await expectTiny(weights);
          expect(config).toEqual(tinyConfig);
        }
      }
    } finally {
      server.close();
    }
  });

  it('reads a model of the Hub by its id, whole and in parts, without the network the second time', async () => {
    const commits: Record<string, Record<string, Uint8Array>> = {};
    const [whole, sharded] = ['a'.repeat(40), 'b'.repeat(40)];
    for (const [commit, parts] of [
      [whole, 1],
      [sharded, 2],
    ] as const) {
      const of = await huggingFaceFolder(folder, files, { parts });
      const names = (await readdir(of)).filter((name) => parts === 1 || name !== 'model.safetensors');
      commits[commit] = Object.fromEntries(
        await Promise.all(names.map(async (name) => [name, await readFile(join(of, name))])),
      );
    }
    const server = await serveHub({ 'facebook/sam-tiny': { commits, branches: { main: whole, sharded } } });
    vi.stubEnv('HF_HOME', join(folder, 'cache'));
    vi.stubEnv('HF_ENDPOINT', server.url);
    try {
      for (const source of ['facebook/sam-tiny', { hub: 'facebook/sam-tiny', revision: 'sharded' }]) {
        const { weights, config } = await loadSam(source);
        await expectTiny(weights);
        expect(config).toEqual(tinyConfig);
      }
      await server.stop();
      await expectTiny((await loadSam('facebook/sam-tiny')).weights);
    } finally {
      vi.unstubAllEnvs();
      await server.stop();
    }
  });

  it('reads split q, k and v', async () => {
    const split = Object.entries(tensors).flatMap(([name, raw]) => {
      if (!name.includes('.attn.qkv.')) return [];
      const { data, shape, dtype } = raw;
      const third = data.length / 3;
      const part = (i: number) => ({
        dtype,
        shape: [shape[0]! / 3, ...shape.slice(1)],
        data: data.slice(i * third, (i + 1) * third),
      });
      return [[name, undefined] as const, ...['q', 'k', 'v'].map((p, i) => [name.replace('qkv', p), part(i)] as const)];
    });
    const changes = Object.fromEntries(split);
    await expectTiny((await loadSam(changed(changes))).weights);
    const key = 'image_encoder.blocks.0.attn.k.bias';
    const narrow = { dtype: 'F32' as const, shape: [36], data: new Float32Array(36) };
    await expect(loadSam(changed({ ...changes, [key]: narrow }))).rejects.toThrow(
      /expected q, k and v of one shape in the given bytes, got 'image_encoder\.blocks\.0\.attn\.q\.bias' \[48\], '.*k\.bias' \[36\]/,
    );
    await expect(loadSam(changed({ ...changes, [key]: undefined }))).rejects.toThrow(`'${key}' none`);
  });

  it.each(['F16', 'BF16'] as const)('reads %s', async (dtype) => {
    const low = Object.fromEntries(Object.entries(tensors).map(([name, raw]) => [name, { ...raw, dtype }]));
    const { weights } = await loadSam(serializeSafetensors(low));
    const bits = dtype === 'F16' ? 11 : 8; // of the fraction, with the hidden one
    for (const [name, { data }] of Object.entries(tensors)) {
      const values = await weights[name]!.data();
      const wrong = data.findIndex(
        (value, i) => Math.abs(value - values[i]!) > Math.abs(value) * 2 ** -bits + 2 ** -25,
      );
      expect(wrong).toBe(-1);
    }
  });

  it('reads a whole pickled SlimSAM, with its sizes', async () => {
    const { weights, config } = await readSlimsamObject();
    expect(config).toEqual({
      ...{ imageSize: 64, patchSize: 8, heads: 4, headWidth: 7, windowSize: 3, globalBlocks: [1, 3], decoderHeads: 4 },
      ...{ pixelMean: [123.675, 116.28, 103.53], pixelStd: [58.395, 57.12, 57.375] },
    });
    const widths = [0, 1, 2, 3].map((i) => weights[`image_encoder.blocks.${i}.attn.qkv.weight`]!.shape);
    expect(widths).toEqual([28, 24, 24, 20].map((q) => [3 * q, 24]));
  });
});

describe('what loadSam refuses', () => {
  const pos = 'image_encoder.pos_embed';
  const zeros = (...shape: number[]): RawTensor => ({
    dtype: 'F32',
    shape,
    data: new Float32Array(shape.reduce((a, b) => a * b, 1)),
  });
  const message = async (source: Parameters<typeof loadSam>[0], options?: LoadSamOptions) => {
    const before = tf.memory().numTensors;
    const error: Error = await loadSam(source, options).then(
      () => expect.unreachable(),
      (reason) => reason,
    );
    expect(tf.memory().numTensors).toBe(before);
    expect(error.message).toMatch(/^\w+: .*expected .*, got .*$/);
    return error.message;
  };

  it('missing, extra and misshapen weights, which strict: false lists', async () => {
    const misfit = changed({
      'mask_decoder.iou_token.weight': undefined,
      'image_encoder.blocks.1.mlp.lin1.bias': zeros(7),
      'image_encoder.extra': zeros(2, 3),
    });
    expect(await message(misfit)).toBe(
      "loadSam: in the given bytes expected 'image_encoder.blocks.1.mlp.lin1.bias' [192], got [7]; 'mask_decoder.iou_token.weight' [1, 32], got none; no 'image_encoder.extra', got [2, 3]; strict: false loads what fits",
    );
    const { weights, problems } = await loadSam(misfit, { strict: false });
    expect(problems).toEqual([
      "'image_encoder.blocks.1.mlp.lin1.bias' [192], got [7]",
      "'mask_decoder.iou_token.weight' [1, 32], got none",
      "no 'image_encoder.extra', got [2, 3]",
    ]);
    expect(Object.keys(weights)).toHaveLength(200);
  });

  it('a checkpoint without what tells its sizes, naming it', async () => {
    const without = (pattern: RegExp) =>
      changed(
        Object.fromEntries(Object.keys(tensors).flatMap((name) => (pattern.test(name) ? [[name, undefined]] : []))),
      );
    expect(await message(without(/pos_embed/))).toContain(`expected '${pos}' [1, ?, ?, 48], got none; strict`);
    expect(await message(without(/pos_embed/), { strict: false })).toBe(
      'loadSam: expected weights that tell imageSize, got none; give it as config: { imageSize }',
    );
    const lost = await message(without(/blocks\.2\.norm1/));
    expect(lost).toContain(
      "expected 'image_encoder.blocks.2.norm1.weight' [48], got none; 'image_encoder.blocks.2.norm1.bias'",
    );
    expect(lost).not.toContain('blocks.3');
    const wrong = serializeSafetensors(tensors, { sam_config: '{' });
    expect(await message(wrong)).toBe("loadSam: expected JSON as sam_config of the given bytes, got '{'");
  });

  it('values that are not finite, on request', async () => {
    const bad = zeros(1, 8, 8, 48);
    bad.data.set([Number.NaN, Number.NEGATIVE_INFINITY, 3e38, Number.NaN], 5);
    expect(await message(changed({ [pos]: bad }), { check: true })).toBe(
      `loadSam: expected finite values in '${pos}' of the given bytes, got 2 NaN and 1 infinite of 3072, the first at 5; train or save it again`,
    );
    await loadSam(changed({ [pos]: bad }));
  });

  it('a pickle that asks for code, also in the end, and a truncated zip', async () => {
    const evil = new Map([['a', call('os', 'system', ['true'])]]);
    expect(await message(torchFile(pickleOf(evil), {}))).toContain("got 'os.system', which was not called");
    const whole = await torchCheckpoint();
    expect(await message(whole.subarray(0, whole.length - 30_000))).toContain("a zip's end record in the given bytes");
  });

  it('other models, other files, other folders', async () => {
    expect(await message(serializeSafetensors({ 'vit.weight': zeros(1) }))).toContain(
      "got 1 other tensors ('vit.weight'",
    );
    expect(await message(new Uint8Array(64))).toContain('parseSafetensors: expected');
    expect(await message(join(folder, 'none.pth'))).toContain('got no such file or folder (ENOENT)');
    expect(await message(folder)).toContain("model.safetensors'");
    const part = join(await huggingFaceFolder(folder, files, { parts: 2 }), 'model-00002-of-00002.safetensors');
    await writeFile(join(folder, 'model.safetensors.index.json'), '{"weight_map": {"a": "../x"}}');
    expect(await message(folder)).toContain('expected weight_map with names of files');
    await huggingFaceFolder(folder, files, { parts: 2 });
    await writeFile(join(folder, 'config.json'), '{"vision_config": {"window_size": "x"}}');
    expect(await message(folder)).toContain("'vision_config.window_size'");
    await writeFile(join(folder, 'config.json'), '{');
    expect(await message(folder)).toContain('expected JSON in');
    await huggingFaceFolder(folder, files, { parts: 2 });
    await writeFile(part, serializeSafetensors({}));
    expect(await message(folder)).toContain('model.safetensors.index.json lists it');
  });

  it('a config that does not fit', async () => {
    await mkdir(join(folder, 'x'));
    await expect(loadSam(changed({}), { config: { patchSize: 7 } })).rejects.toThrow('SAM config: expected imageSize');
  });
});
