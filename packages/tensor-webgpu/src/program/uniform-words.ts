import type { Program } from './program.ts';

/**
 * The words of a program's uniform, in the shader's order.
 *
 * @throws when the program has not a number for each uniform of its shader, or others
 */
export function uniformWords({ shader, uniforms }: Program): Uint32Array<ArrayBuffer> {
  const words = new Uint32Array(shader.uniforms.length);
  const floats = new Float32Array(words.buffer);
  shader.uniforms.forEach(({ name, type }, i) => {
    const value = uniforms[name];
    if (value === undefined)
      throw new Error(`${shader.label}: expected a number for the uniform '${name}' (${type}), got none`);
    if (type === 'f32') floats[i] = value;
    else words[i] = value;
  });
  const given = Object.keys(uniforms);
  if (given.length !== shader.uniforms.length) {
    const declared = shader.uniforms.map(({ name }) => name);
    const expected = declared.length > 0 ? `the uniforms ${declared.join(', ')}` : 'no uniforms';
    throw new Error(`${shader.label}: expected ${expected}, got ${given.join(', ')}`);
  }
  return words;
}
