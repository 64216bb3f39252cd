import { stat } from 'node:fs/promises';
import path from 'node:path';
import * as z from 'zod';
import { type Listing, quoted } from './entry.ts';
import { listFiles } from './list-files.ts';

const cocoFile = z.object({ images: z.array(z.object({ file_name: z.string().min(1) })) });

/**
 * Lists the images that a COCO file (instances, captions, …) names, whatever its annotations are.
 *
 * @param options.images the folder of the images; unless given, the JSON's own, 'images' or one of the set's name (train2017 of
 * instances_train2017.json), beside the JSON or one folder higher, whichever has the first image
 * @throws when the JSON is none of COCO, or no such folder has the first image
 */
export async function listCoco(
  file: { readonly path: string; readonly text: string },
  { listing, images, signal }: { listing: Listing; images: string | undefined; signal: AbortSignal | undefined },
): Promise<void> {
  const names = namesOf(file);
  if (names.length === 0) return;
  const folder = images ?? (await findFolder(file.path, names[0]!));
  const inside = names.filter((name) => {
    const relative = path.relative(folder, path.resolve(folder, name));
    const leaves = relative.startsWith('..') || path.isAbsolute(relative) || path.isAbsolute(name);
    if (leaves) listing.skipped.push({ name, reason: `outside the folder ${quoted(folder)}` });
    return !leaves;
  });
  const files = inside.map((name) => ({ name, path: path.join(folder, name) }));
  await listFiles(files, { listing, followLinks: true, signal });
}

function namesOf(file: { readonly path: string; readonly text: string }): string[] {
  let json: unknown;
  try {
    json = JSON.parse(file.text);
  } catch (error) {
    throw new Error(`photographs: expected COCO JSON in '${file.path}', got ${(error as Error).message}`, {
      cause: error,
    });
  }
  const parsed = cocoFile.safeParse(json);
  if (!parsed.success) {
    const reason = z.prettifyError(parsed.error).replaceAll(/\s*\n\s*/g, ' ');
    throw new Error(`photographs: expected COCO's images with their file_name in '${file.path}', got ${reason}`);
  }
  return parsed.data.images.map((image) => image.file_name);
}

async function findFolder(file: string, name: string): Promise<string> {
  const set = /_([^_]+)\.json$/.exec(path.basename(file))?.[1];
  const own = path.dirname(file);
  const subfolders = ['.', 'images', ...(set ? [set, `images/${set}`] : [])];
  const tried = [own, path.dirname(own)].flatMap((base) => subfolders.map((sub) => path.join(base, sub)));
  for (const folder of tried) {
    const found = await stat(path.join(folder, name)).catch(() => undefined);
    if (found) return folder;
  }
  throw new Error(
    `photographs: expected ${quoted(name)} of '${file}' in one of ${tried.join(', ')}, got none; name the folder by \`images\``,
  );
}
