import assert from 'node:assert/strict';
import test from 'node:test';
import { maskIou } from '@slimsam/eval';

test('eval: IoU of masks', () => {
  assert.equal(maskIou(new Uint8Array([1, 1, 0, 0]), new Uint8Array([0, 1, 1, 0])), 1 / 3);
});
