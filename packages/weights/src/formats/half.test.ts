import { expect, test } from 'vitest';
import { fromBfloat16, fromFloat16, toBfloat16, toFloat16 } from './half.ts';

test('every half and bfloat16 survives the way there and back', () => {
  for (let bits = 0; bits < 65536; bits++) {
    const half = fromFloat16(bits);
    if (!Number.isNaN(half)) expect(toFloat16(half)).toBe(bits);
    const brain = fromBfloat16(bits);
    if (!Number.isNaN(brain)) expect(toBfloat16(brain)).toBe(bits);
  }
  expect(fromFloat16(toFloat16(Number.NaN))).toBeNaN();
  expect(fromBfloat16(toBfloat16(Number.NaN))).toBeNaN();
});

test('rounds to the nearest, ties to even', () => {
  expect(fromFloat16(toFloat16(1 + 1 / 2048))).toBe(1);
  expect(fromFloat16(toFloat16(1 + 3 / 2048))).toBe(1 + 2 / 1024);
  expect(fromFloat16(toFloat16(0.1))).toBe(0.0999755859375);
  expect(fromFloat16(toFloat16(65519))).toBe(65504);
  expect(fromFloat16(toFloat16(65520))).toBe(Number.POSITIVE_INFINITY);
  expect(fromFloat16(toFloat16(2 ** -25))).toBe(0);
  expect(fromBfloat16(toBfloat16(1 + 1 / 256))).toBe(1);
});
