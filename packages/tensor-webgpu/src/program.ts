/**
 * What a kernel is: WGSL text and how to dispatch it. A pure function of shapes makes one; the backend runs it.
 *
 * Bindings of `@group(0)`: the inputs (`var<storage, read>`) from 0, then the outputs (`var<storage, read_write>`), then
 * one uniform with `uniforms` when there is one.
 */
export interface Program {
  /** Names the pipeline in errors and profiles. */
  readonly label: string;
  /** The whole shader; its entry point is `main`. Pipelines are cached by this text. */
  readonly wgsl: string;
  /** Number of workgroups, each at most 65535. */
  readonly workgroups: readonly [number, number, number];
  /** Which inputs, then outputs, are bound in half precision (`array<f16>` or `array<vec4<f16>>`); none unless given. */
  readonly half?: readonly boolean[];
  /** Raw 32-bit words of the uniform (floats by their bits). Shapes belong here, not in the text. */
  readonly uniforms?: Uint32Array<ArrayBuffer>;
  /** Floating-point operations, for profiles: additions and multiplications that the result needs, not copies or index arithmetic. */
  readonly flops?: number;
}
