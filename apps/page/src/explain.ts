import { html } from './dom.ts';

/** What is known to go wrong: what an error's text has in it, and what to tell. */
const known: readonly (readonly [RegExp, string])[] = [
  [
    /navigator\.gpu|webgpu: expected an adapter/,
    'This browser has no WebGPU. Use Chrome or Edge 113, Safari 26, or Firefox 141 or newer, on a machine with a GPU; on Linux, chrome://flags/#enable-unsafe-webgpu.',
  ],
  [
    /device was lost|device is lost|create the backend again/,
    'The GPU was lost (its driver was reset, or another program took it). It is opened again: open the picture once more. Press “Go on” for a compression: it goes on from what was saved last.',
  ],
  [
    /out of memory|allocation failed|Array buffer allocation/i,
    'There is too little memory for this. Close other tabs, take a smaller model or picture, or fewer photographs a step.',
  ],
  [
    /^memory: expected/,
    'Compressing this model takes more memory than this browser tells of. Take fewer photographs a step or a smaller model, or compress it with the slimsam command.',
  ],
  [
    /full storage quota|QuotaExceeded|storage quota\b|a full disk/,
    "This browser's storage for the page is full. Free some disk space, or take fewer photographs; what was saved stays, and a run goes on from there.",
  ],
  [
    /decodeImage: expected an image/,
    'This file is no picture that the browser can decode. Take a JPEG, PNG, WebP or AVIF that is whole.',
  ],
  [
    /no photograph|photographs that can be (read|decoded), got none/,
    'None of these files is a photograph that the browser can decode. Take JPEG, PNG, WebP or AVIF files.',
  ],
  [
    /openBytes: expected (a|the) file at|Failed to fetch|NetworkError/,
    'The model could not be fetched. Look at its id or address and at the network; its server must allow other pages to read it (CORS).',
  ],
  [
    /loadSam:|openTensors:|openBytes:|safetensors|sam_config/,
    'This file is no Segment Anything model that can be read. Take a .safetensors or .pth file of a SAM or SlimSAM.',
  ],
];

/** An error in words with its cure; what the program said stands behind. */
function explain(error: unknown): string {
  const said = error instanceof Error ? error.message : String(error);
  const found = known.find(([pattern]) => pattern.test(said));
  return found ? `${found[1]} (${said})` : said;
}

/** Shows one message until it is closed or another follows. */
export function tell(error: unknown): void {
  const box = html('message');
  box.querySelector('p')!.textContent = explain(error);
  box.hidden = false;
}

export function hush(): void {
  html('message').hidden = true;
}

/** Closes the message by its button. */
export function setUpMessage(): void {
  html('message').querySelector('button')!.addEventListener('click', hush);
}
