import { type Block, clearsFirst, findLoops, frequencies, type Instruction, parseBlocks } from './aco-listing.ts';

/** A GPU of AMD by the makers' numbers. Of a SIMD unit and clock: float32 operations, bytes of workgroup memory and of the vector cache. */
interface Target {
  readonly name: string;
  /** The generation: 10 is RDNA 2, 11 RDNA 3, which may issue two instructions at once. */
  readonly gfx: 10 | 11;
  readonly peak: number;
  readonly lds: number;
  readonly cache: number;
}

/** Keys are what RADV_FORCE_FAMILY takes. */
export const targets: Readonly<Record<string, Target>> = {
  navi31: { name: 'RDNA 3, Radeon RX 7900 XTX', gfx: 11, peak: 128, lds: 64, cache: 64 },
  navi21: { name: 'RDNA 2, Radeon RX 6900 XT', gfx: 10, peak: 64, lds: 64, cache: 64 },
};

/** What `gpu-compile` says of a shader, and the listing of AMD's compiler ACO. */
export interface Compiled {
  readonly shader: string;
  readonly subgroupSize: number;
  readonly workgroup: readonly [number, number, number];
  readonly statistics: Readonly<Record<string, number>>;
  readonly listing: string;
}

// clocks by ACO's own table (aco_statistics.cpp of Mesa 25.0), with bytes for memory
const slow = /^v_(exp|log|rcp|rsq|sqrt|sin|cos)(_legacy|_clamp|_iflag)?_f(16|32)/;
const quarter = /^v_(mul_hi_[iu]32|mul_lo_[iu]32)/;
const wide = /^v_(lsh[lr]rev_b64|ashrrev_i64|lshl_b64|lshr_b64|ashr_i64|mad_[iu]64_[iu]32)/;
const pairs =
  /^v_(dual_\w+|fma_f32|fmac_f32|fmaak_f32|fmamk_f32|mul_f32|add_f32|sub_f32|subrev_f32|mul_legacy_f32|mov_b32|cndmask_b32|writelane_b32|max_f32|min_f32|(fma|fmac|mul|add|sub|max|min)_f16|dot2c?_f32_f16)/;

function bytesOf(op: string): number {
  const vectors = /x(\d)$/.exec(op);
  if (vectors) return 4 * Number(vectors[1]);
  const two = /^ds_(?:read|write|load|store)2(?:st64)?_b(\d+)/.exec(op);
  if (two) return (2 * Number(two[1])) / 8;
  const bits = /_[bui](\d+)(?:_d16(?:_hi)?)?$/.exec(op);
  return bits ? Math.max(4, Number(bits[1]) / 8) : 4;
}

/** Clocks of each unit. */
interface Use {
  vector: number;
  slow: number;
  scalar: number;
  branch: number;
  workgroupMemory: number;
  memory: number;
}

function useOf({ ops: [op], text }: Instruction, target: Target, wave: number): Partial<Use> {
  if (!op) return {};
  if (op.startsWith('v_')) {
    const together = target.gfx >= 11 && pairs.test(op) && !/dpp|row_|quad_perm/.test(text);
    const passes = wave === 64 && !together ? 2 : 1;
    if (slow.test(op)) return { vector: passes, slow: 4 * passes };
    if (quarter.test(op)) return { vector: 4 * passes, slow: 4 * passes };
    return { vector: wide.test(op) ? 2 * passes : passes };
  }
  if (op.startsWith('ds_')) return { workgroupMemory: (bytesOf(op) * wave) / target.lds };
  if (/^(buffer|global|flat|image|scratch)_/.test(op)) return { memory: (bytesOf(op) * wave) / target.cache };
  if (/^s_(c?branch|sendmsg)/.test(op)) return { branch: 3 };
  if (/^s_(waitcnt|wait_|nop|delay_alu|barrier|endpgm|clause|sleep|inst_prefetch)/.test(op)) return {};
  return op.startsWith('s_') ? { scalar: 1 } : {};
}

/**
 * The share of the peak rate of float32 operations that a kernel reaches by the model: the busiest unit of a SIMD, or the latency of one
 * wave over the waves that share it, bounds it. Caches that miss, bank conflicts, barriers and the tail of a grid are left out, so it is
 * an upper bound, and ranks texts rather than predicts times.
 *
 * @param trips how often each loop of the text runs each time it is reached, in the order of the text
 * @param flops of one invocation
 * @throws when the machine code has other loops than the text
 */
export function shareOfPeak(
  compiled: Compiled,
  target: Target,
  { trips, flops }: { trips: readonly number[]; flops: number },
): number {
  const { listing, subgroupSize: wave, workgroup, statistics, shader } = compiled;
  const blocks: Block[] = parseBlocks(listing);
  const loops = findLoops(blocks);
  const threads = workgroup[0] * workgroup[1] * workgroup[2];
  const clearing = clearsFirst(blocks, loops) ? [Math.ceil(statistics['LDS size']! / 16 / threads)] : [];
  const known = [...clearing, ...trips];
  if (loops.length !== known.length)
    throw new Error(
      `${shader}: expected ${known.length} loops in the machine code, got ${loops.length}; count its trips anew`,
    );
  const waves = Number(/^num_waves: (\d+)/m.exec(listing)![1]);
  const total: Use = { vector: 0, slow: 0, scalar: 0, branch: 0, workgroupMemory: 0, memory: 0 };
  let latency = 0;
  const mass = frequencies(blocks, loops, known);
  for (const [i, { instructions }] of blocks.entries())
    for (const instruction of instructions) {
      latency += instruction.clocks * mass[i]!;
      for (const [unit, clocks] of Object.entries(useOf(instruction, target, wave)))
        total[unit as keyof Use] += clocks * mass[i]!;
    }
  const clocks = Math.max(latency / waves, ...Object.values(total));
  return (flops * Math.min(wave, threads)) / (clocks * target.peak);
}
