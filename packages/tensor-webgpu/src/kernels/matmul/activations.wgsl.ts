import { fourTypes } from '../../program/types.wgsl.ts';
import { elu, relu, relu6, sigmoid, type Unary } from '../elementwise/elementwise-functions.ts';

/**
 * WGSL of the normal distribution's integral to 1e-7: erf by Abramowitz and Stegun 7.1.26 away from 0, by its series near 0.
 * `bell` = exp(-x^2 / 2) serves both the integral and the density.
 */
export const normalIntegral: string = `fn integral(x: vec4f, bell: vec4f) -> vec4f {
  let a = abs(x) * 0.70710678;
  let t = 1.0 / (1.0 + 0.3275911 * a);
  let tail = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t * bell;
  let s = a * a;
  let near = a * (1.1283791671 + s * (-0.3761263890 + s * (0.1128379167 + s * (-0.0268661706 + s * (0.0052239776 - s * 0.00085483)))));
  let far = select(0.5 * tail, 1.0 - 0.5 * tail, x >= vec4f());
  return select(far, 0.5 + 0.5 * sign(x) * near, a < vec4f(0.5));
}`;

/** What a matmul can do to its results before it stores them. */
export type MatmulActivation = 'gelu' | 'relu' | 'relu6' | 'elu' | 'sigmoid';

const formula = (value: Unary): string =>
  `fn activation(v: vec4f) -> vec4f { return ${value('v', { ...fourTypes, own: 'vec4f', constant: (name) => `vec4f(${name})` })}; }`;

/** WGSL of `fn activation(v: vec4f) -> vec4f`, for the results of a matmul before they are stored. NaN stays. */
export const activationTexts: Readonly<Record<MatmulActivation, string>> = {
  gelu: `${normalIntegral}
fn activation(v: vec4f) -> vec4f { return v * integral(v, exp(-0.5 * v * v)); }`,
  relu: formula(relu),
  relu6: formula(relu6),
  elu: formula(elu),
  sigmoid: formula(sigmoid),
};

export const isMatmulActivation = (name: string): name is MatmulActivation => Object.hasOwn(activationTexts, name);
