import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A model on the server: files of each commit, and the commits that branches are at. */
export interface HubModel {
  commits: Record<string, Record<string, Uint8Array>>;
  branches: Record<string, string>;
  /** The one token that may read it; everybody unless given. */
  token?: string;
}

export interface HubServer {
  url: string;
  /** What is served; it may be changed. */
  models: Record<string, HubModel>;
  /** Every request: method, path, and the range of a download. */
  requests: string[];
  /** Downloads from now on that break, and after how many bytes. */
  cuts: { count: number; after: number };
  stop(): Promise<void>;
}

const large = 1000; // bytes from which on files are stored as LFS does

/** A server of 127.0.0.1 with the part of the Hugging Face Hub's API that downloads of models need. */
export async function serveHub(models: Record<string, HubModel>): Promise<HubServer> {
  const requests: string[] = [];
  const cuts = { count: 0, after: 0 };
  const server = createServer((request, response) => {
    void answer(request, response).catch((error) => response.destroy(error));
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = decodeURIComponent(request.url!.split('?')[0]!);
    requests.push([request.method, path, request.headers.range].filter(Boolean).join(' '));
    const json = (status: number, body: unknown) =>
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    const { kind, id, revision, file } =
      /^\/api\/models\/(?<id>[^/]+\/[^/]+)\/(?<kind>revision|paths-info)\/(?<revision>.+)$/.exec(path)?.groups ??
      /^\/(?<id>[^/]+\/[^/]+)\/(?<kind>resolve)\/(?<revision>[^/]+)\/(?<file>.+)$/.exec(path)?.groups ??
      {};
    const model = models[id ?? ''];
    if (!model) return void json(404, { error: 'Repository not found' });
    if (model.token && request.headers.authorization !== `Bearer ${model.token}`)
      return void json(401, { error: 'Invalid username or password.' });
    const commit = model.branches[revision!] ?? revision!;
    const files = model.commits[commit];
    if (!files) return void json(404, { error: `Invalid rev id: ${revision}` });
    if (kind === 'revision')
      return void json(200, { _id: '1', id, sha: commit, private: !!model.token, lastModified: 0 });
    if (kind === 'paths-info') {
      const { paths } = JSON.parse(await textOf(request));
      return void json(
        200,
        paths.flatMap((name: string) => (files[name] ? [infoOf(name, files[name])] : [])),
      );
    }
    const bytes = files[file!];
    if (!bytes) return void response.writeHead(404, { 'x-error-code': 'EntryNotFound' }).end();
    const [, from = '0', to = ''] = /bytes=(\d+)-(\d*)/.exec(request.headers.range ?? '') ?? [];
    const end = to ? Number(to) + 1 : bytes.length;
    const part = bytes.subarray(Number(from), end);
    response.writeHead(request.headers.range ? 206 : 200, {
      'content-range': `bytes ${from}-${end - 1}/${bytes.length}`,
      'content-length': part.length,
      etag: '"1"',
    });
    if (part.length <= cuts.after || cuts.count === 0) return void response.end(part);
    cuts.count--;
    response.write(part.subarray(0, cuts.after), () => setTimeout(() => response.destroy(), 20)); // what was sent arrives
  }

  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    models,
    requests,
    cuts,
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve)); // a second time too
    },
  };
}

function infoOf(path: string, bytes: Uint8Array): object {
  const oid = createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');
  if (bytes.length < large) return { type: 'file', path, oid, size: bytes.length };
  const lfs = { oid: createHash('sha256').update(bytes).digest('hex'), size: bytes.length, pointerSize: 134 };
  return { type: 'file', path, oid, size: bytes.length, lfs };
}

async function textOf(request: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of request) text += chunk;
  return text;
}
