import type { Program } from '../program.ts';

/** A compiled pipeline and the layout of its one bind group. */
export interface Pipeline {
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
}

/** Pipelines by their WGSL text; layouts by their counts of inputs, outputs and uniforms. */
export class PipelineCache {
  readonly #device: GPUDevice;
  readonly #onError: (message: string) => void;
  readonly #pipelines = new Map<string, Pipeline>();
  readonly #layouts = new Map<string, { group: GPUBindGroupLayout; pipeline: GPUPipelineLayout }>();
  readonly #checks = new Set<Promise<void>>();

  /** `onError` hears of pipelines that failed: WebGPU tells it later than `get` returns. */
  constructor(device: GPUDevice, onError: (message: string) => void) {
    this.#device = device;
    this.#onError = onError;
  }

  /** How many pipelines are kept; failed ones are not. */
  get size(): number {
    return this.#pipelines.size;
  }

  get(program: Program, inputs: number, outputs: number): Pipeline {
    const { wgsl, label } = program;
    const known = this.#pipelines.get(wgsl);
    if (known) return known;
    this.#device.pushErrorScope('validation');
    const layout = this.#layout(inputs, outputs, program.uniforms !== undefined);
    const module = this.#device.createShaderModule({ code: wgsl, label });
    const pipeline = this.#device.createComputePipeline({
      layout: layout.pipeline,
      compute: { module, entryPoint: 'main' },
      label,
    });
    const made = { pipeline, layout: layout.group };
    this.#pipelines.set(wgsl, made);
    const check = this.#device.popErrorScope().then(
      (error) => {
        this.#checks.delete(check);
        if (!error) return;
        this.#pipelines.delete(wgsl);
        this.#onError(`${label}: expected a shader that compiles, got ${error.message}`);
      },
      () => {
        this.#checks.delete(check); // the device was lost, which is reported where that is noticed
      },
    );
    this.#checks.add(check);
    return made;
  }

  /** Resolves when it is known whether the pipelines made so far are right. */
  async checked(): Promise<void> {
    await Promise.all(this.#checks);
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
