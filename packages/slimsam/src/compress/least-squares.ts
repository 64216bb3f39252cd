import * as tf from '@tensorflow/tfjs-core';

/** Sums from which a linear layer is fitted to what it should give. */
export interface Sums {
  /** X' X of inputs, with a column of ones where there is a bias [I + 1, I + 1]. */
  readonly gram: tf.Tensor2D;
  /** X' Y [I + 1, O]. */
  readonly cross: tf.Tensor2D;
}

/** Adds inputs [..., I] and what is wanted of them [..., O], each pair as often as `counts` [..., 1] says; the sums given before are used up. They outlive a `tf.tidy`. */
export function addSums(
  before: Sums | undefined,
  { inputs, wanted, bias, counts }: { inputs: tf.Tensor; wanted: tf.Tensor; bias: boolean; counts?: tf.Tensor },
): Sums {
  const sums = tf.tidy(() => {
    const rows = (x: tf.Tensor) => tf.reshape(x, [-1, x.shape.at(-1)!]) as tf.Tensor2D;
    const given = rows(inputs);
    const x = bias ? (tf.concat([given, tf.ones([given.shape[0], 1])], 1) as tf.Tensor2D) : given;
    const counted = counts ? (tf.mul(x, rows(counts)) as tf.Tensor2D) : x;
    const gram = tf.matMul(counted, x, true);
    const cross = tf.matMul(counted, rows(wanted), true);
    return {
      gram: tf.keep(before ? tf.add(before.gram, gram) : gram) as tf.Tensor2D,
      cross: tf.keep(before ? tf.add(before.cross, cross) : cross) as tf.Tensor2D,
    };
  });
  if (before) tf.dispose([before.gram, before.cross]);
  return sums;
}

/** The ridge, as a share of their diagonal: it holds weights that few inputs tell of near those that they begin with. */
const ridge = 0.01;
const rounds = 100;

/**
 * The linear layer, weight [O, I] and bias [O], that minimises sum (W x + b - y)² + ridge * sum diag(X' X) (W - W0)², from W0 = `start`:
 * conjugate gradients on the normal equations with their diagonal as preconditioner, all outputs at once.
 */
export function fitLinear(
  { gram, cross }: Sums,
  start: { weight: tf.Tensor; bias: tf.Tensor | undefined },
): { weight: tf.Tensor2D; bias: tf.Tensor1D | undefined } {
  return tf.tidy(() => {
    const [O, I] = start.weight.shape as [number, number];
    const matrix = tf.transpose(tf.reshape(start.weight, [O, I])) as tf.Tensor2D;
    const first = start.bias ? (tf.concat([matrix, tf.reshape(start.bias, [1, O])]) as tf.Tensor2D) : matrix;
    const own = tf.sum(tf.mul(gram, tf.eye(gram.shape[0])), 1, true);
    const diagonal = tf.maximum(own, tf.mul(tf.max(own), 1e-9)); // inputs that are always 0
    const damping = tf.mul(diagonal, ridge);
    const product = (x: tf.Tensor) => tf.add(tf.matMul(gram, x as tf.Tensor2D), tf.mul(damping, x));
    const dot = (a: tf.Tensor, b: tf.Tensor) => tf.sum(tf.mul(a, b), 0, true); // [1, O]
    let change: tf.Tensor = tf.zerosLike(first);
    let rest: tf.Tensor = tf.sub(cross, tf.matMul(gram, first));
    const scaled = tf.div(rest, diagonal);
    let direction = scaled;
    let size = dot(rest, scaled);
    for (let round = 0; round < rounds; round++) {
      const next = tf.tidy(() => {
        const ahead = product(direction);
        const length = tf.divNoNan(size, dot(direction, ahead));
        const moved = tf.add(change, tf.mul(length, direction));
        const left = tf.sub(rest, tf.mul(length, ahead));
        const conditioned = tf.div(left, diagonal);
        const sizeLeft = dot(left, conditioned);
        const turned = tf.add(conditioned, tf.mul(tf.divNoNan(sizeLeft, size), direction));
        return [moved, left, turned, sizeLeft] as const;
      }) as [tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor];
      tf.dispose([change, rest, direction, size]);
      [change, rest, direction, size] = next;
    }
    const found = tf.add(first, change);
    const weight = tf.transpose(tf.slice(found, [0, 0], [I, O])) as tf.Tensor2D;
    const bias = start.bias && (tf.reshape(tf.slice(found, [I, 0], [1, O]), [O]) as tf.Tensor1D);
    return { weight, bias };
  });
}
