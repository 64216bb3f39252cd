/** A tensor of a safetensors file. F16, BF16 and F64 are held as float32, I64 as int32, BOOL as 0 and 1. */
export interface RawTensor {
  dtype: 'F32' | 'F16' | 'BF16' | 'F64' | 'I32' | 'U8' | 'BOOL' | 'I64';
  shape: number[];
  data: Float32Array | Int32Array | Uint8Array;
}
