import { it } from 'vitest';
import { dinov2Small } from './plain-checkpoints.ts';
import { staysConsistent } from './plain-consistency.ts';
import { withWebgpu } from './support.ts';

withWebgpu();

it.each(['Meta DINOv2', 'Dinov2WithRegistersModel'])(
  'a %s of the small size loads, runs, is pruned by a quarter and stays consistent',
  (name) => staysConsistent(name, dinov2Small, { imageSize: [518, 518], input: [42, 70] }),
);
