import assert from 'node:assert/strict';
import test from 'node:test';
import { generateScene, maskIou } from '@slimsam/eval';

test('eval: a scene is a function of its seed; IoU of masks', () => {
  const size = { width: 64, height: 64 };
  const scene = generateScene(3, size);
  assert.deepEqual(scene, generateScene(3, size));
  assert.ok(scene.annotations.length >= 3 && scene.annotations.length <= 8);
  assert.equal(maskIou(new Uint8Array([1, 1, 0, 0]), new Uint8Array([0, 1, 1, 0])), 1 / 3);
});
