import { expect, test } from 'vitest';
import { type Axes, dims, linear } from './axes.ts';

const axes: Axes = {
  ...linear('qkv', [3, 2, 'head'], 'embed'),
  ...linear('proj', 'embed', [2, 'head']),
  rel_pos: [null, 'head'],
};
const shapes = {
  'qkv.weight': { shape: [30, 7] },
  'qkv.bias': { shape: [30] },
  'proj.weight': { shape: [7, 10] },
  'proj.bias': { shape: [7] },
  rel_pos: { shape: [13, 5] },
  other: { shape: [4] },
};

test('dims inverts the table', () => {
  const found = dims(axes, shapes);
  expect([...found.keys()].sort()).toEqual(['embed', 'head']);
  expect(found.get('head')).toEqual({
    size: 5,
    members: [
      { weight: 'qkv.weight', axis: 0 },
      { weight: 'qkv.bias', axis: 0 },
      { weight: 'proj.weight', axis: 1 },
      { weight: 'rel_pos', axis: 1 },
    ],
  });
  expect(found.get('embed')?.members).toHaveLength(3);
});

test('a product of two dimensions takes one of them from elsewhere, in any order of the table', () => {
  const found = dims({ both: [['a', 'b']], alone: ['b'] }, { both: { shape: [15] }, alone: { shape: [5] } });
  expect(found.get('a')?.size).toBe(3);
  expect(() => dims({ both: [['a', 'b']] }, { both: { shape: [15] } })).toThrow(
    "dims: expected at most one unknown dimension in axis 0 of 'both', got [a, b]",
  );
});

test('errors name both sides', () => {
  expect(() => dims(axes, { ...shapes, rel_pos: { shape: [13, 6] } })).toThrow(
    "dims: expected axis 1 of 'rel_pos' to be [head] = 5 (sizes from 'qkv.weight' axis 0), got 6",
  );
  expect(() => dims(axes, { ...shapes, 'qkv.weight': { shape: [31, 7] } })).toThrow('a multiple of 6, got 31');
  expect(() => dims(axes, { ...shapes, rel_pos: { shape: [13] } })).toThrow(
    "dims: expected 'rel_pos' to have 2 axes, got shape [13]",
  );
  expect(() => dims({ gone: ['a'] }, shapes)).toThrow("dims: expected weight 'gone'");
  expect(() => dims({ twice: [['a', 'a']] }, { twice: { shape: [4] } })).toThrow('distinct dimensions');
});
