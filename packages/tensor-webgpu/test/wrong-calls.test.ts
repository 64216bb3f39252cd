/** What callers without TypeScript can get wrong: one clear error each, at once; nothing is opened. */
import { expect, test } from 'vitest';
import * as root from '../src/index.ts';

const { chromeTrace, createWebgpuBackend, findLeaks, profile, profileTable, shader, tune, useWebgpu } = root;
const wrong = (value: unknown) => value as never;
const backend = wrong({ facts: {}, run() {}, record() {}, trackTensors() {} });
const work = () => undefined;

const calls: [string, () => unknown, string][] = [
  ['useWebgpu(null)', () => useWebgpu(wrong(null)), 'useWebgpu: expected options { name, '],
  ['useWebgpu(3)', () => useWebgpu(wrong(3)), 'got 3'],
  ['a name of 3', () => useWebgpu({ name: wrong(3) }), 'useWebgpu: expected name to be a string, got 3'],
  ['an adapter of 3', () => useWebgpu({ adapter: wrong(3) }), 'useWebgpu: expected adapter to be a string, got 3'],
  ['a device {}', () => useWebgpu({ device: wrong({}) }), 'expected device to be a device, got an object'],
  ['toggles of true', () => useWebgpu({ toggles: wrong(true) }), 'expected toggles to be an object, got true'],
  ['requireGpu of 1', () => useWebgpu({ requireGpu: wrong(1) }), 'expected requireGpu to be a boolean, got 1'],
  ['gpu of null', () => createWebgpuBackend({ gpu: wrong(null) }), 'useWebgpu: expected gpu to be an object, got null'],
  ['profile()', () => profile(wrong(undefined), work), 'profile: expected backend to be a backend, got none'],
  [
    'profile without work',
    () => profile(backend, wrong(undefined)),
    'profile: expected work to be a function, got none',
  ],
  ['profile, null', () => profile(backend, work, wrong(null)), 'profile: expected options to be an object, got null'],
  ['another clock', () => profile(backend, work, { clock: wrong('sun') }), "or 'cpu', got 'sun'"],
  ['profileTable({})', () => profileTable(wrong({})), 'profileTable: expected profile to be a profile, got an object'],
  ['chromeTrace()', () => chromeTrace(wrong(undefined)), 'chromeTrace: expected profile to be a profile, got none'],
  ['findLeaks({})', () => findLeaks(wrong({}), work), 'findLeaks: expected backend to be a backend, got an object'],
  ['findLeaks, 3', () => findLeaks(backend, wrong(3)), 'findLeaks: expected work to be a function, got 3'],
  ['tune(null)', () => tune(wrong(null), work).next(), 'tune: expected backend to be a backend, got null'],
  ['tune, []', () => tune(backend, wrong([])).next(), 'tune: expected work to be a function, got a list'],
  ['tune, null', () => tune(backend, work, wrong(null)).next(), 'tune: expected options to be an object, got null'],
  [
    'a cache of 3',
    () => tune(backend, work, { cache: wrong(3) }).next(),
    "expected cache to be a file's path or false",
  ],
  ['a signal of 3', () => tune(backend, work, { signal: wrong(3) }).next(), 'expected signal to be an object, got 3'],
  ['shader()', () => shader(wrong(undefined)), 'shader: expected options { label, inputs, outputs'],
  ['shader without body', () => shader(wrong({ label: '', inputs: {}, outputs: {} })), 'expected body to be a string'],
];
test.each(calls)('%s is refused', async (_, call, message) => {
  await expect((async () => call())()).rejects.toThrow(message);
});

test('every exported function is among them', () => {
  const tried = [chromeTrace, createWebgpuBackend, findLeaks, profile, profileTable, shader, tune, useWebgpu];
  const all = Object.values(root).filter((value) => typeof value === 'function' && value !== root.WebgpuBackend);
  expect(new Set(all)).toEqual(new Set(tried));
});
