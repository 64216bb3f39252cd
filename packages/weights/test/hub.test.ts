import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { openTensors, type Progress, type RawTensor, serializeSafetensors, type TensorFile } from '../src/index.ts';
import { type HubServer, serveHub } from './hub-server.ts';

const first = '1'.repeat(40);
const second = '2'.repeat(40);
const count = 200_000;
const tensor = (start: number): RawTensor => ({
  dtype: 'F32',
  shape: [count],
  data: Float32Array.from({ length: count }, (_, i) => start + i),
});
const json = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
const model = serializeSafetensors({ w: tensor(0) });

let server: HubServer;
let cache: string;
beforeEach(async () => {
  cache = await mkdtemp(join(tmpdir(), 'hub-'));
  vi.stubEnv('HF_HOME', cache);
  server = await serveHub({
    'owner/model': {
      commits: {
        [first]: { 'model.safetensors': model, 'config.json': json({ version: 1 }) },
        [second]: { 'model.safetensors': serializeSafetensors({ w: tensor(7) }), 'config.json': json({ version: 2 }) },
      },
      branches: { main: first, next: second },
    },
    'owner/parts': {
      commits: {
        [first]: {
          'model.safetensors.index.json': json({ weight_map: { a: 'x.safetensors', b: 'y.safetensors' } }),
          'x.safetensors': serializeSafetensors({ a: tensor(1) }),
          'y.safetensors': serializeSafetensors({ b: tensor(2) }),
        },
      },
      branches: { main: first },
    },
    'owner/private': {
      commits: { [first]: { 'model.safetensors': model } },
      branches: { main: first },
      token: 'hf_secret',
    },
  });
  vi.stubEnv('HF_ENDPOINT', server.url);
});
afterEach(async () => {
  await server.stop();
  vi.unstubAllEnvs();
  await rm(cache, { recursive: true });
});

/** The first value of a tensor, after all of them were looked at. */
async function firstOf(file: TensorFile, name = 'w'): Promise<number> {
  const { data } = await file.read(name);
  expect(data.every((value, i) => value === data[0]! + i)).toBe(true);
  expect(data).toHaveLength(count);
  return data[0]!;
}

async function openAndRead(source: Parameters<typeof openTensors>[0], options = {}): Promise<number> {
  const file = await openTensors(source, options);
  try {
    return await firstOf(file);
  } finally {
    await file.close();
  }
}

const blobs = () => readdir(join(cache, 'hub/models--owner--model/blobs')).then((names) => names.sort());

describe('a model of the Hub', () => {
  it('writes nowhere but into its folder, whatever the server says', async () => {
    for (const commit of ['../../../../escape', '..', 'a'.repeat(39), '']) {
      server.models['owner/model']!.commits[commit] = { 'model.safetensors': model };
      server.models['owner/model']!.branches.main = commit;
      await expect(openTensors('owner/model')).rejects.toThrow(/expected a commit of 40 hexadecimal digits from http/);
    }
    expect(await readdir(cache)).toEqual([]);
  });

  it('is downloaded once, and opened from the cache with the server off', async () => {
    const file = await openTensors('owner/model');
    expect(await firstOf(file)).toBe(0);
    expect(await file.json('config.json')).toEqual({ version: 1 });
    expect(await file.json('preprocessor_config.json')).toBeUndefined();
    await file.close();
    const requests = server.requests.length;
    const downloads = server.requests.filter((request) => request.includes('/resolve/')).length;
    expect(await openAndRead({ hub: 'owner/model', revision: first })).toBe(0);
    expect(server.requests).toHaveLength(requests); // a commit is not asked for
    expect(await openAndRead('owner/model')).toBe(0);
    expect(server.requests.filter((request) => request.includes('/resolve/'))).toHaveLength(downloads);

    await server.stop();
    const again = await openTensors({ hub: 'owner/model' });
    expect(await firstOf(again)).toBe(0);
    expect(await again.json('config.json')).toEqual({ version: 1 });
    expect(await again.json('preprocessor_config.json')).toBeUndefined();
    await again.close();
    await expect(openTensors('owner/other')).rejects.toThrow(
      /^openTensors: expected model 'owner\/other' at revision 'main' on http.*, got '.*'; check the connection$/,
    );
  });

  it("lies in the Hub's own layout", async () => {
    await openAndRead('owner/model');
    const folder = join(cache, 'hub/models--owner--model');
    expect(await readFile(join(folder, 'refs/main'), 'utf8')).toBe(first);
    expect(Buffer.compare(await readFile(join(folder, 'snapshots', first, 'model.safetensors')), model)).toBe(0);
    expect(await blobs()).toHaveLength(1);
  });

  it('has revisions: branches and commits, beside one another in the cache', async () => {
    expect(await openAndRead({ hub: 'owner/model', revision: 'next' })).toBe(7);
    expect(await openAndRead('owner/model')).toBe(0);
    expect(await openAndRead({ hub: 'owner/model', revision: second })).toBe(7);
    const { json: read, close } = await openTensors({ hub: 'owner/model', revision: 'next' });
    expect(await read('config.json')).toEqual({ version: 2 });
    await close();
  });

  it('can be one file, or parts', async () => {
    expect(await openAndRead({ hub: 'owner/model', file: 'model.safetensors' })).toBe(0);
    const parts = await openTensors('owner/parts');
    expect([await firstOf(parts, 'a'), await firstOf(parts, 'b')]).toEqual([1, 2]);
    await parts.close();
    await server.stop();
    const again = await openTensors('owner/parts');
    expect(await firstOf(again, 'b')).toBe(2);
    await again.close();
  });

  it('gives way to a path of its name', async () => {
    const cwd = process.cwd();
    await mkdir(join(cache, 'owner/model'), { recursive: true });
    await writeFile(join(cache, 'owner/model/model.safetensors'), serializeSafetensors({ w: tensor(3) }));
    process.chdir(cache);
    try {
      expect(await openAndRead('owner/model')).toBe(3);
      expect(await openAndRead({ hub: 'owner/model' })).toBe(0);
    } finally {
      process.chdir(cwd);
    }
  });

  it('is loaded by two at once', async () => {
    expect(await Promise.all([openAndRead('owner/model'), openAndRead('owner/model')])).toEqual([0, 0]);
    expect(await blobs()).toHaveLength(1);
  });
});

describe('an interrupted download', () => {
  const ranges = () => server.requests.flatMap((request) => /resolve.* bytes=(\d+)-(?!0$)/.exec(request)?.[1] ?? []);

  it('goes on where it stopped', async () => {
    Object.assign(server.cuts, { count: 2, after: 250_000 });
    const seen: Progress[] = [];
    const onProgress = (progress: Progress) => void seen.push(progress);
    expect(await openAndRead('owner/model', { onProgress })).toBe(0);
    expect(ranges()).toEqual(['250000', '500000']);
    expect(await blobs()).toHaveLength(1);
    const downloaded = seen.filter(({ file }) => file === 'owner/model/model.safetensors');
    expect(downloaded.at(-1)).toMatchObject({ loaded: model.length, total: model.length });
    expect(downloaded.map(({ loaded }) => loaded)).toEqual(
      downloaded.map(({ loaded }) => loaded).sort((a, b) => a - b),
    );
  });

  it('that fails leaves no half file, and the next load goes on with it', async () => {
    Object.assign(server.cuts, { count: 4, after: 1000 });
    await expect(openTensors('owner/model')).rejects.toThrow(
      /^openBytes: expected the file at owner\/model\/model\.safetensors, got '.*' 4 times; try again later$/,
    );
    expect(await blobs()).toEqual([expect.stringMatching(/^[0-9a-f]{64}\.incomplete$/)]);
    expect(await openAndRead('owner/model')).toBe(0);
    expect(ranges().at(-1)).toBe('4000');
    expect(await blobs()).toEqual([expect.stringMatching(/^[0-9a-f]{64}$/)]);
  });

  it('stops by a signal, and the next load goes on with it', async () => {
    const controller = new AbortController();
    const onProgress = () => controller.abort(new Error('enough'));
    await expect(openTensors('owner/model', { signal: controller.signal, onProgress })).rejects.toThrow('enough');
    const [left, ...others] = await blobs();
    expect([left, others]).toEqual([expect.stringMatching(/\.incomplete$/), []]);
    expect(await openAndRead('owner/model')).toBe(0);
    await expect(openTensors('owner/parts', { signal: AbortSignal.abort(new Error('never')) })).rejects.toThrow(
      'never',
    );
  });

  it('begins again after a process that left other bytes', async () => {
    Object.assign(server.cuts, { count: 4, after: 1000 });
    await expect(openTensors('owner/model')).rejects.toThrow('4 times');
    const folder = join(cache, 'hub/models--owner--model/blobs');
    const [left] = await blobs();
    const dead = left!.replace('.incomplete', '.4194999-x.incomplete'); // beyond the largest process id
    await writeFile(join(folder, dead), new Uint8Array(5000));
    await rm(join(folder, left!));
    expect(await openAndRead('owner/model')).toBe(0);
    expect(ranges().at(-1)).toBe('5000');
    expect(await blobs()).toEqual([left!.replace('.incomplete', '')]);
  });
});

describe('what the Hub refuses', () => {
  const message = (source: Parameters<typeof openTensors>[0]) =>
    openTensors(source).then(
      () => expect.unreachable(),
      (error: Error) => error.message,
    );

  it('ids, revisions and files that do not exist', async () => {
    expect(await message('owner/none')).toMatch(
      /^openTensors: expected model 'owner\/none' at revision 'main' on http.*, got 404 \(Repository not found.*\); check the id and the revision$/,
    );
    expect(await message({ hub: 'owner/model', revision: 'v9' })).toContain("'owner/model' at revision 'v9' on http");
    expect(await message({ hub: 'owner/model', revision: '3'.repeat(40) })).toContain('got 404 (Invalid rev id');
    expect(await message({ hub: 'owner/model', file: 'sam.pth' })).toBe(
      "openTensors: expected 'sam.pth' in owner/model at revision 'main' of the Hub, got no such file",
    );
    expect(await message('owner/none.pth')).toContain('got no such file or folder (ENOENT)'); // a path, by its ending
    expect(await readdir(cache)).toEqual(['hub']);
  });

  it.each([{ hub: 'model' }, { hub: '../x' }, { hub: 'a/b', revision: '../../x' }, { hub: 'a/b', file: '/etc/x' }])(
    'names that leave the cache: %o',
    async (source) => {
      expect(await message(source)).toMatch(/^openTensors: expected a Hub id as 'owner\/name' and names as .*, got '/);
      expect(server.requests).toEqual([]);
    },
  );

  it('a private model without its token', async () => {
    expect(await message('owner/private')).toMatch(/got 401 \(.*\); check the id, and give token or HF_TOKEN/);
    expect(await message({ hub: 'owner/private', token: 'secret' })).toContain("must start with 'hf_'");
    expect(await openAndRead({ hub: 'owner/private', token: 'hf_secret', hubUrl: `${server.url}/` })).toBe(0);
    await rm(join(cache, 'hub'), { recursive: true });
    vi.stubEnv('HF_TOKEN', 'hf_secret');
    expect(await openAndRead('owner/private')).toBe(0);
  });

  it('an id without the package, naming the command that installs it', async () => {
    vi.doMock('@huggingface/hub', () => {
      throw new Error('Cannot find package');
    });
    try {
      expect(await message('owner/model')).toContain('got none; npm install @huggingface/hub');
    } finally {
      vi.doUnmock('@huggingface/hub');
    }
  });
});
