import type { WgslTypes } from '../../program/types.wgsl.ts';

/** erf to 1.5e-7: Abramowitz and Stegun 7.1.26 is 1.5e-7 off at most; near 0 the series keeps the relative error small. */
export const erfFunction = ({ float, bool }: WgslTypes): string => `fn erf(x: ${float}) -> ${float} {
  let a = abs(x);
  let t = 1.0 / (1.0 + 0.3275911 * a);
  let far = 1.0 - ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t * exp(-a * a);
  let s = x * x;
  let near = a * (1.1283791671 + s * (-0.3761263890 + s * (0.1128379167 + s * (-0.0268661706 + s * 0.0052239776))));
  let small: ${bool} = a < ${float}(0.5);
  return sign(x) * select(far, near, small);
}`;

/** pow of any sign: WGSL leaves negative bases undefined. */
export const powerFunction = ({ float, int, bool }: WgslTypes): string => `${unknownFunction({ float, int, bool })}
fn power(a: ${float}, b: ${float}) -> ${float} {
  let size = pow(abs(a), b);
  let odd: ${bool} = abs(b - 2.0 * floor(b / 2.0)) == ${float}(1.0);
  let signed = select(size, -size, odd);
  let whole: ${bool} = floor(b) == b;
  return select(select(select(unknown(), signed, whole), size, a >= ${float}()), ${float}(1.0), b == ${float}());
}`;

/** NaN, which no constant expression of WGSL may be. */
export const unknownFunction = ({ float }: WgslTypes): string =>
  `fn unknown() -> ${float} { return ${float}(bitcast<f32>(0x7fc00000u + u32(p.units) * 0u)); }`;

/** log with the values that WGSL leaves open: -infinity of 0, NaN below. */
export const logarithmFunction = (types: WgslTypes): string => {
  const { float } = types;
  return `${unknownFunction(types)}
fn logarithm(x: ${float}) -> ${float} {
  let low = -${float}(bitcast<f32>(0x7f800000u + u32(p.units) * 0u));
  return select(select(log(x), low, x == ${float}()), unknown(), x < ${float}());
}`;
};

/** The bits without the sign: an order of floats by size that holds NaN above infinity. */
export const magnitude = (x: string, int: string): string => `(bitcast<${int}>(${x}) & ${int}(0x7fffffff))`;

/** Whether each value is below zero, by the bits: NaN is not, which comparisons do not promise. */
export const isNegative = (x: string, { float, int }: WgslTypes, own: string): string =>
  own === float
    ? `((bitcast<${int}>(${x}) < ${int}()) & (${magnitude(x, int)} <= ${int}(0x7f800000)))`
    : `${x} < ${own}()`;

/** `value`, but NaN where x is NaN. */
export const keptNan = (x: string, types: WgslTypes & { readonly own: string }, value: string): string =>
  types.own === types.float ? `select(${value}, ${x}, ${isNan(x, types, types.own)})` : value;

/**
 * floor(a / b), and what remains, with b's sign and smaller than b. Integers are divided as such. A float's quotient may be one off where
 * a GPU's division is (by 2.5 units in the last place): the remainder, by fma, tells. By zero an integer gives 0.
 */
export const divisionFunctions = ({ float, int, own }: WgslTypes & { readonly own: string }): string => {
  if (own === int)
    return `fn quotient(a: ${int}, b: ${int}) -> ${int} {
  let q = a / b; let r = a % b;
  return select(q - select(${int}(), ${int}(1), (r != ${int}()) & ((r < ${int}()) != (b < ${int}()))), ${int}(), b == ${int}());
}
fn modulo(a: ${int}, b: ${int}) -> ${int} {
  let r = a % b;
  return select(r, r + b, (r != ${int}()) & ((r < ${int}()) != (b < ${int}())));
}`;
  return `fn quotient(a: ${float}, b: ${float}) -> ${float} {
  let q = floor(a / b); let r = fma(-q, b, a);
  let under = (r != ${float}()) & ((r < ${float}()) != (b < ${float}()));
  return q + select(select(${float}(), ${float}(1.0), !under & (abs(r) >= abs(b))), ${float}(-1.0), under);
}
fn modulo(a: ${float}, b: ${float}) -> ${float} {
  let first = fma(-floor(a / b), b, a);
  let r = select(first, first + b, (first != ${float}()) & ((first < ${float}()) != (b < ${float}())));
  return select(r, r - b, abs(r) >= abs(b));
}`;
};

/** Whether each value is NaN, by the bits: compilers take `x != x` for false. Integers never are. */
export const isNan = (x: string, { float, int, bool }: WgslTypes, own: string): string =>
  own === float ? `${magnitude(x, int)} > ${int}(0x7f800000)` : `${bool}(false)`;
