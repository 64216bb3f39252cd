import { createGraph, type GraphRecord } from '../../../vit/src/onnx/graph.ts';
import { encodeModel, readParts } from '../../../vit/src/onnx/model-proto.ts';
import type { Values } from '../cases/case.ts';
import { importPeer } from './install.ts';
import { expectFits, type Prepared, type Runner } from './runner.ts';

interface OnnxTensor {
  readonly data: Float32Array;
}
interface Session {
  run(feeds: Record<string, OnnxTensor>): Promise<Record<string, OnnxTensor>>;
  release(): Promise<void>;
}
interface OnnxRuntime {
  readonly Tensor: new (type: 'float32', data: Float32Array, shape: readonly number[]) => OnnxTensor;
  readonly InferenceSession: { create(model: Uint8Array, options: object): Promise<Session> };
}

/** onnxruntime-node; its times include the copies of inputs and outputs, which it always makes. */
export async function onnxRuntime(provider: OnnxProvider, mostBytes = Number.POSITIVE_INFINITY): Promise<Runner> {
  await openRuntime();
  return {
    name: onnxName(provider),
    async prepare(one, { inputs, dy }, pass) {
      if (pass === 'backward') throw new Error('it has no gradients');
      expectFits(one.largest, mostBytes);
      const graph = createGraph('case', {}, 'F32');
      graph.output('result', dy.shape, one.onnx(graph, inputs));
      return onnxSession(provider, graph.record, (name) => inputs[Number(name.slice(1))]!);
    },
  };
}

export type OnnxProvider = 'cpu' | 'webgpu';

export const onnxName = (provider: OnnxProvider): string =>
  provider === 'cpu' ? 'onnxruntime CPU' : 'onnxruntime WebGPU';

/** A session of a graph with one output; `inputOf` gives the inputs by their names. @throws when the provider cannot run it */
export async function onnxSession(
  provider: OnnxProvider,
  graph: GraphRecord,
  inputOf: (name: string) => Values,
): Promise<Prepared> {
  const runtime = await openRuntime();
  const [file] = encodeModel('bench.onnx', graph, { metadata: {}, limit: Number.POSITIVE_INFINITY });
  const pieces: Uint8Array[] = [];
  for await (const piece of readParts(file!.parts)) pieces.push(piece);
  const session = await runtime.InferenceSession.create(Buffer.concat(pieces), {
    executionProviders: [provider],
    intraOpNumThreads: 2,
    logSeverityLevel: 3,
  });
  const feeds = graph.inputs.map(({ name }) => {
    const { data, shape } = inputOf(name);
    return [name, new runtime.Tensor('float32', data, shape)] as const;
  });
  let output: OnnxTensor | undefined;
  return {
    async run(times = 1) {
      for (let n = 0; n < times; n++) output = Object.values(await session.run(Object.fromEntries(feeds)))[0];
    },
    results: async () => [output!.data],
    free() {
      void session.release();
    },
  };
}

async function openRuntime(): Promise<OnnxRuntime> {
  const module = await importPeer<OnnxRuntime & { default?: OnnxRuntime }>('onnxruntime-node');
  return module.default ?? module;
}
