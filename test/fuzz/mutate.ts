import type { Format } from './format.ts';
import { type Random, seeded } from './random.ts';

/** Numbers at which readers break. */
const edges = [0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff];
const texts = [
  '-1',
  '0',
  '1e999',
  'null',
  '[]',
  '{}',
  '""',
  '9007199254740993',
  '4294967296',
  '__proto__',
  '\u001b[2J',
  '[[',
  '1.5',
];

const values = [
  null,
  true,
  -1,
  0,
  1,
  1.5,
  2 ** 31,
  2 ** 53,
  1e308,
  '',
  'x'.repeat(70_000),
  '\u001b[2J',
  [],
  {},
  [[]],
  [-1],
];

type Mutation = (bytes: Uint8Array, random: Random, other: Uint8Array) => Uint8Array;

const mutations: readonly Mutation[] = [
  function flipBit(bytes, random) {
    const result = bytes.slice();
    result[random(bytes.length)]! ^= 1 << random(8);
    return result;
  },
  function setByte(bytes, random) {
    const result = bytes.slice();
    result[random(bytes.length)] = edges[random(edges.length)]! & 255;
    return result;
  },
  function setWord(bytes, random) {
    if (bytes.length < 8) return bytes;
    const result = bytes.slice();
    const view = new DataView(result.buffer, result.byteOffset, result.byteLength);
    const at = random(bytes.length - 7);
    const value = edges[random(edges.length)]!;
    if (random(2) === 0) view.setUint32(at, value, random(2) === 0);
    else view.setBigUint64(at, BigInt(value) << BigInt(random(33)), true);
    return result;
  },
  function truncate(bytes, random) {
    return bytes.slice(0, random(bytes.length));
  },
  function remove(bytes, random) {
    const at = random(bytes.length);
    const length = 1 + random(Math.min(64, bytes.length - at));
    return joined(bytes.subarray(0, at), bytes.subarray(at + length));
  },
  function repeat(bytes, random) {
    const at = random(bytes.length);
    const part = bytes.subarray(at, at + 1 + random(32));
    const times = 1 + random(random(8) === 0 ? 20_000 : 20);
    const copies = new Uint8Array(part.length * times);
    for (let i = 0; i < times; i++) copies.set(part, i * part.length);
    return joined(bytes.subarray(0, at), copies, bytes.subarray(at));
  },
  function insertText(bytes, random) {
    const at = random(bytes.length);
    return joined(bytes.subarray(0, at), new TextEncoder().encode(texts[random(texts.length)]!), bytes.subarray(at));
  },
  function replaceNumber(bytes, random) {
    // a decimal number of a JSON or a header
    const digits = [...bytes.keys()].filter((i) => isDigit(bytes[i]) && !isDigit(bytes[i - 1]));
    if (digits.length === 0) return bytes;
    const at = digits[random(digits.length)]!;
    let end = at;
    while (isDigit(bytes[end])) end++;
    return joined(bytes.subarray(0, at), new TextEncoder().encode(texts[random(texts.length)]!), bytes.subarray(end));
  },
  function changeJson(bytes, random) {
    // another value, or none, somewhere in a JSON text
    let root: unknown;
    try {
      root = JSON.parse(new TextDecoder().decode(bytes));
    } catch {
      return bytes;
    }
    const places: { of: Record<string, unknown>; key: string }[] = [];
    const visit = (value: unknown) => {
      if (typeof value !== 'object' || value === null) return;
      for (const key of Object.keys(value)) {
        places.push({ of: value as Record<string, unknown>, key });
        visit((value as Record<string, unknown>)[key]);
      }
    };
    visit(root);
    if (places.length === 0) return bytes;
    const { of, key } = places[random(places.length)]!;
    const others = places.map((place) => place.of[place.key]);
    if (random(6) === 0) delete of[key];
    else if (random(3) === 0) of[key] = others[random(others.length)];
    else of[key] = values[random(values.length)];
    try {
      return new TextEncoder().encode(JSON.stringify(root));
    } catch {
      return bytes; // a value that became a part of itself
    }
  },
  function splice(bytes, random, other) {
    return joined(bytes.subarray(0, random(bytes.length)), other.subarray(random(other.length)));
  },
];

/** The valid inputs of a format that are changed. */
export async function validInputs(
  format: Format,
  { seed, count = 12 }: { seed: number; count?: number },
): Promise<Uint8Array[]> {
  const inputs: Uint8Array[] = [];
  for (let i = 0; i < count; i++) inputs.push(await format.valid(seeded(seed * 7919 + i)));
  return inputs;
}

/** An input by its number: one of the valid ones with some changes, most often one. */
export function inputOf(valid: readonly Uint8Array[], { seed, number }: { seed: number; number: number }): Uint8Array {
  const random = seeded(seed * 1_000_003 + number);
  let result = valid[random(valid.length)]!;
  const other = valid[random(valid.length)]!;
  for (let times = 1 + random(3) * random(3); times > 0 && result.length > 0; times--)
    result = mutations[random(mutations.length)]!(result, random, other);
  return result;
}

const isDigit = (byte: number | undefined): boolean => byte !== undefined && byte >= 48 && byte <= 57;

function joined(...parts: readonly Uint8Array[]): Uint8Array {
  const result = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    result.set(part, at);
    at += part.length;
  }
  return result;
}
