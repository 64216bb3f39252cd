import { memoised } from '../../program/memoised.ts';
import { dispatching, type Program } from '../../program/program.ts';
import { shader } from '../../program/shader.ts';
import { floatType } from '../../program/types.wgsl.ts';
import { epilogue, launch, type MatmulSpec, place, placesOf, times, uniformsOf } from './matmul.wgsl.ts';

const lanes = 8;

/** The size of a panel of B; bodies are unrolled, and beyond 256 of `kBlock * vectors` they lose half the speed. */
export interface PanelShape {
  /** Vectors of four columns a lane: 32 columns of the workgroup each. */
  readonly vectors: number;
  /** Rows, a multiple of 32. A sum over K in parts takes a block that divides 128. */
  readonly kBlock: number;
}

/**
 * Packed-panel matmul for CPU adapters, as measured for lavapipe (60 to 85 GFLOP/s on two cores; a workgroup-memory tile: 5).
 *
 * A workgroup is one subgroup and has no barrier. A panel of B (`kBlock` rows, 32 columns a vector) is packed into private memory once
 * and addressed by constants; the rows of A stream past it: one gather brings 8 (or, vectorised, 32) of its values and
 * `subgroupBroadcast` hands them out. Sums go through C once per K block. Stores are staged through private memory, since the
 * compiler otherwise sinks the arithmetic behind the store's branches and spills.
 */
export function panelMatmul(spec: MatmulSpec, shape: PanelShape): Program {
  const { M, N, K, batch, transposeA, transposeB, bias, activation, residual, halfA, halfB } = spec;
  const { vectors, kBlock } = shape;
  const gridX = Math.ceil(N / (lanes * vectors * 4));
  let gridY = 1;
  while (gridX * gridY * batch < 8 && M / (gridY * 2) >= 48) gridY *= 2;
  const rows = Math.ceil(M / gridY);
  const step = Math.min(kBlock, Math.ceil(K / 4) * 4);
  const panel = panelShader({
    kBlock,
    vectors,
    vectorA: !transposeA && K % 4 === 0,
    vectorB: transposeB ? K % 4 === 0 : N % 4 === 0,
    vectorC: N % 4 === 0,
    transposeA,
    transposeB,
    bias,
    activation,
    residual,
    spread: spec.spread !== undefined,
    halfA,
    halfB,
  });
  return dispatching(panel, launch(spec, { gridX, gridY: Math.ceil(M / rows), rows, kBlock: step }));
}

/** What the text depends on. */
interface PanelText
  extends PanelShape,
    Pick<MatmulSpec, 'transposeA' | 'transposeB' | 'bias' | 'activation' | 'residual' | 'halfA' | 'halfB'> {
  readonly spread: boolean;
  readonly vectorA: boolean;
  readonly vectorB: boolean;
  readonly vectorC: boolean;
}

const panelShader = memoised((text: PanelText) => {
  const { kBlock, vectors, vectorA, vectorB, vectorC, transposeA, transposeB, bias, halfA, halfB } = text;
  const C = floatType(false, vectorC);
  return shader({
    label: `matmul-panel ${kBlock} x ${lanes * vectors * 4}${transposeA ? ' A^T' : ''}${transposeB ? ' B^T' : ''}`,
    enable: ['subgroups'],
    inputs: {
      A: floatType(halfA, vectorA),
      B: floatType(halfB, vectorB),
      ...(bias && { bias: C }),
      ...(text.residual && { residual: C }),
    },
    outputs: { C },
    uniforms: uniformsOf(text.spread),
    body: panelBody(text),
  });
});

function panelBody(spec: PanelText): string {
  const { kBlock, vectors, vectorA, vectorC, bias, activation, residual } = spec;
  const { functions, rowC } = placesOf(spec);
  const perGather = vectorA ? lanes * 4 : lanes; // values of A that one gather brings
  const gathers = kBlock / perGather;
  const source = (k: number): string => {
    const gather = Math.floor(k / perGather);
    return vectorA
      ? `subgroupBroadcast(a${gather}[${k & 3}], ${Math.floor((k % perGather) / 4)}u)`
      : `subgroupBroadcast(a${gather}, ${k % perGather}u)`;
  };
  return `${functions}
${epilogue({ bias, activation, residual, wide: vectorC })}
${times(vectors, (j) => times(4, (c) => `var<private> ${panelArray(j, c)}: array<f32, ${kBlock + 1}>;`))}
@compute @workgroup_size(${lanes})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  ${place(spec.spread)}
  let lastColumn = (p.N + 3u) / 4u - 1u;
  let firstRow = tileY * p.rows; let endRow = min(firstRow + p.rows, p.M);
  let column = tileX * ${lanes * vectors}u + lane;
  ${times(vectors, (j) => `let own${j} = column + ${j * lanes}u; let column${j} = min(own${j}, lastColumn);`)}
  for (var k0 = startK; k0 < endK; k0 += p.kBlock) {
    ${packing(spec)}
    ${bias || residual ? 'let last = k0 + p.kBlock >= endK;' : ''}
    for (var row = firstRow; row < endRow; row++) {
      ${times(gathers, (g) => gatherA(spec, g, perGather))}
      ${times(vectors, (j) => `let at${j} = ${vectorC ? `(baseC + ${rowC('row')}) / 4u + column${j}` : `baseC + ${rowC('row')} + column${j} * 4u`}; var sum${j} = vec4f();`)}
      if (k0 > startK) { ${times(vectors, (j) => `sum${j} = ${vectorC ? `C[at${j}]` : loadC(j, rowC('row'))};`, ' ')} }
      ${times(kBlock, (k) => `let x${k} = vec4f(${source(k)}); ${times(vectors, (j) => `sum${j} = fma(x${k}, ${panelRow(j, k)}, sum${j});`, ' ')}`)}
      ${times(vectors, (j) => times(4, (c) => `${panelArray(j, c)}[${kBlock}] = sum${j}[${c}];`, ' '))}
      ${times(
        vectors,
        (j) => `{
        var total = ${panelRow(j, kBlock)};
        ${bias || residual ? `if (last) { total = finished(total, column${j} * 4u, at${j}${vectorC ? ' * 4u' : ''}); }` : ''}
        if (own${j} <= lastColumn) { ${vectorC ? `C[at${j}] = total;` : storeC(j)} }
      }`,
      )}
    }
  }
}`;
}

/**
 * The panel's array of a lane's column c of vector j; one more place stages a sum. Each column has an array of its own because LLVM
 * compares all uses of an array with one another: in one array, a panel of 128 x 64 took 7 times as long to compile.
 */
const panelArray = (j: number, c: number): string => `panel${j}${'xyzw'[c]}`;

const panelRow = (j: number, k: number): string => `vec4f(${times(4, (c) => `${panelArray(j, c)}[${k}]`, ', ')})`;

const pack = (j: number, row: string, value: (c: number) => string): string =>
  times(4, (c) => `${panelArray(j, c)}[${row}] = ${value(c)};`, ' ');

/** Packs `kBlock` rows of B; the loop's bound is read at run time so that the compiler does not unroll it. */
function packing({ vectors, vectorB, transposeB, spread }: PanelText): string {
  const { stepB } = placesOf({ spread, transposeB });
  const column = (j: number, e: number) => `min(column${j} * 4u + ${e}u, p.N - 1u)`;
  if (!transposeB) {
    const value = (j: number) =>
      vectorB
        ? `vec4f(B[(baseB + k * ${stepB}) / 4u + column${j}])`
        : `vec4f(${times(4, (e) => `f32(B[baseB + k * ${stepB} + ${column(j, e)}])`, ', ')})`;
    return `for (var i = 0u; i < p.kBlock; i++) {
      let k = min(k0 + i, p.K - 1u); let keep = k0 + i < p.K;
      ${times(vectors, (j) => `{ let b = select(vec4f(), ${value(j)}, keep); ${pack(j, 'i', (c) => `b[${c}]`)} }`)}
    }`;
  }
  if (!vectorB) {
    return `for (var i = 0u; i < p.kBlock; i++) {
      let k = min(k0 + i, p.K - 1u); let keep = k0 + i < p.K;
      ${times(vectors, (j) => pack(j, 'i', (c) => `select(0.0, f32(B[baseB + ${column(j, c)} * ${stepB} + k]), keep)`))}
    }`;
  }
  return `for (var i = 0u; i < p.kBlock / 4u; i++) {
      let k = min(k0 / 4u + i, p.K / 4u - 1u); let keep = k0 + i * 4u < p.K;
      ${times(
        vectors,
        (j) => `{
        ${times(4, (e) => `let b${e} = select(vec4f(), vec4f(B[(baseB + ${column(j, e)} * ${stepB}) / 4u + k]), keep);`, ' ')}
        ${times(4, (e) => pack(j, `i * 4u + ${e}u`, (c) => `b${c}[${e}]`))}
      }`,
      )}
    }`;
}

function gatherA({ vectorA, transposeA, transposeB, spread }: PanelText, gather: number, perGather: number): string {
  const row = placesOf({ spread, transposeB }).rowA('row');
  if (vectorA)
    return `let a${gather} = vec4f(A[(baseA + ${row}) / 4u + min(k0 / 4u + ${(gather * perGather) / 4}u + lane, p.K / 4u - 1u)]);`;
  const k = `min(k0 + ${gather * perGather}u + lane, p.K - 1u)`;
  return `let a${gather} = f32(A[baseA + ${transposeA ? `${k} * p.M + row` : `${row} + ${k}`}]);`;
}

const loadC = (j: number, row: string) =>
  `vec4f(${times(4, (e) => `C[min(at${j} + ${e}u, baseC + ${row} + p.N - 1u)]`, ', ')})`;
const storeC = (j: number) =>
  times(4, (e) => `if (column${j} * 4u + ${e}u < p.N) { C[at${j} + ${e}u] = total[${e}]; }`, ' ');
