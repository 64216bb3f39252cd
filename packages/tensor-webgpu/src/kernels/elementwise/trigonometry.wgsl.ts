import type { WgslTypes } from '../../program/types.wgsl.ts';

/** sin, cos and tan as calls of `trigonometryFunctions`. */
export type Trigonometry = 'sine' | 'cosine' | 'tangent';

/**
 * sin, cos or tan of any float, as exact as a float can be but for about one unit in the last place. WGSL's own may be off by 2^-11, and
 * leave large angles open; SAM's positional encoding needs better.
 *
 * The angle is reduced by Payne and Hanek's method (SIGNUM Newsletter 18, 1983): of 2 / pi only the 96 bits that decide the product's
 * quadrant and fraction are multiplied with the 24 bits of x, in integers. sin and cos of the rest, at most pi / 4, are Taylor series.
 */
export function trigonometryFunctions(name: Trigonometry, { float }: WgslTypes): string {
  const result = {
    sine: 'select(select(s, c, odd), -select(s, c, odd), (q & 2u) != 0u)',
    cosine: 'select(select(c, s, odd), -select(c, s, odd), ((q + 1u) & 2u) != 0u)',
    tangent: 'quotient',
  }[name];
  // tan grows near its poles with all that is lost, so what r and the division round off goes back in
  const tangent =
    name === 'tangent'
      ? `let n = select(s, -c, odd);
  let d = select(c, s, odd);
  let first = n / d;
  let quotient = first + (fma(-first, d, n) + rounded * (d - first * select(-s, c, odd))) / d;`
      : '';
  const sign = name === 'cosine' ? 'y' : 'select(y, -y, (bits >> 31u) != 0u)';
  const each = ['x', 'y', 'z', 'w'].map((part) => `${name}Of(v.${part})`).join(', ');
  const all = float === 'f32' ? '' : `fn ${name}(v: vec4f) -> vec4f { return vec4f(${each}); }`;
  return `
fn highBits(a: u32, b: u32) -> u32 { // of the 64 of a b
  let low = (a & 0xffffu) * (b & 0xffffu);
  let first = (a >> 16u) * (b & 0xffffu) + (low >> 16u);
  let second = (a & 0xffffu) * (b >> 16u) + (first & 0xffffu);
  return (a >> 16u) * (b >> 16u) + (first >> 16u) + (second >> 16u);
}
fn ${float === 'f32' ? name : `${name}Of`}(x: f32) -> f32 {
  let bits = bitcast<u32>(x);
  let exponent = (bits >> 23u) & 255u;
  if (exponent == 255u) { return bitcast<f32>(0x7fc00000u + u32(p.units) * 0u); }
  var q = 0u;
  var r = abs(x);
  var rounded = 0.0; // of r
  if (exponent >= 126u) { // from 0.5 on; |x| = m 2^(exponent - 150)
    var twoOverPi = array<u32, 8>(0u, 0xa2f9836eu, 0x4e441529u, 0xfc2757d1u, 0xf534ddc0u, 0xdb629599u, 0x3c439041u, 0xfe5163abu);
    let m = (bits & 0x7fffffu) | 0x800000u;
    let start = exponent - 120u; // bits before it are whole turns; the table begins with 32 zeros
    let word = start >> 5u;
    let shift = start & 31u;
    var w: array<u32, 3>;
    for (var i = 0u; i < 3u; i++) {
      let next = select(0u, twoOverPi[word + i + 1u] >> ((32u - shift) & 31u), shift != 0u);
      w[i] = (twoOverPi[word + i] << shift) | next;
    }
    let middle = m * w[1];
    let low = middle + highBits(m, w[2]);
    let high = m * w[0] + highBits(m, w[1]) + select(0u, 1u, low < middle);
    var turned = vec2u((high << 2u) | (low >> 30u), low << 2u); // the fraction of a quadrant, 64 bits
    let back = (turned.x >> 31u) != 0u; // from the next quadrant
    q = (high >> 30u) + select(0u, 1u, back);
    turned = select(turned, vec2u(~turned.x + select(0u, 1u, turned.y == 0u), ~turned.y + 1u), back);
    let zeros = min(countLeadingZeros(turned.x), 31u);
    let leading = (turned.x << zeros) | select(0u, turned.y >> ((32u - zeros) & 31u), zeros > 0u);
    let units = highBits(leading, 0xc90fdaa2u); // times pi / 2
    let nearest = f32(units);
    let unit = bitcast<f32>((96u - zeros) << 23u) * select(1.0, -1.0, back);
    r = nearest * unit;
    rounded = f32(i32(units - u32(nearest))) * unit;
  }
  let z = r * r;
  let s = r + r * z * (-1.0 / 6.0 + z * (1.0 / 120.0 + z * (-1.0 / 5040.0 + z / 362880.0)));
  let c = 1.0 + z * (-0.5 + z * (1.0 / 24.0 + z * (-1.0 / 720.0 + z * (1.0 / 40320.0 - z / 3628800.0))));
  let odd = (q & 1u) != 0u;
  ${tangent}
  let y = ${result};
  return ${sign};
}
${all}`;
}
