import assert from 'node:assert/strict';
import test from 'node:test';
import { slimSam } from 'slimsam';

test('slimsam: a recipe is data', () => {
  const { steps } = slimSam({ ratio: 0.5 });
  assert.deepEqual(
    steps.map(({ kind }) => kind),
    ['prune', 'align', 'prune', 'align'],
  );
  assert.throws(() => slimSam({ ratio: 1 }), /expected a ratio in \[0, 1\), got 1/);
});
