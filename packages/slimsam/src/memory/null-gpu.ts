/** What a GPU is to look like. */
export interface GpuLooks {
  readonly name: string;
  /** A software adapter. */
  readonly isCpu: boolean;
  /** Lanes of a subgroup, 0 when there are none or their size varies. */
  readonly subgroupSize: number;
  readonly features: readonly string[];
  readonly limits: Readonly<Record<string, number>>;
}

/**
 * A WebGPU entry that computes nothing: its buffers take no memory, whatever is read is a number of [1, 2). A program that runs on it allocates what it
 * would allocate on the GPU that it looks like, in the time that its host code takes.
 */
export function nullGpu(looks: GpuLooks): GPU {
  const features = new Set(looks.features.filter((name) => name !== 'timestamp-query'));
  const { name, isCpu, subgroupSize: lanes, limits } = looks;
  const info = {
    ...{ vendor: '', architecture: '', device: '', description: name, isFallbackAdapter: isCpu },
    ...(lanes > 0 ? { subgroupMinSize: lanes, subgroupMaxSize: lanes } : { subgroupMinSize: 4, subgroupMaxSize: 128 }),
  };
  const adapter = { features, limits, info, requestDevice: async () => nullDevice(features, limits) };
  return { requestAdapter: async () => adapter } as object as GPU;
}

const nothing = (): void => {};
const later = async (): Promise<void> => {};
const thing = (): object => ({});

function nullDevice(features: ReadonlySet<string>, limits: GpuLooks['limits']): object {
  const pass = { setPipeline: nothing, setBindGroup: nothing, dispatchWorkgroups: nothing, end: nothing };
  const encoder = { beginComputePass: () => pass, copyBufferToBuffer: nothing, clearBuffer: nothing, finish: thing };
  return {
    features,
    limits,
    lost: new Promise(nothing),
    queue: { submit: nothing, writeBuffer: nothing, onSubmittedWorkDone: later },
    addEventListener: nothing,
    removeEventListener: nothing,
    pushErrorScope: nothing,
    popErrorScope: async () => null,
    createBuffer: ({ size }: { size: number }) => ({
      size,
      destroy: nothing,
      unmap: nothing,
      mapAsync: later,
      getMappedRange: () => readable(size),
    }),
    createBindGroup: thing,
    createBindGroupLayout: thing,
    createPipelineLayout: thing,
    createShaderModule: thing,
    createComputePipeline: thing,
    createComputePipelineAsync: async () => ({}),
    createCommandEncoder: () => encoder,
    destroy: nothing,
  };
}

/** Numbers of [1, 2), each another than its neighbours: scores that are read can be ranked. */
function readable(bytes: number): ArrayBuffer {
  const values = new Float32Array(Math.ceil(bytes / 4));
  for (let i = 0; i < Math.min(values.length, mostRead); i++) values[i] = 1 + ((i * 0.618034) % 1);
  return values.buffer.slice(0, bytes);
}

const mostRead = 1 << 20; // more is weights, not scores
