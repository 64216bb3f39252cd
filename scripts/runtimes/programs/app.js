import { useWebgpu } from '@slimsam/tensor-webgpu';
import { createPredictor, decodeImage, loadSam } from '@slimsam/vit';

const backend = await useWebgpu();
const sam = await loadSam('/sam.safetensors');
const predictor = createPredictor(sam.weights, sam.config);
const photo = await decodeImage(await (await fetch('/photo.png')).blob());
const { scores } = await predictor.predict(predictor.embed(photo), { points: [[20, 12]] });
document.title = JSON.stringify({ scores: scores[0], adapter: backend.facts.name });
backend.dispose();
