import type { WgslTypes } from '../../program/types.wgsl.ts';

/** ln 2 in two parts: of the first, of 9 bits, a multiple up to 2^15 is exact. */
const [logTwoHigh, logTwoLow] = [0.693359375, Math.LN2 - 0.693359375];

/**
 * exp to about one unit in the last place, in the time of llvmpipe's own, which is 17 of them off at 20 (WGSL allows that, and more for
 * larger x). x = n ln 2 + r with |r| <= ln 2 / 2, and exp(r) is its Taylor series.
 */
export function exponentialFunction({ float, int }: WgslTypes): string {
  const bits = (x: string) => `bitcast<${float}>((${x} + 127) << ${int === 'i32' ? '23u' : 'vec4u(23u)'})`;
  return `fn exponential(value: ${float}) -> ${float} {
  let x = clamp(value, ${float}(-110.0), ${float}(110.0)); // where the result has long been 0 or infinite
  let whole = round(x * ${Math.LOG2E});
  let r = fma(-whole, ${float}(${logTwoLow}), fma(-whole, ${float}(${logTwoHigh}), x)); // Metal's fast math would join them otherwise
  let series = 0.5 + r * (1.0 / 6.0 + r * (1.0 / 24.0 + r * (1.0 / 120.0 + r * (1.0 / 720.0 + r / 5040.0))));
  let y = 1.0 + (r + r * r * series);
  let n = ${int}(whole);
  let half = n / 2;
  let scaled = y * ${bits('half')} * ${bits('(n - half)')};
  return select(scaled, value, (bitcast<${int}>(value) & ${int}(0x7fffffff)) > ${int}(0x7f800000)); // NaN stays
}`;
}
