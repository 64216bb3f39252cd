import { generateScene } from '@slimsam/scenes';
import { useWebgpu } from '@slimsam/tensor-webgpu';
import { initSam, initVit, parseVitConfig, type Sam, samPresets, type Vit } from '@slimsam/vit';
import type { Weights } from '@slimsam/weights';
import { afterAll, beforeAll } from 'vitest';
import type { CompressEvent, Compressed } from '../src/compress/events.ts';
import { photographsInMemory } from '../src/photographs/in-memory.ts';
import type { Photographs } from '../src/photographs/photographs.ts';

/** Opens the backend for a file of tests. */
export function withWebgpu(): void {
  let dispose = () => {};
  beforeAll(async () => {
    const backend = await useWebgpu();
    dispose = () => backend.dispose();
  });
  afterAll(() => dispose());
}

/** A SAM of 25,000 random parameters for images of 64 pixels. */
export function tinySam(seed = 1): Sam {
  const { config, sizes } = samPresets.tiny;
  return { config, weights: initSam(config, sizes, { seed }) };
}

/** A plain ViT, 16 wide, for images of 32 pixels. */
export function tinyVit(seed = 1): Vit {
  const config = parseVitConfig({ imageSize: [32, 32], heads: 2, headWidth: 8 });
  return { config, weights: initVit(config, { depth: 2, mlpWidth: 64, patchSize: 8 }, { seed }) };
}

/** Small synthetic photographs. */
export function scenes(count: number): Photographs {
  const images = Array.from({ length: count }, (_, i) => ({
    name: `scene ${i}`,
    image: generateScene(500 + i, { width: 64, height: 64 }).image,
  }));
  return photographsInMemory(images);
}

/** Follows a run until so many events were told; undefined unless it came to its end before. */
export async function follow(
  stages: AsyncGenerator<CompressEvent, Compressed, undefined>,
  events: number,
): Promise<Compressed | undefined> {
  for (let i = 0; ; i++) {
    const next = await stages.next();
    if (next.done) return next.value;
    if (i < events) continue;
    await stages.return(undefined as never);
    return undefined;
  }
}

/** The values of all weights, by name. */
export async function valuesOf(weights: Weights): Promise<Record<string, Float32Array>> {
  const entries = Object.entries(weights).map(
    async ([name, weight]) => [name, await weight.data<'float32'>()] as const,
  );
  return Object.fromEntries(await Promise.all(entries));
}
