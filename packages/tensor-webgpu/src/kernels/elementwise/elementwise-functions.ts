import * as tf from '@tensorflow/tfjs-core';
import type { WgslTypes } from '../../program/types.wgsl.ts';
import type { OwnTypes } from '../maps/strided-map.ts';
import { isNan, isNegative, keptNan, magnitude } from './elementwise.wgsl.ts';

/** WGSL of a function of one value. */
export type Unary = (x: string, types: OwnTypes) => string;
/** WGSL of a function of two values. */
export type Binary = (a: string, b: string, types: OwnTypes) => string;

/** half = exp(|x|) / 2, without the overflow of exp; the smaller exponential is 0.25 / half. */
const halfExp = (x: string): string => `exp(abs(${x}) - 0.6931471805599453)`;

export const relu: Unary = (x, types) => `select(${x}, ${types.own}(), ${isNegative(x, types, types.own)})`;
export const relu6: Unary = (x, types) => keptNan(x, types, `clamp(${x}, ${types.own}(), ${types.own}(6))`);
export const sigmoid: Unary = (x) => `1.0 / (1.0 + exp(-${x}))`;
export const elu: Unary = (x, { float }) => `select(exp(${x}) - 1.0, ${x}, ${x} >= ${float}())`;
/** The slope below 0 is `p.c0`. */
export const leaky: Unary = (x, { float }) => `select(${x}, p.c0 * ${x}, ${x} < ${float}())`;

/** `value` for |x| <= 1, else NaN. */
const within = (x: string, { int }: WgslTypes, value: string): string =>
  `select(${value}, unknown(), ${magnitude(x, int)} > ${int}(bitcast<i32>(1.0f)))`;

/** Computed in floats; int32 operands are converted on the way in and out. */
export const floatUnary: Record<string, Unary> = {
  [tf.Expm1]: (x, { float }) =>
    `select(exp(${x}) - 1.0, ${x} * (1.0 + ${x} * (0.5 + ${x} / 6.0)), abs(${x}) < ${float}(1e-2))`,
  [tf.Log]: (x) => `logarithm(${x})`,
  [tf.Log1p]: (x, { float }) =>
    `select(logarithm(1.0 + ${x}), ${x} * (1.0 - ${x} * (0.5 - ${x} / 3.0)), abs(${x}) < ${float}(1e-2))`,
  [tf.Sqrt]: (x) => `sqrt(${x})`,
  [tf.Rsqrt]: (x) => `inverseSqrt(${x})`,
  [tf.Reciprocal]: (x) => `1.0 / ${x}`,
  [tf.Sigmoid]: sigmoid,
  // tanh of large numbers overflows on some adapters
  [tf.Tanh]: (x, { float }) => `select(tanh(${x}), sign(${x}), abs(${x}) > ${float}(20.0))`,
  [tf.Erf]: (x) => `erf(${x})`,
  [tf.Sin]: (x) => `sine(${x})`,
  [tf.Cos]: (x) => `cosine(${x})`,
  [tf.Tan]: (x) => `tangent(${x})`,
  // series near 0 keep the relative error small; outside the domain NaN, tested by the bits
  [tf.Sinh]: (x, { float }) =>
    `select(sign(${x}) * (${halfExp(x)} - 0.25 / ${halfExp(x)}), ${x} * (1.0 + ${x} * ${x} * (1.0 / 6.0 + ${x} * ${x} / 120.0)), abs(${x}) < ${float}(0.2))`,
  [tf.Cosh]: (x) => `${halfExp(x)} + 0.25 / ${halfExp(x)}`,
  [tf.Asin]: (x, types) => within(x, types, `atan2(${x}, sqrt((1.0 - ${x}) * (1.0 + ${x})))`),
  [tf.Acos]: (x, types) => within(x, types, `atan2(sqrt((1.0 - ${x}) * (1.0 + ${x})), ${x})`),
  [tf.Atan]: (x) => `atan(${x})`,
  [tf.Asinh]: (x, { float }) =>
    `sign(${x}) * select(select(log(abs(${x}) + sqrt(${x} * ${x} + 1.0)), log(abs(${x})) + 0.6931471805599453, abs(${x}) > ${float}(1e9)), abs(${x}) * (1.0 - ${x} * ${x} / 6.0), abs(${x}) < ${float}(0.02))`,
  [tf.Acosh]: (x, { float }) =>
    `select(select(log(${x} + sqrt((${x} - 1.0) * (${x} + 1.0))), log(${x}) + 0.6931471805599453, ${x} > ${float}(1e9)), unknown(), ${x} < ${float}(1.0))`,
  [tf.Atanh]: (x, types) =>
    within(
      x,
      types,
      `select(0.5 * (logarithm(1.0 + ${x}) - logarithm(1.0 - ${x})), ${x} * (1.0 + ${x} * ${x} / 3.0), abs(${x}) < ${types.float}(0.02))`,
    ),
  [tf.Floor]: (x) => `floor(${x})`,
  [tf.Ceil]: (x) => `ceil(${x})`,
  [tf.Round]: (x) => `round(${x})`,
  [tf.Softplus]: (x, { float }) => `max(${x}, ${float}()) + log(1.0 + exp(-abs(${x})))`,
  [tf.Elu]: elu,
  [tf.Selu]: (x, { float }) =>
    `select(1.7580993408473768 * (exp(${x}) - 1.0), 1.0507009873554805 * ${x}, ${x} >= ${float}())`,
};

/** Of float32 or int32, to the same type. NaN stays NaN by its bits: GPUs' min, max and comparisons may give the other operand. */
export const anyUnary: Record<string, Unary> = {
  [tf.Neg]: (x) => `-${x}`,
  [tf.Abs]: (x) => `abs(${x})`,
  [tf.Sign]: (x) => `sign(${x})`,
  [tf.Square]: (x) => `${x} * ${x}`,
  [tf.Relu]: relu,
  [tf.Relu6]: relu6,
};

/** Of float32, to bool. */
export const tests: Record<string, Unary> = {
  [tf.IsNan]: (x, types) => `${types.int}(${isNan(x, types, types.own)})`,
  [tf.IsInf]: (x, { int }) => `${int}(${magnitude(x, int)} == ${int}(0x7f800000))`,
  [tf.IsFinite]: (x, { int }) => `${int}(${magnitude(x, int)} < ${int}(0x7f800000))`,
};

/** Of float32 or int32, to the operands' type. */
export const arithmetic: Record<string, Binary> = {
  [tf.Add]: (a, b) => `${a} + ${b}`,
  [tf.Sub]: (a, b) => `${a} - ${b}`,
  [tf.Multiply]: (a, b) => `${a} * ${b}`,
  [tf.RealDiv]: (a, b) => `${a} / ${b}`,
  [tf.Maximum]: (a, b, types) => keptNan(a, types, keptNan(b, types, `max(${a}, ${b})`)),
  [tf.Minimum]: (a, b, types) => keptNan(a, types, keptNan(b, types, `min(${a}, ${b})`)),
  [tf.SquaredDifference]: (a, b) => `(${a} - ${b}) * (${a} - ${b})`,
  [tf.Mod]: (a, b) => `modulo(${a}, ${b})`,
  [tf.Pow]: (a, b, { own, float }) =>
    own === float ? `power(${a}, ${b})` : `${own}(round(power(${float}(${a}), ${float}(${b}))))`,
  [tf.Atan2]: (a, b) => `atan2(${a}, ${b})`,
};

export type Comparison = '==' | '!=' | '<' | '<=' | '>' | '>=';

export const comparisons: Record<string, Comparison> = {
  [tf.Equal]: '==',
  [tf.NotEqual]: '!=',
  [tf.Greater]: '>',
  [tf.GreaterEqual]: '>=',
  [tf.Less]: '<',
  [tf.LessEqual]: '<=',
};

/** 1 where a and b compare so. NaN is unequal to everything, which compilers do not promise. */
export const comparison =
  (sign: Comparison): Binary =>
  (a, b, types) => {
    if (types.own === types.int) return `${types.int}(${a} ${sign} ${b})`;
    const unordered = `((${isNan(a, types, types.own)}) | (${isNan(b, types, types.own)}))`;
    const truth =
      sign === '!=' ? `(${a} != ${b}) | ${unordered}` : `(${a} ${sign} ${b}) & (${unordered} == ${types.bool}(false))`;
    return `${types.int}(${truth})`;
  };
