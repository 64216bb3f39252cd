import type { Shader } from './shader.ts';

/** A kernel for given sizes: a shader and how to dispatch it. A pure function of shapes makes one; the backend runs it. */
export interface Program<Uniforms extends string = string> {
  readonly shader: Shader<Uniforms>;
  /** Number of workgroups, each at most 65535. */
  readonly workgroups: readonly [number, number, number];
  /** A number for each uniform of the shader. */
  readonly uniforms: Readonly<Record<Uniforms, number>>;
  /** More dispatches of the same shader and tensors, where one would run too long for a watchdog; `inPieces` makes them. */
  readonly more?: readonly Pick<Program<Uniforms>, 'workgroups' | 'uniforms'>[];
  /** Floating-point operations of all of them, for profiles: additions and multiplications that the result needs, not copies or index arithmetic. */
  readonly flops?: number;
}

/** A program whose uniforms are those that the shader declares. */
export const dispatching = <Uniforms extends string>(
  shader: Shader<Uniforms>,
  how: Omit<Program<Uniforms>, 'shader'>,
): Program => ({ shader, ...how });
