import { expect, it } from 'vitest';
import { byteLength, type Encoded, float, integer, integers, message, text } from './protobuf.ts';

const hex = (parts: Encoded) => Buffer.concat(parts.map((part) => part as Uint8Array)).toString('hex');

it("writes the examples of protobuf's description of its encoding", () => {
  expect(hex(integer(1, 150))).toBe('089601');
  expect(hex(text(2, 'testing'))).toBe('120774657374696e67');
  expect(hex(message(3, integer(1, 150)))).toBe('1a03089601');
  expect(hex(integers(6, [3, 270, 86942]))).toBe('3206038e029ea705');
  expect(hex(integer(1, -2))).toBe('08feffffffffffffffff01');
});

it('writes floats, fields above 15, long strings and whole numbers beyond 32 bits', () => {
  expect(hex(float(2, 1.5))).toBe('150000c03f');
  expect(hex(integer(20, 7))).toBe('a00107');
  expect(hex(integer(1, 2 ** 40))).toBe('08808080808020');
  expect(hex(text(1, 'x'.repeat(300))).startsWith('0aac0278')).toBe(true);
  expect(hex(text(1, 'é'))).toBe('0a02c3a9');
});

it('counts bytes that are not yet there', () => {
  const later = { length: 200, read: async () => new Uint8Array(200) };
  const outer = message(7, message(5, [later]), integer(1, 1));
  expect(byteLength(outer)).toBe(3 + 3 + 200 + 2);
  expect(hex(outer.filter((part) => part instanceof Uint8Array))).toBe('3acd012ac8010801');
});
