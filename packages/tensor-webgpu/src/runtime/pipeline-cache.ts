import type { Shader } from '../program/shader.ts';
import { uniformSize } from './uniform-cache.ts';

/** A pipeline and the layout of its one bind group. */
export interface Pipeline {
  /** None while it is compiled ahead, and when it does not compile. */
  readonly pipeline: GPUComputePipeline | undefined;
  readonly layout: GPUBindGroupLayout;
  /** Names the layout. */
  readonly layoutKey: string;
  /** Resolves when a pipeline that is compiled ahead is there; it never rejects. */
  readonly ready?: Promise<void>;
}

interface Layout {
  readonly key: string;
  readonly group: GPUBindGroupLayout;
  readonly pipeline: GPUPipelineLayout;
}

/** Pipelines by their WGSL text; layouts by their counts of inputs and outputs and the bytes of their uniform. */
export class PipelineCache {
  readonly #device: GPUDevice;
  readonly #onError: (message: string) => void;
  #known = new WeakMap<Shader, Pipeline>();
  readonly #pipelines = new Map<string, Pipeline>();
  readonly #layouts = new Map<string, Layout>();
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

  /** The shader's pipeline, if it was made before. */
  find(shader: Shader): Pipeline | undefined {
    return this.#known.get(shader);
  }

  /** The pipeline of a shader that is new, or has the text of another one; `ahead`: it is compiled meanwhile, beside others. */
  make(shader: Shader, { ahead }: { ahead: boolean }): Pipeline {
    const pipeline = this.#pipelines.get(shader.wgsl) ?? this.#new(shader, ahead);
    this.#known.set(shader, pipeline);
    return pipeline;
  }

  #new(shader: Shader, ahead: boolean): Pipeline {
    const layout = this.#layout(shader);
    const made = ahead ? this.#compileAhead(shader, layout) : this.#compile(shader, layout);
    this.#pipelines.set(shader.wgsl, made);
    return made;
  }

  #compile(shader: Shader, layout: Layout): Pipeline {
    for (const filter of ['internal', 'validation'] as const) this.#device.pushErrorScope(filter);
    const pipeline = this.#device.createComputePipeline(this.#descriptor(shader, layout));
    const found = [this.#device.popErrorScope(), this.#device.popErrorScope()]; // the text's, and a driver's that fails
    this.#watch(
      Promise.all(found).then(([wrong, failed]) => wrong ?? failed ?? null),
      shader,
    );
    return { pipeline, layout: layout.group, layoutKey: layout.key };
  }

  #compileAhead(shader: Shader, layout: Layout): Pipeline {
    this.#device.pushErrorScope('validation');
    const compiled = this.#device.createComputePipelineAsync(this.#descriptor(shader, layout));
    const made: { -readonly [Name in keyof Pipeline]: Pipeline[Name] } = {
      pipeline: undefined,
      layout: layout.group,
      layoutKey: layout.key,
    };
    const scope = this.#device.popErrorScope(); // of the shader: the compiler's own words
    made.ready = compiled.then(
      (pipeline) => {
        made.pipeline = pipeline;
      },
      (error: Error) => {
        this.#watch(
          scope.then((found) => found ?? error),
          shader,
        );
      },
    );
    this.#checks.add(made.ready);
    void made.ready.then(() => this.#checks.delete(made.ready!));
    return made;
  }

  #descriptor({ wgsl, label }: Shader, layout: Layout): GPUComputePipelineDescriptor {
    const module = this.#device.createShaderModule({ code: wgsl, label });
    return { layout: layout.pipeline, compute: { module, entryPoint: 'main' }, label };
  }

  /** Reports what a compilation found. */
  #watch(found: Promise<{ readonly message: string } | null>, { wgsl, label }: Shader): void {
    const check = found.then(
      (error) => {
        this.#checks.delete(check);
        if (!error) return;
        this.#pipelines.delete(wgsl);
        this.#known = new WeakMap(); // all but the failed one are found again by their texts
        this.#onError(`${label}: expected a shader that compiles, got ${error.message}`);
      },
      () => {
        this.#checks.delete(check); // the device was lost, which is reported where that is noticed
      },
    );
    this.#checks.add(check);
  }

  /** Resolves when it is known whether the pipelines made so far are right. */
  async checked(): Promise<void> {
    while (this.#checks.size > 0) await Promise.all(this.#checks);
  }

  #layout({ inputs, outputs, uniforms }: Shader): Layout {
    const uniformBytes = uniformSize(uniforms.length);
    const key = `${inputs.length} ${outputs.length} ${uniformBytes}`;
    const known = this.#layouts.get(key);
    if (known) return known;
    const buffers: GPUBufferBindingLayout[] = [
      ...inputs.map(() => ({ type: 'read-only-storage' as const })),
      ...outputs.map(() => ({ type: 'storage' as const })),
      // the size is told: where it is not, wgpu (Deno) compares a shader's with that of a uniform bound before
      ...(uniforms.length > 0 ? [{ type: 'uniform' as const, minBindingSize: uniformBytes }] : []),
    ];
    const group = this.#device.createBindGroupLayout({
      entries: buffers.map((buffer, binding) => ({ binding, visibility: computeStage, buffer })),
    });
    const made = { key, group, pipeline: this.#device.createPipelineLayout({ bindGroupLayouts: [group] }) };
    this.#layouts.set(key, made);
    return made;
  }
}

const computeStage = 0x4; // GPUShaderStage.COMPUTE
