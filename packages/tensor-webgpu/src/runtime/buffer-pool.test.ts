import { expect, test } from 'vitest';
import { openedBackend } from '../../test/both-backends.ts';
import { BufferPool } from './buffer-pool.ts';

const backend = openedBackend();
const KiB = 1024;

function smallPool(): BufferPool {
  const pool: BufferPool = new BufferPool(backend().device, {
    spareBytes: () => 8 * KiB,
    flush: () => pool.submitted(),
    ...{ doubt: () => undefined, refused: () => undefined },
  });
  return pool;
}
const acquire = (pool: BufferPool, count: number, bytes: number) =>
  Array.from({ length: count }, () => pool.acquire(bytes, 'test'));

test('all that was live at once stays for the next step', () => {
  const pool = smallPool();
  const first = [...acquire(pool, 10, 4 * KiB), ...acquire(pool, 3, 20 * KiB)];
  for (const buffer of first) pool.release(buffer);
  expect([pool.liveBytes, pool.idleBytes]).toEqual([0, 100 * KiB]);
  const second = [...acquire(pool, 10, 4 * KiB), ...acquire(pool, 3, 20 * KiB)];
  expect(new Set(second)).toEqual(new Set(first));
  expect([pool.liveBytes, pool.idleBytes]).toEqual([100 * KiB, 0]);
});

test('live and idle buffers together stay below the most that was live, and the spare', () => {
  const pool = smallPool();
  for (const buffer of acquire(pool, 10, 4 * KiB)) pool.release(buffer);
  for (let bytes = KiB; bytes <= 32 * KiB; bytes += KiB) {
    const [buffer] = acquire(pool, 1, bytes);
    expect(pool.liveBytes + pool.idleBytes).toBeLessThanOrEqual(48 * KiB);
    pool.release(buffer!);
  }
  const idle = pool.idleBytes;
  acquire(pool, 1, 32 * KiB); // the size used last is still there
  expect(pool.idleBytes).toBe(idle - 32 * KiB);
});

test('an upload takes no buffer of which it is uncertain whether there is room for it', async () => {
  const doubts: Promise<void>[] = [];
  const pool: BufferPool = new BufferPool(backend().device, {
    spareBytes: () => 32 * KiB * KiB,
    flush: () => undefined, // the queue is held
    ...{ doubt: (certain) => doubts.push(certain), refused: () => undefined },
  });
  const values = new Float32Array(KiB * KiB + 1); // 4 MiB and a little
  const first = pool.acquireWith(values, 'test');
  pool.release(first);
  pool.submitted();
  const second = pool.acquireWith(values, 'test');
  expect(second).not.toBe(first);
  await Promise.all(doubts);
  expect(pool.acquireWith(values, 'test')).toBe(first);
  pool.dispose();
});
