import { memoised } from '../../program/memoised.ts';
import { dispatching, type Program } from '../../program/program.ts';
import { type ShaderParts, shader } from '../../program/shader.ts';
import { floatType } from '../../program/types.wgsl.ts';
import { epilogue, launch, type MatmulSpec, place, placesOf, times, uniformsOf } from './matmul.wgsl.ts';

/** The part of C that a workgroup makes, and how its threads share it. */
export interface TileShape {
  readonly rows: number;
  readonly columns: number;
  /** What one thread makes: rows, and vectors of four columns. */
  readonly threadRows: number;
  readonly threadVectors: number;
  /** How much of K is in workgroup memory at a time; all shapes stay within the 16 KiB and 256 threads that every adapter has. */
  readonly depth: number;
  /**
   * Operands are rounded to float16 in workgroup memory, and products of `depth` steps of k are added up in float16, which many GPUs do twice as
   * fast; those sums are added up in float32. Only for results in half precision.
   */
  readonly halfSums: boolean;
  /** Operands that lie the other way come as vectors, four of which are turned in registers; else number by number, for GPUs with few registers. */
  readonly turns: boolean;
}

/**
 * Workgroup-memory matmul for GPUs.
 *
 * A workgroup brings `depth` of K at a time into its memory, A as [row][k / 4] and B as [k][column / 4], nested so that what is constant
 * of a place is an index of its own: compilers bound each index that they do not know, here one a step. Four steps of k then cost a
 * thread `threadRows` + 4 `threadVectors` vector loads for 16 times their product of multiply-adds. Operands come as vectors where the
 * sizes allow it; those that lie the other way are turned four by four in registers. The next block is on its way from storage, in
 * registers, while the present one is multiplied. Reads past a matrix give some value, as WebGPU promises, and only those past K are set
 * to zero: the others reach no sum that is stored.
 */
export function tileMatmul(spec: MatmulSpec, shape: TileShape): Program {
  const { M, N, K, transposeA, transposeB, bias, activation, residual, halfA, halfB, halfC } = spec;
  // field by field, here and in `subgroupMatmul`: spread objects take 12 us longer, at every matmul
  const tile = tileShader({
    rows: shape.rows,
    columns: shape.columns,
    threadRows: shape.threadRows,
    threadVectors: shape.threadVectors,
    depth: shape.depth,
    halfSums: shape.halfSums,
    wideA: transposeA ? shape.turns && M % 4 === 0 : K % 4 === 0,
    wideB: transposeB ? shape.turns && K % 4 === 0 : N % 4 === 0,
    wideC: N % 4 === 0,
    transposeA,
    transposeB,
    bias,
    activation,
    residual,
    halfA,
    halfB,
    halfC,
    spread: spec.spread !== undefined,
  });
  return dispatching(
    tile,
    launch(spec, {
      gridX: Math.ceil(N / shape.columns),
      gridY: Math.ceil(M / shape.rows),
      rows: shape.rows,
      kBlock: Math.min(shape.depth, Math.ceil(K / 4) * 4),
    }),
  );
}

/** How operands and results lie, which texts depend on; wide ones are read four at a time. */
export interface TileOperands
  extends Pick<
    MatmulSpec,
    'transposeA' | 'transposeB' | 'bias' | 'activation' | 'residual' | 'halfA' | 'halfB' | 'halfC'
  > {
  readonly spread: boolean;
  readonly wideA: boolean;
  readonly wideB: boolean;
  readonly wideC: boolean;
}

type TileText = Omit<TileShape, 'turns'> & TileOperands;

/** The bindings and uniforms of a shader on such operands. */
export const bindingsOf = ({
  halfA,
  halfB,
  halfC,
  wideA,
  wideB,
  wideC,
  bias,
  residual,
  spread,
}: TileOperands): Pick<ShaderParts<string>, 'inputs' | 'outputs' | 'uniforms'> => ({
  inputs: {
    A: floatType(halfA, wideA),
    B: floatType(halfB, wideB),
    ...(bias && { bias: floatType(false, wideC) }),
    ...(residual && { residual: floatType(false, wideC) }),
  },
  outputs: { C: floatType(halfC, wideC) },
  uniforms: uniformsOf(spread),
});

const tileShader = memoised((text: TileText) => {
  const { rows, columns, transposeA, transposeB } = text;
  return shader({
    label: `matmul-tile ${rows} x ${columns} by ${text.depth}, ${text.threadRows} x ${4 * text.threadVectors}${text.halfSums ? ' in halves' : ''}${transposeA ? ' A^T' : ''}${transposeB ? ' B^T' : ''}`,
    ...bindingsOf(text),
    body: tileBody(text),
  });
});

function tileBody(text: TileText): string {
  const { rows, columns, threadRows, threadVectors, depth } = text;
  const [threadsX, threadsY] = [columns / (4 * threadVectors), rows / threadRows];
  const placeInA = (e: number) => `tileA[(x + ${e}u) / ${threadsY}u][(x + ${e}u) % ${threadsY}u][k / 4u]`;
  const placeInB = (e: number) =>
    `tileB[(k + ${e}u) / 4u][(k + ${e}u) % 4u][(x / 4u) / ${threadsX}u][(x / 4u) % ${threadsX}u]`;
  const number = text.halfSums ? 'vec4<f16>' : 'vec4f';
  const [A, B] = (['A', 'B'] as const).map((name) => {
    const place = name === 'A' ? placeInA : placeInB;
    const store = (e: number, value: string) => `${place(e)} = ${number}(${value});`;
    return mover(name, text, { threads: threadsX * threadsY, store });
  }) as [Mover, Mover];
  const each = (body: (i: number, v: number) => string) =>
    times(threadRows, (i) => times(threadVectors, (v) => body(i, v), ' '));
  const sum = text.halfSums ? 'part' : 'sum';
  return `var<workgroup> tileA: array<array<array<${number}, ${depth / 4}>, ${threadsY}>, ${threadRows}>; // [row][k / 4]
var<workgroup> tileB: array<array<array<array<${number}, ${threadsX}>, ${threadVectors}>, 4>, ${depth / 4}>; // [k][column / 4]
${tileFunctions(text)}
@compute @workgroup_size(${threadsX}, ${threadsY})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) local: vec3u, @builtin(local_invocation_index) thread: u32) {
  ${place(text.spread)}
  let row0 = tileY * p.rows; let column0 = tileX * ${columns}u;
  ${each((i, v) => `var sum${i}_${v} = vec4f();`)}
  ${A.registers} ${B.registers}
  var next = startK;
  ${A.fetch}
  ${B.fetch}
  while (next < endK) {
    next += p.kBlock;
    workgroupBarrier();
    ${A.store}
    ${B.store}
    workgroupBarrier();
    if (next < endK) {
      ${A.fetch}
      ${B.fetch}
    }
    ${text.halfSums ? each((i, v) => `var part${i}_${v} = ${number}();`) : ''}
    for (var k = 0u; k < p.kBlock / 4u; k++) {
      ${times(4 * threadVectors, (n) => `let b${n % 4}_${n >> 2} = tileB[k][${n % 4}][${n >> 2}][local.x];`, ' ')}
      ${times(threadRows, (i) => `let a${i} = tileA[${i}][local.y][k]; ${times(4, (e) => times(threadVectors, (v) => `${sum}${i}_${v} = fma(${number}(a${i}[${e}]), b${e}_${v}, ${sum}${i}_${v});`, ' '), ' ')}`)}
    }
    ${text.halfSums ? each((i, v) => `sum${i}_${v} += vec4f(part${i}_${v});`) : ''}
  }
  ${each((i, v) => `store(baseC, row0 + local.y + ${i * threadsY}u, column0 + (local.x + ${v * threadsX}u) * 4u, sum${i}_${v});`)}
}`;
}

/** WGSL: where elements of A and B lie, and `store`, which finishes four sums of a row and stores those within C. */
export function tileFunctions(text: TileOperands): string {
  const { wideC, transposeA, transposeB, bias, activation, residual, halfC } = text;
  const { functions, rowA, rowC, stepB } = placesOf(text);
  return `${functions}
fn placeA(base: u32, row: u32, k: u32) -> u32 { return base + ${transposeA ? 'k * p.M + row' : `${rowA('row')} + k`}; }
fn placeB(base: u32, column: u32, k: u32) -> u32 { return base + ${transposeB ? `column * ${stepB} + k` : `k * ${stepB} + column`}; }
${epilogue({ bias, activation, residual, wide: wideC })}
fn store(base: u32, row: u32, column: u32, sum: vec4f) {
  if (row >= p.M || column >= p.N) { return; }
  let at = base + ${rowC('row')} + column;
  let value = ${floatType(halfC, true)}(finished(sum, column, at));
  ${wideC ? 'C[at / 4u] = value;' : times(4, (e) => `if (column + ${e}u < p.N) { C[at + ${e}u] = value[${e}]; }`, ' ')}
}`;
}

/** WGSL that brings blocks of A or B into registers, and from there into workgroup memory. */
export interface Mover {
  readonly registers: string;
  readonly fetch: string;
  readonly store: string;
}

/**
 * How `threads` invocations, number `thread` each, move the block of A or B that begins at `next`; `store` keeps a vector: of A four k of
 * row `x + e` from `k` on, of B four columns from `x` on at `k + e`.
 */
export function mover(
  name: 'A' | 'B',
  text: TileOperands & Pick<TileShape, 'rows' | 'columns' | 'depth'>,
  { threads, store }: { threads: number; store: (e: number, value: string) => string },
): Mover {
  const ofA = name === 'A';
  const { depth } = text;
  const [wide, half] = ofA ? [text.wideA, text.halfA] : [text.wideB, text.halfB];
  const [start, extent] = ofA ? ['row0', text.rows] : ['column0', text.columns]; // of x, which is A's row or B's column
  const turned = ofA ? text.transposeA : text.transposeB;
  const square = turned && wide; // a thread takes four vectors and turns them
  const items = (extent * depth) / (square ? 16 : 4);
  const rounds = Math.ceil(items / threads);
  // neighbouring threads take neighbouring k, but neighbouring columns of a B that is stored so
  const inK = square || ofA ? depth / 4 : depth;
  const inX = extent / 4;
  let [k, x] = [`i % ${inK}u`, `i / ${inK}u`];
  if (!ofA && !turned) [k, x] = [`i / ${inX}u`, `i % ${inX}u`];
  const at = `let k = ${ofA || square ? `(${k}) * 4u` : k}; let x = ${!ofA || square ? `(${x}) * 4u` : x};`;
  const load = (e: number, vector: boolean) => {
    const [xe, ke] = ofA ? [`${start} + x`, `next + k + ${e}u`] : [`${start} + x + ${e}u`, 'next + k'];
    const index = `place${name}(base${name}, ${xe}, ${ke})${vector ? ' / 4u' : ''}`;
    return `select(${floatType(half, vector)}(), ${name}[${index}], ${ke} < p.K)`;
  };
  const vector = floatType(half, true);
  const whole = wide ? load(0, true) : `${vector}(${times(4, (e) => load(e, false), ', ')})`;
  const register = (n: number) => `next${name}${n}`;
  const turnedBack = (e: number) => `${vector}(${times(4, (n) => `${register(n)}[${e}]`, ', ')})`;
  const each = (body: (n: number) => string) =>
    times(rounds, (n) => {
      const move = `let i = thread + ${n * threads}u; ${at} ${body(n)}`;
      return items < threads ? `if (thread < ${items}u) { ${move} }` : `{ ${move} }`;
    });
  return {
    registers: times(square ? 4 : rounds, (n) => `var ${register(n)}: ${vector};`, ' '),
    fetch: each((n) =>
      square ? times(4, (e) => `${register(e)} = ${load(e, true)};`, ' ') : `${register(n)} = ${whole};`,
    ),
    store: each((n) => (square ? times(4, (e) => store(e, turnedBack(e)), ' ') : store(0, register(n)))),
  };
}
