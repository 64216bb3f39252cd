import type * as tf from '@tensorflow/tfjs-core';
import type { Program } from '../program/program.ts';
import type { Shader } from '../program/shader.ts';

/** @throws when the tensors are not as many, or not of the dtypes, that the shader declares */
export function checkTensors(
  shader: Shader,
  side: 'inputs' | 'outputs',
  tensors: readonly { readonly dtype: tf.DataType; readonly shape: readonly number[] }[],
): void {
  const bindings = shader[side];
  if (tensors.length !== bindings.length)
    throw new Error(
      `${shader.label}: expected ${bindings.length} ${side} (${bindings.map(({ name }) => name).join(', ')}), got ${tensors.length}`,
    );
  for (let i = 0; i < tensors.length; i++) {
    const { dtype, shape } = tensors[i]!;
    const { name, type, float } = bindings[i]!;
    if (float !== (dtype === 'float32'))
      throw new Error(`${shader.label}: expected '${name}' of ${type}, got ${dtype} [${shape}]; cast it with tf.cast`);
  }
}

/** @throws when the program has other uniforms beside those that its shader declares */
export function checkUniformNames({ shader, uniforms }: Program): void {
  let count = 0; // at every dispatch, so no list of names
  for (const name in uniforms) if (name !== '') count++;
  if (count === shader.uniforms.length) return;
  const given = Object.keys(uniforms);
  const declared = shader.uniforms.map(({ name }) => name);
  const expected = declared.length > 0 ? `the uniforms ${declared.join(', ')}` : 'no uniforms';
  throw new Error(`${shader.label}: expected ${expected}, got ${given.join(', ')}`);
}
