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
} from './attention-panel.wgsl.ts';

const forwardPairs = 1100; // of 600 to 1400, the fastest on lavapipe for windows and for global attention

/**
 * Forward: [query, key, value (, height, width)] -> [output [G, Nq, D], log-sum-exp [G, Nq]].
 *
 * The softmax is online: after each panel the output is normalised, and the log-sum-exp so far says how much it weighs against the next.
 */
export const panelForward = (spec: AttentionSpec): Program =>
  attentionProgram(forwardShader(panelOf(spec, 2, forwardPairs)), spec, {
    rows: rowsFor(spec),
    of: spec.Nq,
    products: 2,
  });

const forwardShader = memoised((panel: Panel) => {
  const { slots, bias } = panel;
  const all = (text: (t: number) => string, joint = ' ') => times(slots, text, joint);
  const body = `${ownArrays(panel, 'keys', slots)}
${columnArrays(panel, 'values')}
${bias ? '' : `var<private> absent: array<f32, ${slots}>;`}
${entry(panel)}
    ${packOwn(panel, 'keys', 'K')}
    ${packColumns(panel, 'values', 'V')}
    ${bias ? '' : `for (var t = 0u; t < ${slots}u * one; t++) { absent[t] = select(-1e30, 0.0, ${ownKey(panel, 't').there}); }`}
    for (var row = firstRow; row < endRow; row++) {
      let q = g * p.Nq + row;
      ${gather(panel, 'query', 'Q', ' * p.scale')}
      ${gatherBias(panel)}
      ${all((t) => `var s${t} = start${t};`)}
      var old = -1e30;
      if (kb > 0u) { old = L[q]; }
      ${dots(panel, 'query', 'keys', 's')}
      ${all((t) => `${staged(panel, 'keys', t)} = s${t};`)}
      ${all((t) => `let z${t} = ${staged(panel, 'keys', t)};`)}
      var top = ${Array.from({ length: slots }, (_, t) => `z${t}`).reduce((a, b) => `max(${a}, ${b})`)};
      ${butterfly('top', (other) => `max(top, ${other})`)}
      top = max(top, old);
      ${all((t) => `let w${t} = exp(z${t} - top);`)}
      var total = ${all((t) => `w${t}`, ' + ')};
      ${butterfly('total', (other) => `total + ${other}`)}
      let kept = exp(old - top);
      total += kept;
      let inverse = 1.0 / total;
      if (lane == 0u) { L[q] = top + log(total); }
      ${throughMemory(panel, 'O', 'values', { before: ' * kept', body: combine(panel, 'values', 'w'), after: ' * inverse' })}
    }
  }
}`;
  const inputs = bias ? ['Q', 'K', 'V', 'H', 'W'] : ['Q', 'K', 'V'];
  return panelShader(panel, { label: 'attention', inputs, outputs: ['O', 'L'], body });
});

const mostRows = 512;

/** Queries a workgroup: many, for the panel is packed anew for each, but so few that every core has work. */
function rowsFor({ G, Nq }: AttentionSpec): number {
  const blocks = Math.max(Math.ceil(Nq / mostRows), Math.min(Math.ceil(Nq / 64), Math.ceil(8 / G)));
  return Math.ceil(Nq / blocks);
}
