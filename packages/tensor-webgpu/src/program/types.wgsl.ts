/** WGSL types of a storage binding's elements. */
export type ElementType = 'f32' | 'vec2f' | 'vec4f' | 'f16' | 'vec2<f16>' | 'vec4<f16>' | 'i32' | 'vec4i';

/** WGSL types of a uniform's members: a number each, so that their places in the struct are their order. */
export type UniformType = 'u32' | 'i32' | 'f32';

/** Type of a float binding's elements, in float32 or in half precision, one by one or four at a time. */
export function floatType(half: boolean, wide: boolean): 'f32' | 'vec4f' | 'f16' | 'vec4<f16>' {
  if (half) return wide ? 'vec4<f16>' : 'f16';
  return wide ? 'vec4f' : 'f32';
}

export const isHalfType = (type: ElementType): boolean => type.includes('f16');

export const isFloatType = (type: ElementType): boolean => type !== 'i32' && type !== 'vec4i';

/** WGSL types of one value or of four at once. */
export interface WgslTypes {
  readonly float: 'f32' | 'vec4f';
  readonly int: 'i32' | 'vec4i';
  readonly bool: 'bool' | 'vec4<bool>';
}

export const oneType: WgslTypes = { float: 'f32', int: 'i32', bool: 'bool' };
export const fourTypes: WgslTypes = { float: 'vec4f', int: 'vec4i', bool: 'vec4<bool>' };
