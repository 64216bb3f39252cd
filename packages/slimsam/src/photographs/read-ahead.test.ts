import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { type Begun, readAhead } from './read-ahead.ts';

/** Results 0 to count - 1; those that are left are noted. */
function work<T>(count: number, make: (i: number) => T | Error): { begin: () => Begun<T> | undefined; left: number[] } {
  const left: number[] = [];
  let next = 0;
  const begin = (): Begun<T> | undefined => {
    const i = next++;
    return i < count ? { result: Promise.resolve(make(i)), leave: () => left.push(i) } : undefined;
  };
  return { begin, left };
}

const options = (signal?: AbortSignal) => ({ ahead: 3, signal, onWaited: () => {} });

describe('reading ahead', () => {
  it('gives results in order, and leaves what was begun at an error', async () => {
    const found: number[] = [];
    const { begin, left } = work(9, (i) => (i === 4 ? new Error('four') : i));
    const reading = async () => {
      for await (const i of readAhead(begin, options())) found.push(i);
    };
    await expect(reading()).rejects.toThrow('four');
    expect(found).toEqual([0, 1, 2, 3]);
    expect(left).toEqual([5, 6]);
  });

  it('stops at a signal while nothing comes', async () => {
    const stop = new AbortController();
    const reader = readAhead(() => ({ result: new Promise<number>(() => {}), leave: () => {} }), options(stop.signal));
    const next = expect(reader.next()).rejects.toThrow('enough');
    stop.abort(new Error('enough'));
    await next;
  });

  it('holds none of the results that it has given', async () => {
    setFlagsFromString('--expose-gc');
    const collect: () => void = runInNewContext('gc');
    const given: WeakRef<object>[] = [];
    const { begin } = work(40, () => ({ pixels: new Uint8Array(1000) }));
    for await (const result of readAhead(begin, options(new AbortController().signal))) {
      given.push(new WeakRef(result));
      await new Promise((resolve) => setTimeout(resolve));
      if (given.length % 20 > 0) continue;
      collect();
      expect(given.slice(0, -2).filter((reference) => reference.deref())).toHaveLength(0);
    }
    expect(given).toHaveLength(40);
  });
});
