import { createHash } from 'node:crypto';
import { createRequire } from 'node:module';
import { z } from 'zod';
import { recipeSchema, scoringSchema } from './recipe-schema.ts';

/** A SHA-256, hexadecimal: how jobs name what lies in the store. No job names a path or a program. */
export const hashSchema: z.ZodString = z.string().regex(/^[0-9a-f]{64}$/, 'expected a SHA-256');

const count = z.int().min(1).max(1_000_000_000);

const common = {
  format: z.literal(1),
  /** Of slimsam: a worker of another version hands the job back. */
  version: z.string().regex(/^\d+\.\d+\.\d+[\w.+-]{0,40}$/),
  /** Features of WebGPU that the job needs, such as shader-f16. */
  requires: z.array(z.string().regex(/^[a-z0-9-]{1,60}$/)).max(20),
  shard: z
    .strictObject({ part: count, parts: count })
    .refine(({ part, parts }) => part <= parts, 'expected a part of 1 to parts'),
  seed: z.int(),
};

/** A model in the store: a SAM or plain ViT as safetensors, ONNX files, or the baseline that looks at no pixel. */
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

/** All that a worker does. A job is data, and pure: what comes of it depends on nothing else. */
export const jobSchema = z.discriminatedUnion('kind', [
  /** Images of an evaluation; `setting`: the protocol and what it takes; `images`: the shard's. */
  z.strictObject({
    ...common,
    kind: z.literal('evaluate'),
    model: modelSchema,
    setting: hashSchema,
    images: hashSchema,
  }),
  /** Importance scores of one part of the photographs. */
  z.strictObject({
    ...common,
    kind: z.literal('score'),
    ...weights,
    photographs: hashSchema,
    scoring: scoringSchema,
    dimensions: z.array(z.string().max(200)).min(1).max(100_000),
  }),
  /** A teacher's embeddings of one part of the photographs. */
  z.strictObject({ ...common, kind: z.literal('embed'), ...weights, photographs: hashSchema }),
  /** A whole compression, a cell of a sweep. */
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
  /** Nothing: it measures what the queue costs, and tries a set-up. */
  z.strictObject({ ...common, kind: z.literal('sleep'), milliseconds: z.number().min(0).max(60_000) }),
]);

export type Job = z.infer<typeof jobSchema>;
export type JobOf<Kind extends Job['kind']> = Extract<Job, { readonly kind: Kind }>;

/** A job's plain JSON with its keys sorted, so that equal jobs are equal texts. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) =>
    part !== null && typeof part === 'object' && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
}

/** The hash under which a job's result lies in the store. */
export const jobHash = (job: Job): string => sha256(canonical(job));

export const sha256 = (data: Uint8Array | string): string => createHash('sha256').update(data).digest('hex');

/** A job from outside. @throws when it is none, with the fields that are wrong */
export function parseJob(data: unknown): Job {
  const { success, data: job, error } = jobSchema.safeParse(data);
  if (success) return job;
  const problem = z.prettifyError({ issues: error.issues.slice(0, 3) }).replace(/\s+/g, ' ');
  throw new Error(`job: expected one of slimsam's, got ${problem.slice(0, 400)}; it is refused`);
}

/** The version of this slimsam. */
export const slimsamVersion: string = z
  .object({ version: z.string() })
  .parse(createRequire(import.meta.url)('../../package.json')).version;

/** What all jobs of this slimsam have. */
export const jobHead = (
  shard: { readonly part: number; readonly parts: number },
  seed = 1,
): Pick<Job, 'format' | 'version' | 'requires' | 'shard' | 'seed'> => ({
  ...{ format: 1, version: slimsamVersion, requires: [], shard, seed },
});

/** What came of a job, as it lies in the store. */
export const resultSchema = z.strictObject({
  format: z.literal(1),
  job: hashSchema,
  version: z.string(),
  /** What computed it. */
  adapter: z.string(),
  /** Who: host and process. */
  worker: z.string(),
  seconds: z.number(),
  /** Figures, as JSON. */
  value: z.record(z.string(), z.json()),
  /** Blobs by name. */
  outputs: z.record(z.string(), hashSchema),
});

export type JobResult = z.infer<typeof resultSchema>;
