import net from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openQueue } from '../src/index.ts';
import { startRedis, type TestServer } from './brokers.ts';

let redis: TestServer;
beforeAll(async () => {
  redis = await startRedis({ password: 'secret-of-the-test' });
});
afterAll(() => redis.stop());

describe('a broker', () => {
  test.each<[string, string | (() => string), RegExp]>([
    [
      'out of reach',
      'redis://me:hidden@127.0.0.1:1',
      /^(?!.*hidden)--queue: expected a broker at 'redis:\/\/127.0.0.1:1', got .*ECONNREFUSED/,
    ],
    [
      'out of reach, of PostgreSQL',
      'postgres://me:hidden@127.0.0.1:1/x',
      /^(?!.*hidden)--queue: expected a broker at .*ECONNREFUSED/,
    ],
    [
      'with a wrong password',
      () => redis.url.replace('secret-of-the-test', 'hidden'),
      /^(?!.*hidden)--queue: .*(WRONGPASS|AUTH).*give user and password/,
    ],
    ['of no known kind', 'amqp://me:hidden@host', /^(?!.*hidden)--queue: expected redis:\/\/HOST or postgres:/],
    ['that is no address', 'nowhere', /^--queue: expected redis:\/\/HOST/],
  ])('%s is one clear error', async (_, url, message) => {
    await expect(openQueue(typeof url === 'string' ? url : url())).rejects.toThrow(message);
  });

  test.each([
    ['Redis', fakeRedis, 'redis', /got Redis 3; BullMQ takes 5 or newer/],
    ['PostgreSQL', fakePostgres, 'postgres', /got PostgreSQL 12; BullMQ takes 13 or newer/],
  ] as const)('%s that is too old is one clear error', async (_, answers, protocol, message) => {
    const old = net.createServer((socket) => {
      socket.on('data', (bytes) => void socket.write(answers(bytes)));
      socket.on('error', () => {});
    });
    await new Promise<void>((resolve) => old.listen(0, '127.0.0.1', resolve));
    const { port } = old.address() as net.AddressInfo;
    await expect(openQueue(`${protocol}://me:hidden@127.0.0.1:${port}`)).rejects.toThrow(message);
    old.close();
  });
});

/** What a Redis of the year 2016 answers. */
function fakeRedis(bytes: Buffer): Buffer {
  const info = 'redis_version:3.2.1\r\n';
  const commands = [...bytes.toString().matchAll(/\*\d+\r\n\$\d+\r\n(\w+)/g)].map(([, name]) => name!.toLowerCase());
  return Buffer.from(commands.map((name) => (name === 'info' ? `$${info.length}\r\n${info}\r\n` : '+OK\r\n')).join(''));
}

/** What a PostgreSQL of the year 2019 answers: to a password, and to a question for its version. */
function fakePostgres(bytes: Buffer): Buffer {
  const message = (type: string, ...parts: (string | number[])[]): Buffer => {
    const body = Buffer.concat(parts.map((part) => Buffer.from(part)));
    const head = Buffer.from([...Buffer.from(type), 0, 0, 0, 0]);
    head.writeInt32BE(body.length + 4, 1);
    return Buffer.concat([head, body]);
  };
  const ready = message('Z', 'I');
  switch (String.fromCharCode(bytes[0]!)) {
    case 'p':
      return Buffer.concat([message('R', [0, 0, 0, 0]), ready]);
    case 'Q': {
      const column = message(
        'T',
        [0, 1],
        'server_version_num\0',
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 25, 255, 255],
        [255, 255, 255, 255, 0, 0],
      );
      return Buffer.concat([column, message('D', [0, 1, 0, 0, 0, 6], '120022'), message('C', 'SHOW\0'), ready]);
    }
    case 'X':
      return Buffer.alloc(0);
    default:
      return message('R', [0, 0, 0, 3]); // a start: the password is asked for
  }
}
