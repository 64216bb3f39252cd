import { expect, test } from 'vitest';
import { structuresSvg } from '../pictures/structures.ts';

test('the picture of the two structures is what its code draws', async () => {
  await expect(structuresSvg()).toMatchFileSnapshot('../pictures/structures.svg');
});
