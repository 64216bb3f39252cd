/** Exports a SAM as ONNX models and runs them by onnxruntime-node and transformers.js: the same click, the same mask and scores. */
import { AutoProcessor, RawImage, SamModel, type SamProcessor } from '@huggingface/transformers';
import { createPredictor, decodeImage, loadSam, preprocess } from '@slimsam/vit';
import { resizeLongestSide } from '@slimsam/vit/images';
import { exportOnnx } from '@slimsam/vit/onnx';
import * as tf from '@tensorflow/tfjs-core';
import { Command } from 'commander';
import * as ort from 'onnxruntime-node';
import { openBackend, parse } from 'slimsam/node';

const program = new Command('onnx')
  .description('exports ONNX models, for onnxruntime and for transformers.js, and tries both')
  .argument('<photo>', 'to try both on')
  .option('--model <path>', 'a SAM', parse.path, parse.path('examples/teacher/teacher.safetensors'))
  .option('--out <folder>', 'where the models go', parse.path, parse.path('out/onnx'))
  .parse();
const { model, out } = program.opts<{ model: string; out: string }>();

const backend = await openBackend('webgpu');
try {
  const { weights, config } = await loadSam(model);
  await exportOnnx(out, { weights, config }, { singleMask: true });
  await exportOnnx(`${out}/transformers`, { weights, config }, { convention: 'transformers.js' });

  const image = await decodeImage(program.args[0]!);
  const { width, height } = image;
  const point = [width / 2, height / 2];
  const encoder = await ort.InferenceSession.create(`${out}/encoder.onnx`);
  const { pixels } = preprocess(image, config);
  const encoded = await encoder.run({ image: new ort.Tensor('float32', await pixels.data<'float32'>(), pixels.shape) });

  const scale = config.imageSize / Math.max(width, height);
  const side = (4 * config.imageSize) / config.patchSize;
  const decoder = await ort.InferenceSession.create(`${out}/decoder.onnx`);
  const float = (data: number[] | Float32Array, shape: number[]) =>
    new ort.Tensor('float32', Float32Array.from(data), shape);
  const { masks } = await decoder.run({
    image_embeddings: encoded.image_embeddings!,
    point_coords: float([point[0]! * scale, point[1]! * scale, 0, 0], [1, 2, 2]),
    point_labels: float([1, -1], [1, 2]), // the second point is padding
    mask_input: float(new Float32Array(side * side), [1, 1, side, side]),
    has_mask_input: float([0], [1]),
    orig_im_size: float([height, width], [2]),
  });
  const theirs = (masks!.data as Float32Array).map((logit) => (logit > 0 ? 1 : 0));

  const predictor = createPredictor(weights, config);
  const embedded = predictor.embed(image);
  const prediction = await predictor.predict(embedded, { points: [point] });
  const best = prediction.scores[0]!.indexOf(Math.max(...prediction.scores[0]!));
  const ours = prediction.masks[0]![best]!;
  const same = ours.reduce((sum, inside, i) => sum + (inside === theirs[i] ? 1 : 0), 0);
  console.log(`${same} of ${ours.length} pixels are the same; models: ${out}`);

  const own = { local_files_only: true, dtype: 'fp32' } as const;
  const sam = (await SamModel.from_pretrained(`${out}/transformers`, own)) as SamModel;
  const processor = (await AutoProcessor.from_pretrained(`${out}/transformers`, own)) as SamProcessor;
  const small = resizeLongestSide(image, config.imageSize); // transformers.js's own resizing takes single pixels
  const prompts = { input_points: [[[point.map((value) => value * scale)]]], input_labels: [[[1]]] };
  const inputs = await processor(new RawImage(small.data, small.width, small.height, 3), prompts);
  const { iou_scores } = await sam(inputs);
  const off = prediction.scores[0]!.map((score, i) => Math.abs(score - iou_scores.data[i]));
  console.log(`scores of transformers.js are within ${Math.max(...off).toExponential(0)}`);
  await sam.dispose();
  tf.dispose([pixels, prediction.lowRes, embedded.embedding]);
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
} finally {
  backend.close();
}
