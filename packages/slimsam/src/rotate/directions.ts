import { EigenvalueDecomposition, Matrix, SingularValueDecomposition } from 'ml-matrix';

/**
 * The orthogonal change of basis of a residual stream, y = R x, that a layer norm does not notice: it keeps the vector of ones. The first
 * `kept` channels of y hold the strongest `kept` - 1 directions of the stream without its mean, and the mean; of the others they have no
 * more than one constant, which a layer norm takes off (SliceGPT, arXiv 2401.15024, with one basis for all blocks).
 *
 * @param second sums of x x' of the stream's vectors x without their means [C, C]
 * @returns R [C, C]
 */
export function streamRotation(second: Matrix, kept: number): Matrix {
  const C = second.rows;
  const ones = Matrix.ones(C, C);
  // the ones come first this way, so that all other directions are at right angles to them
  const marked = Matrix.add(second, Matrix.mul(ones, (2 * second.trace()) / C + 1));
  const directions = sortedEigenvectors(marked).subMatrix(0, C - 1, 1, C - 1); // [C, C - 1], strongest first
  return Matrix.add(zeroSumBasis(C, kept).mmul(directions.transpose()), Matrix.mul(ones, 1 / C));
}

/**
 * An orthonormal basis of the vectors without mean [C, C - 1]: the first `kept` - 1 live in the first `kept` channels, then come those of
 * the other channels, and last the difference of the two parts.
 */
function zeroSumBasis(C: number, kept: number): Matrix {
  const basis = Matrix.zeros(C, C - 1);
  const rest = C - kept;
  basis.setSubMatrix(householder(kept), 0, 0);
  if (rest === 0) return basis;
  if (rest > 1) basis.setSubMatrix(householder(rest), kept, kept - 1);
  for (let i = 0; i < C; i++)
    basis.set(i, C - 2, i < kept ? Math.sqrt(rest / (kept * C)) : -Math.sqrt(kept / (rest * C)));
  return basis;
}

/** All columns but the first of the reflection that takes the first unit vector to that of ones [n, n - 1]. */
function householder(n: number): Matrix {
  const normal = Matrix.columnVector(Array.from({ length: n }, (_, i) => 1 / Math.sqrt(n) - (i === 0 ? 1 : 0)));
  const square = normal.dot(normal);
  const reflection = square === 0 ? Matrix.eye(n) : Matrix.eye(n).sub(normal.mmul(normal.transpose()).mul(2 / square));
  return n === 1 ? Matrix.zeros(1, 0) : reflection.subMatrix(0, n - 1, 1, n - 1);
}

/** Eigenvectors of a symmetric matrix as columns, the largest eigenvalue first. */
function sortedEigenvectors(symmetric: Matrix): Matrix {
  const { realEigenvalues, eigenvectorMatrix } = new EigenvalueDecomposition(symmetric, { assumeSymmetric: true });
  const order = realEigenvalues.map((_, i) => i).sort((a, b) => realEigenvalues[b]! - realEigenvalues[a]!);
  return eigenvectorMatrix.subMatrixColumn(order);
}

/** Roots of a symmetric matrix and of its inverse. */
function roots(symmetric: Matrix): { root: Matrix; inverse: Matrix } {
  const { realEigenvalues, eigenvectorMatrix: vectors } = new EigenvalueDecomposition(symmetric, {
    assumeSymmetric: true,
  });
  const least = Math.max(1e-30, 1e-7 * Math.max(...realEigenvalues));
  const sizes = realEigenvalues.map((value) => Math.sqrt(Math.max(value, least)));
  const made = (diagonal: number[]) => vectors.mmul(Matrix.diag(diagonal)).mmul(vectors.transpose());
  return { root: made(sizes), inverse: made(sizes.map((size) => 1 / size)) };
}

/** Changes of basis: channels x [N, D] become x T, of which the first tell the most. */
export interface HeadRotation {
  readonly queries: Matrix;
  readonly keys: Matrix;
  readonly values: Matrix;
  /** Of the projection's inputs: its weight [C, D] becomes W P. */
  readonly projection: Matrix;
}

/**
 * The changes of basis of a head [D, D] that leave its products q k' and what its values add to the stream as they are: the first channels
 * of queries and keys hold the most of the products' variance, those of the values the most of what is added.
 *
 * @param head.queries sums of q q' [D, D]
 * @param head.keys sums of k k', each key without the mean of all keys of its image
 * @param head.attended sums of o o' of what the head attended to
 * @param head.projection what it is multiplied by [C, D]
 */
export function headRotation(
  head: Readonly<Record<'queries' | 'keys' | 'attended' | 'projection', Matrix>>,
): HeadRotation {
  const [queries, keys, attended] = [roots(head.queries), roots(head.keys), roots(head.attended)];
  const products = new SingularValueDecomposition(queries.root.mmul(keys.root));
  const halves = Matrix.diag(products.diagonal.map(Math.sqrt));
  const added = new SingularValueDecomposition(head.projection.mmul(attended.root));
  const directions = added.rightSingularVectors;
  return {
    queries: queries.inverse.mmul(products.leftSingularVectors).mmul(halves),
    keys: keys.inverse.mmul(products.rightSingularVectors).mmul(halves),
    values: attended.inverse.mmul(directions),
    projection: attended.root.mmul(directions),
  };
}
