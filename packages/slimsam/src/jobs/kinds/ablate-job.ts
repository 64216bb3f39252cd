import { type LabelledImages, type LabelledSource, sa1bImages, sceneImages } from '../../ablation/labelled-images.ts';
import { labelledLoss } from '../../ablation/labelled-loss.ts';
import { askTeacher, type TeacherAnswers } from '../../ablation/measure-student.ts';
import { computeCell } from '../../ablation/run-cell.ts';
import { isSam } from '../../models/network.ts';
import { type JobOf, jobHash } from '../job.ts';
import type { Store } from '../store/store.ts';
import { imagesOfShard } from './evaluation.ts';
import { inRunFolder } from './in-run-folder.ts';
import { withStored } from './photographs.ts';
import { type JobContext, type JobYield, modelOf } from './workplace.ts';

/** A cell of an ablation's grid. */
export async function ablateJob(job: JobOf<'ablate'>, context: JobContext): Promise<JobYield> {
  const { store, signal } = context;
  const { row, ratio, seed, budget, saveMinutes, scenes, tests, labels } = job;
  const teacher = await modelOf(job, context);
  if (!isSam(teacher)) throw new Error('ablate: expected a SAM, got a plain ViT; it has no prompts and masks');
  const loss = labels === undefined ? undefined : await labelledLoss(teacher, labelledOf(store, labels));
  const given = new Map<string, LabelledImages>();
  if (tests !== undefined)
    given.set(
      'photographs',
      sa1bImages(() => labelledOf(store, tests)),
    );
  if (scenes > 0) given.set('scenes', sceneImages({ count: scenes, size: teacher.config.imageSize }));
  const sets: Record<string, { images: LabelledImages; answers: TeacherAnswers }> = {};
  try {
    for (const [name, images] of given) sets[name] = { images, answers: await askTeacher(teacher, images, signal) };
    return await inRunFolder(job, context, ({ run, onEvent }) =>
      withStored(job.photographs, context, async (photographs) => {
        const inputs = { teacher, photographs, labels: loss, budget, sets, facts: jobHash(job), saveMinutes };
        const found = await computeCell({ row, ratio, seed }, { ...inputs, run, onEvent, signal });
        return { value: { ...found }, outputs: {} };
      }),
    );
  } finally {
    for (const { answers } of Object.values(sets)) answers.dispose();
  }
}

async function* labelledOf(store: Store, hash: string): AsyncGenerator<LabelledSource> {
  for await (const image of imagesOfShard(store, hash)) {
    const annotations = image.annotations.map((one) => ({ ...one, pointCoords: one.pointCoords ?? [] }));
    yield { ...image, annotations };
  }
}
