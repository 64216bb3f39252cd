import { importPeer } from './install.ts';
import { onnxModel } from './onnx-model.ts';
import type { Runner } from './runner.ts';

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
export async function onnxRuntime(provider: 'cpu' | 'webgpu'): Promise<Runner> {
  const module = await importPeer<OnnxRuntime & { default?: OnnxRuntime }>('onnxruntime-node');
  const runtime = module.default ?? module;
  return {
    name: provider === 'cpu' ? 'onnxruntime CPU' : 'onnxruntime WebGPU',
    async prepare(one, { inputs }, pass) {
      if (pass === 'backward') throw new Error('it has no gradients');
      if (!one.onnx) throw new Error('there is no ONNX graph of this case');
      const graph = one.onnx();
      const session = await runtime.InferenceSession.create(onnxModel(graph), {
        executionProviders: [provider],
        intraOpNumThreads: 2,
        logSeverityLevel: 3,
      });
      const feeds = Object.fromEntries(
        Object.keys(graph.inputs).map((name, i) => [
          name,
          new runtime.Tensor('float32', inputs[i]!.data, inputs[i]!.shape),
        ]),
      );
      let output: OnnxTensor | undefined;
      return {
        async run() {
          output = Object.values(await session.run(feeds))[0];
        },
        results: async () => [output!.data],
        free() {
          void session.release();
        },
      };
    },
  };
}
