import {
  type BackendFactory,
  type ConnectionOptions,
  createPostgresBackend,
  createRedisBackend,
  type IQueueBackend,
  type Queue,
  type QueueEvents,
  runMigrations,
} from 'bullmq';
import { Redis } from 'ioredis';
import pg from 'pg';

/** How BullMQ reaches a broker. */
export interface Broker {
  /** For messages: without the password. */
  readonly address: string;
  readonly connection: ConnectionOptions;
  readonly backend: BackendFactory<IQueueBackend, ConnectionOptions>;
  /** The queue's name. */
  readonly queue: string;
}

/** A queue and its events, whatever the broker is. */
export type JobsQueue = Queue<unknown, unknown, string, unknown, unknown, string, IQueueBackend, ConnectionOptions>;
export type JobsEvents = QueueEvents<unknown, IQueueBackend, ConnectionOptions>;

/** Milliseconds until a broker that does not answer is out of reach. */
const patience = 10_000;

/** An address as it may be shown. */
export const redacted = (text: string): string => text.replace(/(\w+:\/\/)[^@/\s]*@/g, '$1');

/**
 * Finds out whether there is a broker at an address, of a version that BullMQ takes, and prepares it: the tables of PostgreSQL are made
 * here, once, since workers without them would fail again and again.
 *
 * @param url `redis://USER:PASSWORD@HOST:PORT`, `rediss://…` or `postgres://USER:PASSWORD@HOST:PORT/DATABASE`; `?queue=NAME` takes
 * another queue than `slimsam`
 * @throws when it is out of reach, refuses the password, or is too old; the password is in no message
 */
export async function openBroker(url: string): Promise<Broker> {
  if (typeof url !== 'string')
    throw new Error(`--queue: expected redis://HOST or postgres://HOST/DATABASE, got ${typeof url}`);
  const address = redacted(url).replace(/\?.*$/, '');
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch {
    throw new Error(`--queue: expected redis://HOST or postgres://HOST/DATABASE, got '${address}'`);
  }
  const queue = parsed.searchParams.get('queue') ?? 'slimsam';
  if (!/^[\w-]{1,60}$/.test(queue))
    throw new Error(`--queue: expected a queue's name of letters and digits, got '${queue}'`);
  parsed.searchParams.delete('queue');
  const kind = parsed.protocol.replace(/:$/, '');
  try {
    if (kind === 'redis' || kind === 'rediss') return { address, queue, ...(await openRedis(parsed.href)) };
    if (kind === 'postgres' || kind === 'postgresql') return { address, queue, ...(await openPostgres(parsed.href)) };
  } catch (error) {
    throw new Error(`--queue: expected a broker at '${address}', got ${reasonOf(error, parsed)}`);
  }
  throw new Error(`--queue: expected redis://HOST or postgres://HOST/DATABASE, got '${address}'`);
}

async function openRedis(url: string): Promise<Pick<Broker, 'connection' | 'backend'>> {
  const redis = new Redis(url, { lazyConnect: true, connectTimeout: patience, retryStrategy: () => null });
  let cause: Error | undefined;
  redis.on('error', (error: Error) => {
    cause = error;
  });
  try {
    await redis.connect();
    const info = await redis.info();
    const version = /^redis_version:(\d+)/m.exec(info)?.[1];
    if (version !== undefined && Number(version) < 5) throw new Error(`Redis ${version}; BullMQ takes 5 or newer`);
    const policy = /^maxmemory_policy:(\S+)/m.exec(info)?.[1];
    if (policy !== undefined && policy !== 'noeviction')
      throw new Error(`Redis with the maxmemory-policy ${policy}, which drops jobs; set noeviction`);
  } catch (error) {
    throw cause ?? error;
  } finally {
    redis.disconnect();
  }
  const { hostname, port, username, password, pathname, protocol } = new URL(url);
  const database = Number(pathname.slice(1) || '0');
  const connection = {
    ...{
      host: hostname.replace(/^\[|\]$/g, ''),
      port: Number(port || '6379'),
      db: database,
      maxRetriesPerRequest: null,
    },
    ...(username && { username: decodeURIComponent(username) }),
    ...(password && { password: decodeURIComponent(password) }),
    ...(protocol === 'rediss:' && { tls: {} }),
    retryStrategy: (tries: number) => Math.min(5_000, 100 * 2 ** Math.min(tries, 6)),
  };
  return { connection, backend: createRedisBackend };
}

async function openPostgres(url: string): Promise<Pick<Broker, 'connection' | 'backend'>> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: patience });
  client.on('error', () => {}); // what is under way fails with it
  try {
    await client.connect();
    const { rows } = await client.query<{ server_version_num: string }>('SHOW server_version_num');
    const version = Math.floor(Number(rows[0]?.server_version_num) / 10_000);
    if (version < 13) throw new Error(`PostgreSQL ${version}; BullMQ takes 13 or newer`);
    await runMigrations(client);
  } finally {
    await client.end().catch(() => {});
  }
  const connection = { connectionString: url, connectionTimeoutMillis: patience, keepAlive: true, max: 4 };
  return {
    connection: {},
    backend: (name, options, extra) => createPostgresBackend(name, { ...options, connection }, extra),
  };
}

/** What went wrong, without what the address keeps secret. */
function reasonOf(error: unknown, { password, username }: URL): string {
  const causes = error instanceof AggregateError ? error.errors : [error];
  let text = causes.map((one) => (one instanceof Error ? one.message || one.name : String(one))).join('; ');
  for (const secret of [password, decodeURIComponent(password)]) if (secret) text = text.replaceAll(secret, '***');
  if (/WRONGPASS|NOAUTH|password authentication|invalid username-password/i.test(text))
    return `${text}; give user and password in the address${username || password ? ' as the broker knows them' : ''}`;
  return text.split('\n')[0]!;
}
