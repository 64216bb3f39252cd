import { createHash } from 'node:crypto';
import { createRequire } from 'node:module';
import { checkFields } from '@slimsam/weights';
import { z } from 'zod';
import type { AblationBudget, AblationCell } from '../ablation/run-cell.ts';
import type { ScoringOfPart } from '../compress/part-scorer.ts';
import type { Recipe } from '../recipe/recipe.ts';
import { recipeSchema, scoringSchema } from './recipe-schema.ts';

/** A SHA-256, hexadecimal: how jobs name what lies in the store. No job names a path or a program. */
export const hashSchema: z.ZodString = z.string().regex(/^[0-9a-f]{64}$/, 'expected a SHA-256');

/** What all jobs have. */
interface Head {
  readonly format: 1;
  /** Of slimsam: a worker of another version hands the job back. */
  readonly version: string;
  /** Features of WebGPU that the job needs, such as shader-f16. */
  readonly requires: readonly string[];
  readonly shard: { readonly part: number; readonly parts: number };
  readonly seed: number;
}

/** A model in the store: a SAM or plain ViT as safetensors, ONNX files, or the baseline that looks at no pixel. */
type JobModel =
  | { readonly kind: 'weights'; readonly file: string; readonly decoderHeads?: number | undefined }
  | {
      readonly kind: 'onnx';
      readonly files: readonly { readonly name: string; readonly file: string }[];
      readonly convention?: string | undefined;
    }
  | { readonly kind: 'disc'; readonly radius: number };

interface OnWeights extends Head {
  /** Hash of the model's file. */
  readonly model: string;
  readonly decoderHeads?: number | undefined;
  readonly size?: number | undefined;
  /** Hash of the list of photographs. */
  readonly photographs: string;
}

/** All that a worker does. A job is data, and pure: what comes of it depends on nothing else. */
export type Job =
  /** Images of an evaluation; `setting`: the protocol and what it takes; `images`: the shard's. */
  | (Head & { readonly kind: 'evaluate'; readonly model: JobModel; readonly setting: string; readonly images: string })
  /** Importance scores of one part of the photographs. */
  | (OnWeights & { readonly kind: 'score'; readonly scoring: ScoringOfPart; readonly dimensions: readonly string[] })
  /** A teacher's embeddings of one part of the photographs. */
  | (OnWeights & { readonly kind: 'embed' })
  /** A whole compression, a cell of a sweep. */
  | (OnWeights & {
      readonly kind: 'compress';
      readonly recipe: Recipe;
      readonly batch: number;
      readonly accumulate: number;
      readonly recompute: boolean;
      readonly held?: number | undefined;
      readonly saveMinutes: number;
    })
  /** A cell of an ablation's grid: a compression that is measured; of `seed`. */
  | (Head &
      Omit<AblationCell, 'seed'> & {
        readonly kind: 'ablate';
        readonly model: string;
        readonly photographs: string;
        /** Images with masks: those that are measured on, and the photographs for a row that scores by labels. */
        readonly tests?: string | undefined;
        readonly labels?: string | undefined;
        /** Synthetic scenes that are measured on. */
        readonly scenes: number;
        readonly budget: AblationBudget;
        readonly saveMinutes: number;
      })
  /** Nothing: it measures what the queue costs, and tries a set-up. */
  | (Head & { readonly kind: 'sleep'; readonly milliseconds: number });

const count = z.int().min(1).max(1_000_000_000);

const common = {
  format: z.literal(1),
  version: z.string().regex(/^\d+\.\d+\.\d+[\w.+-]{0,40}$/),
  requires: z.array(z.string().regex(/^[a-z0-9-]{1,60}$/)).max(20),
  shard: z
    .strictObject({ part: count, parts: count })
    .refine(({ part, parts }) => part <= parts, 'expected a part of 1 to parts'),
  seed: z.int(),
};

const modelSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('weights'), file: hashSchema, decoderHeads: count.optional() }),
  z.strictObject({
    kind: z.literal('onnx'),
    files: z
      .array(z.strictObject({ name: z.string().regex(/^(?!\.)[\w.-]{1,200}$/), file: hashSchema }))
      .min(1)
      .max(100),
    convention: z.string().max(60).optional(),
  }),
  z.strictObject({ kind: z.literal('disc'), radius: z.number().positive() }),
]);

const weights = { model: hashSchema, decoderHeads: count.optional(), size: count.max(16_384).optional() };

const jobSchema: z.ZodType<Job> = z.discriminatedUnion('kind', [
  z.strictObject({
    ...common,
    kind: z.literal('evaluate'),
    model: modelSchema,
    setting: hashSchema,
    images: hashSchema,
  }),
  z.strictObject({
    ...common,
    kind: z.literal('score'),
    ...weights,
    photographs: hashSchema,
    scoring: scoringSchema,
    dimensions: z.array(z.string().max(200)).min(1).max(100_000),
  }),
  z.strictObject({ ...common, kind: z.literal('embed'), ...weights, photographs: hashSchema }),
  z.strictObject({
    ...common,
    kind: z.literal('compress'),
    ...weights,
    photographs: hashSchema,
    recipe: recipeSchema,
    batch: count,
    accumulate: count,
    recompute: z.boolean(),
    held: z.int().min(0).optional(),
    saveMinutes: z.number().positive(),
  }),
  z.strictObject({
    ...common,
    kind: z.literal('ablate'),
    model: hashSchema,
    photographs: hashSchema,
    tests: hashSchema.optional(),
    labels: hashSchema.optional(),
    scenes: z.int().min(0).max(100_000),
    row: z.string().regex(/^[a-z0-9-]{1,60}$/),
    ratio: z.number().min(0).lt(1),
    budget: z.strictObject({
      ...{ epochs: count, steps: count, batch: count, sample: count, held: count },
      rate: z.number().positive(),
    }),
    saveMinutes: z.number().positive(),
  }),
  z.strictObject({ ...common, kind: z.literal('sleep'), milliseconds: z.number().min(0).max(60_000) }),
]);

export type JobOf<Kind extends Job['kind']> = Extract<Job, { readonly kind: Kind }>;

/** A job's plain JSON with its keys sorted, so that equal jobs are equal texts. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) =>
    part !== null && typeof part === 'object' && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
}

/** What a job does, in few words. */
export function jobTitle(job: Job): string {
  checkFields('jobTitle', job, { kind: 'string', shard: 'object' });
  const { kind, shard, seed } = job;
  if (kind === 'ablate') return `${kind} ${job.row} at ${job.ratio}, seed ${seed}`;
  if (kind === 'compress') return `${kind} ${job.recipe.name}${ratioOf(job.recipe)}, seed ${seed}`;
  return `${kind} ${shard.part} of ${shard.parts}`;
}

function ratioOf({ steps }: Recipe): string {
  const last = steps.findLast((step) => step.kind === 'prune');
  return last ? ` at ${last.ratio}` : '';
}

/** The hash under which a job's result lies in the store. */
export function jobHash(job: Job): string {
  checkFields('jobHash', { job }, { job: 'object' });
  return sha256(canonical(job));
}

export const sha256 = (data: Uint8Array | string): string => createHash('sha256').update(data).digest('hex');

/** A job from outside. @throws when it is none, with the fields that are wrong */
export function parseJob(data: unknown): Job {
  const { success, error } = jobSchema.safeParse(data);
  if (success) return data as Job; // as it came, since files of a run keep the order of a recipe's keys
  const problem = z.prettifyError({ issues: error.issues.slice(0, 3) }).replace(/\s+/g, ' ');
  throw new Error(`job: expected one of slimsam's, got ${problem.slice(0, 400)}; it is refused`);
}

/** The version of this slimsam. */
export const slimsamVersion: string = z
  .object({ version: z.string() })
  .parse(createRequire(import.meta.url)('../../package.json')).version;

/** What all jobs of this slimsam have. */
export function jobHead(
  shard: { readonly part: number; readonly parts: number },
  seed = 1,
): Pick<Job, 'format' | 'version' | 'requires' | 'shard' | 'seed'> {
  checkFields('jobHead', shard, { part: 'number', parts: 'number' });
  return { format: 1, version: slimsamVersion, requires: [], shard, seed };
}

/** What came of a job, as it lies in the store. */
export interface JobResult {
  readonly format: 1;
  readonly job: string;
  readonly version: string;
  /** What computed it. */
  readonly adapter: string;
  /** Who: host and process. */
  readonly worker: string;
  readonly seconds: number;
  /** Figures, as JSON. */
  readonly value: Readonly<Record<string, unknown>>;
  /** Blobs by name. */
  readonly outputs: Readonly<Record<string, string>>;
}

export const resultSchema: z.ZodType<JobResult> = z.strictObject({
  format: z.literal(1),
  job: hashSchema,
  version: z.string(),
  adapter: z.string(),
  worker: z.string(),
  seconds: z.number(),
  value: z.record(z.string(), z.json()),
  outputs: z.record(z.string(), hashSchema),
});
