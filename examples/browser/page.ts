/** The page: it draws and asks; everything that computes is in the worker, so that nothing blocks. */
import type { Answer, Request } from './worker.ts';

const worker = new Worker(new URL('./worker.ts', import.meta.url), { type: 'module' });
const ask = (request: Request, transfer: Transferable[] = []): void => worker.postMessage(request, transfer);
const element = <T extends HTMLElement>(id: string): T => document.getElementById(id) as T;
const canvas = element<HTMLCanvasElement>('canvas');
const context = canvas.getContext('2d')!;
const status = (text: string): void => {
  element('status').textContent = text;
};

element<HTMLInputElement>('model').onchange = async ({ target }) => {
  const bytes = await (target as HTMLInputElement).files![0]!.arrayBuffer();
  status('loading');
  ask({ model: bytes }, [bytes]); // moved, not copied
};

let photo: ImageBitmap | undefined;
element<HTMLInputElement>('photo').onchange = async ({ target }) => {
  const file = (target as HTMLInputElement).files![0]!;
  photo = await createImageBitmap(file);
  [canvas.width, canvas.height] = [photo.width, photo.height];
  context.drawImage(photo, 0, 0);
  status('encoding');
  ask({ photo: file });
};

canvas.onclick = ({ offsetX, offsetY }) => ask({ point: [offsetX, offsetY] });

worker.onmessage = ({ data }: MessageEvent<Answer>) => {
  status(data.status);
  if (!data.mask || !photo) return;
  context.drawImage(photo, 0, 0);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height);
  data.mask.forEach((inside, i) => {
    if (inside) pixels.data[4 * i + 2] = 255;
  });
  context.putImageData(pixels, 0, 0);
};
