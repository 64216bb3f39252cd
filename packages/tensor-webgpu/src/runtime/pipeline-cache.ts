import type { Program } from '../program.ts';

/** A compiled pipeline and the layout of its one bind group. */
export interface Pipeline {
  readonly id: number;
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
}

/** Pipelines by their WGSL text; layouts by their counts of inputs, outputs and uniforms. */
export class PipelineCache {
  readonly #device: GPUDevice;
  readonly #pipelines = new Map<string, Pipeline>();
  readonly #layouts = new Map<string, { group: GPUBindGroupLayout; pipeline: GPUPipelineLayout }>();

  constructor(device: GPUDevice) {
    this.#device = device;
  }

  get size(): number {
    return this.#pipelines.size;
  }

  get(program: Program, inputs: number, outputs: number): Pipeline {
    const known = this.#pipelines.get(program.wgsl);
    if (known) return known;
    const layout = this.#layout(inputs, outputs, program.uniforms !== undefined);
    const module = this.#device.createShaderModule({ code: program.wgsl, label: program.label });
    const made = {
      id: this.#pipelines.size,
      pipeline: this.#device.createComputePipeline({
        layout: layout.pipeline,
        compute: { module, entryPoint: 'main' },
        label: program.label,
      }),
      layout: layout.group,
    };
    this.#pipelines.set(program.wgsl, made);
    return made;
  }

  #layout(inputs: number, outputs: number, uniform: boolean) {
    const key = `${inputs} ${outputs} ${uniform}`;
    const known = this.#layouts.get(key);
    if (known) return known;
    const types: GPUBufferBindingType[] = [
      ...Array<GPUBufferBindingType>(inputs).fill('read-only-storage'),
      ...Array<GPUBufferBindingType>(outputs).fill('storage'),
      ...(uniform ? (['uniform'] as const) : []),
    ];
    const group = this.#device.createBindGroupLayout({
      entries: types.map((type, binding) => ({ binding, visibility: computeStage, buffer: { type } })),
    });
    const made = { group, pipeline: this.#device.createPipelineLayout({ bindGroupLayouts: [group] }) };
    this.#layouts.set(key, made);
    return made;
  }
}

const computeStage = 0x4; // GPUShaderStage.COMPUTE
