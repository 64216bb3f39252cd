import { mkdtemp, readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { type BadRecord, discBaseline, runProtocol, type Segment } from '@slimsam/eval';
import { makeFolder } from '@slimsam/weights';
import { openOnnxModel } from '../../evaluate/open-onnx-model.ts';
import { segmentWithSam } from '../../evaluate/segment-with-sam.ts';
import { isSam } from '../../models/network.ts';
import type { JobOf } from '../job.ts';
import { getFile, putFile } from '../store/blobs.ts';
import { getSetting, imagesOfShard } from './evaluation.ts';
import { type JobContext, type JobYield, modelOf } from './workplace.ts';

/** Runs a protocol on the images of a shard: the files of its results folder. */
export async function evaluateJob(job: JobOf<'evaluate'>, context: JobContext): Promise<JobYield> {
  const { store, signal } = context;
  const { protocol, model, groundTruth, bad, skipBad } = await getSetting(store, job.setting);
  const folder = await mkdtemp(path.join(context.folder, 'results-'));
  const all: BadRecord[] = [...bad];
  const { segment, close } = await openSegment(job, context);
  try {
    await runProtocol({
      ...{ protocol, model, segment, folder, signal, shard: job.shard, bad: all },
      images: imagesOfShard(store, job.images),
      ...(groundTruth && { groundTruth }),
      ...(skipBad && { onBad: (record: BadRecord) => void all.push(record) }),
    });
    const outputs: Record<string, string> = {};
    for (const name of await readdir(folder)) outputs[name] = await putFile(store, path.join(folder, name));
    return { value: {}, outputs };
  } finally {
    await close();
    await rm(folder, { recursive: true, force: true });
  }
}

async function openSegment(
  job: JobOf<'evaluate'>,
  context: JobContext,
): Promise<{ segment: Segment; close: () => void | Promise<void> }> {
  const { model } = job;
  if (model.kind === 'disc') return { segment: discBaseline({ radius: model.radius }), close: () => {} };
  if (model.kind === 'weights') {
    const sam = await modelOf({ model: model.file, decoderHeads: model.decoderHeads }, context);
    if (!isSam(sam)) throw new Error('evaluate: expected a SAM, got a plain ViT; it has no prompts and masks');
    const { segment, dispose } = segmentWithSam(sam);
    return { segment, close: dispose };
  }
  const folder = path.join(context.folder, `onnx-${job.setting}`);
  await makeFolder(folder);
  for (const { name, file } of model.files) await getFile(context.store, file, path.join(folder, name));
  const place = model.files.length === 1 ? path.join(folder, model.files[0]!.name) : folder;
  return openOnnxModel(place, model.convention);
}
