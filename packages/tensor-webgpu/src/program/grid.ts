/** Invocations of a workgroup in the plain kernels, one result each. */
export const threads = 64;

const mostInRow = 32768; // the grid folds into rows beyond this, below WebGPU's 65535

/** The grid for one invocation per result; `row` is how many invocations a row of workgroups has: `i = id.x + id.y * row`. */
export function linearDispatch(
  results: number,
  perGroup: number = threads,
): { workgroups: [number, number, number]; row: number } {
  const groups = Math.ceil(results / perGroup);
  const x = Math.min(groups, mostInRow);
  return { workgroups: [x, Math.ceil(groups / x) || 0, 1], row: x * perGroup };
}
