import { checkFields, dims, listIssues, printable, writeFileAtomic } from '@slimsam/weights';
import { en } from 'zod/locales';
import * as z from 'zod/mini';
import { checkKept } from '../surgery.ts';
import { countBlocks } from './blocks.ts';
import type { Plan } from './plan.ts';

// zod/mini, which bundles for browsers carry a quarter of; its messages are chosen at the call
const { localeError } = en();

const count = z.int().check(z.nonnegative());
const product = z.array(z.union([z.int().check(z.positive()), z.string()]));
const axis = z.union([z.null(), z.string(), product, z.strictObject({ stacked: z.array(product) })]);
const counts = z.strictObject({
  parameters: z.number(),
  macs: z.optional(z.number()),
  macsWithAttention: z.optional(z.number()),
  paperMacs: z.optional(z.number()),
});
const file = z.strictObject({
  format: z.literal('slimsam-plan'),
  version: z.literal(1),
  shapes: z.record(z.string(), z.array(count)),
  axes: z.record(z.string(), z.array(axis)),
  keep: z.record(z.string(), z.array(count)),
  blocks: z.optional(z.strictObject({ kept: z.array(count).check(z.minLength(1)), of: count })),
  asked: z.optional(z.number()),
  given: z.number(),
  target: z.optional(z.strictObject({ name: z.string(), atMost: z.number(), got: z.number() })),
  scores: z.record(
    z.string(),
    z.strictObject({ kept: z.number(), mean: z.number(), least: z.number(), most: z.number() }),
  ),
  before: counts,
  after: counts,
});

/** A plan as JSON, for `parsePlan`. */
export function formatPlan(plan: Plan): string {
  return `${JSON.stringify({ format: 'slimsam-plan', version: 1, ...plan })}\n`;
}

/**
 * Reads a plan from JSON.
 * @param source its name in errors
 * @throws when it is not JSON, a field is missing, unknown or of another type, or the kept channels do not fit the shapes and axes in it
 */
export function parsePlan(text: string, source = 'plan'): Plan {
  checkFields('parsePlan', { text }, { text: 'string' });
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new Error(`parsePlan: expected JSON in ${source}, got '${printable(text.slice(0, 40))}'`, { cause: error });
  }
  const parsed = file.safeParse(json, { error: localeError });
  if (!parsed.success)
    throw new Error(`parsePlan: expected a plan in ${source}, got ${listIssues(parsed.error.issues)}`);
  const { format: _, version: __, ...plan } = parsed.data;
  try {
    checkPlan(plan as Plan);
  } catch (error) {
    throw new Error(
      `parsePlan: expected a plan that fits its shapes in ${source}: ${printable((error as Error).message)}`,
      {
        cause: error,
      },
    );
  }
  return plan as Plan;
}

function checkPlan({ shapes, axes, keep, blocks }: Plan): void {
  const table = dims(axes, Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, { shape }])));
  for (const [name, kept] of Object.entries(keep)) {
    const size = table.get(name)?.size;
    if (size === undefined) throw new Error(`plan: expected a dimension of its axes to keep, got '${name}'`);
    checkKept(kept, { name, size, caller: 'plan' });
  }
  if (blocks === undefined) return;
  const of = countBlocks(Object.keys(shapes));
  if (blocks.of !== of) throw new Error(`plan: expected ${of} blocks, as the shapes have, got ${blocks.of}`);
  checkKept(blocks.kept, { name: 'blocks', size: of, caller: 'plan' });
}

/** The plan's file beside a model's: 'slim.safetensors' has 'slim.plan.json'. */
export function planPathOf(modelPath: string): string {
  checkFields('planPathOf', { modelPath }, { modelPath: 'string' });
  return `${modelPath.replace(/\.[^./\\]+$/, '')}.plan.json`;
}

/** Writes a plan, whole or not at all. In Node. */
export async function savePlan(path: string, plan: Plan): Promise<void> {
  checkFields('savePlan', { path, plan }, { path: 'string', plan: 'object' });
  await writeFileAtomic(path, formatPlan(plan));
}

/** Reads a plan that `savePlan` wrote. In Node. @throws as `parsePlan`, or when there is no such file */
export async function loadPlan(path: string): Promise<Plan> {
  checkFields('loadPlan', { path }, { path: 'string' });
  const { readFile } = await import('#node');
  return parsePlan(new TextDecoder().decode(await readFile(path)), path);
}
