import * as tf from '@tensorflow/tfjs-core';
import { test } from 'vitest';
import { checkAttention } from '../../../test/attention-float64.ts';
import { backendWithOps } from '../../../test/ops-testing.ts';

backendWithOps();

const queries = [0, 1, 63, 64, 1021, 4095];
/** The gradient of the output is zero at all other queries, so float64 need not reckon those. */
const looked = {
  queries,
  pick: (output: tf.Tensor3D) => {
    const [G, , D] = output.shape;
    const picked = queries.map((q) => tf.slice(output, [0, q, 0], [G, 1, D]));
    return tf.concat(picked, 1);
  },
};

// SAM's head width and its pruned neighbours, on the keys of an image of 1024
test.each([14, 16, 32, 64, 80])('4096 queries over 64 x 64 keys with bias, heads of %i', (D) =>
  checkAttention({ G: 1, Nq: 4096, D, grid: [64, 64], bias: true }, { looked }),
);
