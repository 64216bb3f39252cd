import assert from 'node:assert/strict';
import test from 'node:test';
import { generateScene } from '@slimsam/scenes';

test('scenes: a scene is a function of its seed', () => {
  const size = { width: 64, height: 64 };
  const scene = generateScene(3, size);
  assert.deepEqual(scene, generateScene(3, size));
  assert.ok(scene.annotations.length >= 3 && scene.annotations.length <= 8);
});
