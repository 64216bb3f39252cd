/** An instruction of AMD's compiler (ACO) as it lists it: its clocks alone, its names (two where a pair issues together) and the text. */
export interface Instruction {
  readonly clocks: number;
  readonly text: string;
  readonly ops: readonly string[];
}

/** A block of machine code. */
export interface Block {
  readonly index: number;
  readonly kinds: readonly string[];
  readonly preds: readonly number[];
  readonly instructions: readonly Instruction[];
}

/** By block numbers. */
interface Loop {
  readonly header: number;
  readonly last: number;
}

/** The blocks of a listing (`ACO_DEBUG=perfinfo`). */
export function parseBlocks(listing: string): Block[] {
  const blocks: { index: number; kinds: string[]; preds: number[]; instructions: Instruction[] }[] = [];
  for (const line of listing.split('\n')) {
    const head = /^BB(\d+)/.exec(line);
    if (head) blocks.push({ index: Number(head[1]), kinds: [], preds: [], instructions: [] });
    const block = blocks.at(-1);
    if (!block) continue;
    const info = /linear preds: ([^/]*)\/ kind: ([^*]*)\*/.exec(line);
    if (info) {
      block.preds = Array.from(info[1]!.matchAll(/BB(\d+)/g), ([, n]) => Number(n));
      block.kinds = info[2]!.split(',').map((kind) => kind.trim());
    }
    const instruction = /^\t\(\s*(\d+) clk\)\s+(.*)$/.exec(line);
    if (!instruction) continue;
    const text = instruction[2]!;
    // "v1, vcc = (precise)v_add_co_u32 ..." or "s_nop"; a pair is "v0 = v_dual_x a, b ::v1 = v_dual_y c, d"
    const names = /(?:^|= |::)\(?(?:precise\))?((?:v|s|ds|buffer|global|scratch|flat|image|exp|p|lds)_[a-z0-9_]+)/g;
    block.instructions.push({
      ...{ clocks: Number(instruction[1]), text },
      ops: Array.from(text.matchAll(names), ([, op]) => op!),
    });
  }
  return blocks;
}

/** Loops in the order of their headers. */
export function findLoops(blocks: readonly Block[]): Loop[] {
  return blocks.flatMap(({ index, kinds, preds }) => {
    const back = kinds.includes('loop-header') ? preds.filter((n) => n >= index) : [];
    return back.length > 0 ? [{ header: index, last: Math.max(...back) }] : [];
  });
}

/** Whether the first loop is the driver's own, which clears workgroup memory: it stores there and loads nothing. */
export function clearsFirst(blocks: readonly Block[], [first]: readonly Loop[]): boolean {
  if (!first) return false;
  const inside = blocks.filter(({ index }) => index >= first.header && index <= first.last);
  const ops = inside.flatMap(({ instructions }) => instructions.flatMap((instruction) => instruction.ops));
  const stores = ops.some((op) => /^ds_(write|store)/.test(op));
  return stores && !ops.some((op) => /^(buffer|global|scratch|ds)_(load|read)/.test(op));
}

/** For each block those that it surely leads to, itself included; the end of a loop goes on after it. */
function postDominators(blocks: readonly Block[], loops: readonly Loop[], next: readonly number[][]): Set<number>[] {
  const post = blocks.map(() => new Set<number>());
  for (let i = blocks.length - 1; i >= 0; i--) {
    const ended = loops.find(({ last }) => blocks[i]!.index === last);
    const after = next[i]!.length > 0 || !ended ? next[i]! : [blocks.findIndex(({ index }) => index > ended.last)];
    const sets = after.map((s) => post[s] ?? new Set<number>());
    const [first = new Set<number>(), ...rest] = sets;
    for (const n of first) if (rest.every((set) => set.has(n))) post[i]!.add(n);
    post[i]!.add(i);
  }
  return post;
}

/**
 * How often a wave runs each block: loops as often as `trips` says; of a uniform branch with two sides each half the time, one without
 * `else` always; both sides of a divergent one.
 */
export function frequencies(blocks: readonly Block[], loops: readonly Loop[], trips: readonly number[]): number[] {
  const at = new Map(blocks.map(({ index }, i) => [index, i]));
  const next = blocks.map(() => [] as number[]);
  for (const [i, { index, preds }] of blocks.entries())
    for (const n of preds) if (n < index && at.has(n)) next[at.get(n)!]!.push(i);
  const post = postDominators(blocks, loops, next);
  const mass = blocks.map((_, i) => (i === 0 ? 1 : 0));
  for (const [i, block] of blocks.entries()) {
    const starting = loops.findIndex(({ header }) => header === block.index);
    if (starting >= 0) {
      const after = blocks.findIndex(({ index }) => index > loops[starting]!.last);
      if (after >= 0) mass[after]! += mass[i]!;
      mass[i]! *= trips[starting]!;
    }
    const loop = loops.filter(({ header, last }) => block.index >= header && block.index <= last).at(-1);
    const inside = next[i]!.filter((s) => !loop || blocks[s]!.index <= loop.last);
    const merge = inside.length > 1 ? inside.find((s) => inside.every((o) => o === s || post[o]!.has(s))) : undefined;
    const divergent = !block.kinds.includes('uniform');
    if (inside.length === 1 || (inside.length > 1 && merge === undefined && divergent)) mass[inside[0]!]! += mass[i]!;
    else {
      const sides = inside.filter((s) => s !== merge);
      for (const s of sides) mass[s]! += mass[i]! / sides.length;
    }
  }
  return mass;
}
