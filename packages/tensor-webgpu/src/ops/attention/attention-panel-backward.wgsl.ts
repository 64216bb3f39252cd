import { memoised } from '../../program/memoised.ts';
import type { Program } from '../../program/program.ts';
import { type AttentionSpec, attentionProgram } from './attention.wgsl.ts';
import {
  butterfly,
  columnArrays,
  combine,
  dots,
  entry,
  gather,
  gatherBias,
  lanes,
  own,
  ownArrays,
  ownKey,
  type Panel,
  packColumns,
  packOwn,
  panelOf,
  panelShader,
  staged,
  throughMemory,
  times,
  value,
} from './attention-panel.wgsl.ts';

const backwardPairs = 1600; // 2000 takes 10 % longer on windows of 196 (lavapipe, two busy cores) and half as long again to compile

/**
 * All gradients at once: [query, key, value, output's gradient, statistics (, height, width)] -> [query's, key's, value's (, height's,
 * width's)]. With p = exp(s - log-sum-exp) and ds = p (dO . value - dO . O): dQ = scale sum_k ds key, dK = scale sum_q ds query,
 * dV = sum_q p dO. A workgroup does a whole attention, for the panels add to the same rows of dQ.
 */
export const panelBackward = (spec: AttentionSpec): Program =>
  attentionProgram(backwardShader(panelOf(spec, 5, backwardPairs)), spec, { rows: spec.Nq, of: spec.Nq, products: 5 });

const backwardShader = memoised((panel: Panel) => {
  const { D, slots, bias, vector } = panel;
  const all = (text: (t: number) => string, joint = ' ') => times(slots, text, joint);
  const inputs = ['Q', 'K', 'V', 'dO', 'statistics'];
  const outputs = ['dQ', 'dK', 'dV'];
  const units = vector ? D / 4 : D;
  /** sums[D][slots] += row of `name` times the slots' `weight`. */
  const scatter = (name: string, array: string, weight: string) =>
    times(
      D,
      (e) =>
        `{ let x = ${value(panel, name, e)}; ${all((t) => `${own(panel, array, { e, t })} = fma(x, ${weight}${t}, ${own(panel, array, { e, t })});`)} }`,
      '\n',
    );
  const unpack = (array: string, tensor: string, factor: string) => {
    const { key, there } = ownKey(panel, 't');
    const at = (c: number) => `${array}${c}[e * ${slots}u + t]`;
    const sum = vector ? `vec4f(${times(4, at, ', ')})` : at(0);
    return `for (var t = 0u; t < ${slots}u * one; t++) { if (${there}) {
      let start = (g * p.Nk + ${key}) * ${units}u;
      for (var e = 0u; e < ${units}u * one; e++) { ${tensor}[start + e] = ${sum}${factor}; }
    } }`;
  };
  const body = `${ownArrays(panel, 'keys', 2 * slots)}
${['values', 'keySums', 'valueSums'].map((array) => ownArrays(panel, array)).join('\n')}
${columnArrays(panel, 'keyColumns')}
${bias ? '' : `var<private> absent: array<f32, ${slots}>;`}
${entry(panel)}
    ${packOwn(panel, 'keys', 'K', ' * p.scale')}
    ${packOwn(panel, 'values', 'V')}
    ${packColumns(panel, 'keyColumns', 'K', ' * p.scale')}
    for (var i = 0u; i < ${units * slots}u * one; i++) { ${times(vector ? 4 : 1, (c) => `keySums${c}[i] = 0.0; valueSums${c}[i] = 0.0;`)} }
    ${bias ? '' : `for (var t = 0u; t < ${slots}u * one; t++) { absent[t] = select(-1e30, 0.0, ${ownKey(panel, 't').there}); }`}
    for (var row = firstRow; row < endRow; row++) {
      let q = g * p.Nq + row;
      ${gather(panel, 'query', 'Q')}
      ${gather(panel, 'gradient', 'dO')}
      ${gatherBias(panel)}
      let known = statistics[q];
      ${all((t) => `var s${t} = start${t} - known.x; var d${t} = -known.y;`)}
      ${dots(panel, 'query', 'keys', 's')}
      ${dots(panel, 'gradient', 'values', 'd')}
      ${all((t) => `let e${t} = exp(s${t}); ${staged(panel, 'keys', t)} = e${t}; ${staged(panel, 'keys', slots + t)} = e${t} * d${t};`)}
      ${all((t) => `let w${t} = ${staged(panel, 'keys', t)}; let z${t} = ${staged(panel, 'keys', slots + t)};`)}
      ${bias ? biasGradients(panel) : ''}
      ${throughMemory(panel, 'dQ', 'keyColumns', { before: '', body: combine(panel, 'keyColumns', 'z'), after: '' })}
      ${scatter('gradient', 'valueSums', 'w')}
      ${scatter('query', 'keySums', 'z')}
    }
    ${unpack('keySums', 'dK', ' * p.scale')}
    ${unpack('valueSums', 'dV', '')}
  }
}`;
  return panelShader(panel, {
    label: 'attention gradient',
    inputs: bias ? [...inputs, 'H', 'W'] : inputs,
    outputs: bias ? [...outputs, 'dH', 'dW'] : outputs,
    body,
  });
});

/** The bias' gradients: ds of the slots, added over a row of keys (height) and over rows of keys (width). */
function biasGradients({ rows, perLane, parts, columns, vectorWidth }: Panel): string {
  const sums = times(rows, (r) => {
    const own = times(perLane, (c) => `z${r * perLane + c}`, ' + ');
    return `var high${r} = ${own}; ${butterfly(`high${r}`, (other) => `high${r} + ${other}`)}`;
  });
  const chosen = Array.from({ length: rows }, (_, r) => r)
    .slice(1)
    .reduce((rest, r) => `select(${rest}, high${r}, lane == ${r}u)`, 'high0');
  const place = 'q * p.kh + y0 + lane';
  const height = `if (lane < ${rows}u && y0 + lane < p.kh) { let sum = ${chosen}; ${parts > 1 ? `if (x0 > 0u) { dH[${place}] += sum; } else { dH[${place}] = sum; }` : `dH[${place}] = sum;`} }`;
  const whole = (c: number) => parts === 1 && (c + 1) * lanes <= columns;
  const width = times(perLane, (c) => {
    const x = vectorWidth ? `x0 + ${(c >> 2) * 32 + (c & 3)}u + lane * 4u` : `x0 + ${c * lanes}u + lane`;
    const own = times(rows, (r) => `z${r * perLane + c}`, ' + ');
    const add = `let at = q * p.kw + ${x}; let sum = ${own}; if (y0 > 0u) { dW[at] += sum; } else { dW[at] = sum; }`;
    return vectorWidth || whole(c) ? `{ ${add} }` : `if (${x} < p.kw) { ${add} }`;
  });
  return `${sums} ${height} ${width}`;
}
