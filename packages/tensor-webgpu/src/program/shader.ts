import { checkCall } from './check-call.ts';
import { indented } from './indented.ts';
import { type ElementType, isFloatType, isHalfType, type UniformType } from './types.wgsl.ts';

/** A storage buffer of a shader. */
interface Binding {
  readonly name: string;
  readonly type: ElementType;
  /** Its elements are float16. */
  readonly half: boolean;
  /** Its elements are floats, else integers. */
  readonly float: boolean;
}

/** A kernel's text with its named bindings and uniforms, for all sizes that share it. `shader` makes one. */
export interface Shader<Uniforms extends string = string> {
  /** Names the pipeline in errors and profiles. */
  readonly label: string;
  readonly inputs: readonly Binding[];
  readonly outputs: readonly Binding[];
  /** Members of the uniform `p` in their order; none where there is no uniform. */
  readonly uniforms: readonly { readonly name: Uniforms; readonly type: UniformType }[];
  /** The whole text; its entry point is `main`. Pipelines are cached by it. */
  readonly wgsl: string;
}

/** What a shader is made of. */
export interface ShaderParts<Uniforms extends string> {
  readonly label: string;
  /** Elements of the arrays that are only read, by their names in the text. */
  readonly inputs: Readonly<Record<string, ElementType>>;
  /** Elements of the arrays that are written. */
  readonly outputs: Readonly<Record<string, ElementType>>;
  /** Numbers that the text reads as `p.name`. Sizes belong here, not in the text. */
  readonly uniforms?: Readonly<Record<Uniforms, UniformType>>;
  /** Language extensions; that of half precision comes by itself. */
  readonly enable?: readonly string[];
  /** WGSL with the entry point `main`. */
  readonly body: string;
}

/**
 * A shader from its named bindings and uniforms: the head of the text is made of them. In `@group(0)` are the inputs, then the outputs,
 * then the uniform.
 *
 * @throws when a part is of another kind
 */
export function shader<Uniforms extends string = never>(parts: ShaderParts<Uniforms>): Shader<Uniforms> {
  checkCall('shader', parts, {
    label: 'a string',
    inputs: 'an object',
    outputs: 'an object',
    uniforms: 'an object?',
    enable: 'an object?',
    body: 'a string',
  });
  const { label, body, enable = [] } = parts;
  const inputs = Object.entries(parts.inputs).map(bindingOf);
  const outputs = Object.entries(parts.outputs).map(bindingOf);
  const uniforms = membersOf(parts.uniforms);
  const storage = [...inputs, ...outputs];
  const extensions = storage.some(({ half }) => half) ? ['f16', ...enable] : enable;
  const head = [
    ...extensions.map((name) => `enable ${name};`),
    ...(uniforms.length > 0
      ? ['struct Uniforms {', ...uniforms.map(({ name, type }) => `${name}: ${type},`), '}']
      : []),
    ...storage.map(({ name, type }, i) => {
      const access = i < inputs.length ? 'read' : 'read_write';
      return `@group(0) @binding(${i}) var<storage, ${access}> ${name}: array<${type}>;`;
    }),
    ...(uniforms.length > 0 ? [`@group(0) @binding(${storage.length}) var<uniform> p: Uniforms;`] : []),
  ];
  return { label, inputs, outputs, uniforms, wgsl: indented(`${head.join('\n')}\n${body}`) };
}

const bindingOf = ([name, type]: [string, ElementType]): Binding => ({
  name,
  type,
  half: isHalfType(type),
  float: isFloatType(type),
});

function membersOf<Names extends string>(
  uniforms: Readonly<Record<Names, UniformType>> | undefined,
): { name: Names; type: UniformType }[] {
  const members: { name: Names; type: UniformType }[] = [];
  for (const name in uniforms) members.push({ name, type: uniforms[name] });
  return members;
}
