import type { Draw } from './random.ts';
import { drawShape, type Shape, shapeReach } from './shapes.ts';

export interface Size {
  readonly width: number;
  readonly height: number;
}

/** An object's outline at its place in the picture. */
export interface Body {
  readonly x0: number;
  readonly y0: number;
  /** Of the part of the picture that the outline and its shadow touch. */
  readonly width: number;
  readonly height: number;
  /** [height * width] distance to the outline in pixels, positive inside */
  readonly levels: Float32Array;
  readonly centre: readonly [number, number];
  /** Pixels. */
  readonly radius: number;
  /** Pixels inside, before other objects cover some. */
  readonly area: number;
}

/** Shares of the picture, of the object, and of what is seen of it, below which an object would be no fair question. */
const leastArea = 0.006;
const leastSeen = 0.35;
const leastWhole = 0.75;

/**
 * Lays `count` objects over one another, each on top of those before; an object that would hide another one (nearly) or cut it into
 * fragments is drawn again, smaller. Fewer objects come back where the picture is full.
 *
 * @returns the bodies from the lowest to the topmost, and labels [height * width]: 0 where no object is seen, k for the k-th body
 */
export function placeBodies(draw: Draw, count: number, size: Size): { bodies: Body[]; labels: Uint8Array } {
  const bodies: Body[] = [];
  let labels: Uint8Array = new Uint8Array(size.width * size.height);
  for (let tries = 0; bodies.length < count && tries < 20 * count; tries++) {
    const share = draw.scale(0.02, 0.3) * 0.97 ** tries;
    const body = drawBody(draw, Math.max(share, 0.015), size);
    const covered = withBody(labels, body, { label: bodies.length + 1, width: size.width });
    const trial = [...bodies, body];
    if (![...covered.touched].every((label) => isFair(covered.labels, label, trial[label - 1]!, size))) continue;
    bodies.push(body);
    labels = covered.labels;
  }
  return { bodies, labels };
}

/** An outline of about this share of the picture's area, at a drawn place. */
function drawBody(draw: Draw, share: number, { width, height }: Size): Body {
  const shape = drawShape(draw);
  const stretch = draw.number(0.55, 1);
  const filled = filling(shape) * stretch;
  const radius = Math.min(Math.sqrt((share * width * height) / filled), 0.6 * Math.max(width, height));
  const [cx, cy] = [draw.number(0.04, 0.96) * width, draw.number(0.04, 0.96) * height];
  const angle = draw.number(0, 2 * Math.PI);
  const [c, s] = [Math.cos(angle) / radius, Math.sin(angle) / radius];
  const reach = radius * shapeReach + 0.04 * Math.max(width, height);
  const [x0, y0] = [Math.max(0, Math.floor(cx - reach)), Math.max(0, Math.floor(cy - reach))];
  const boxWidth = Math.min(width, Math.ceil(cx + reach)) - x0;
  const boxHeight = Math.min(height, Math.ceil(cy + reach)) - y0;
  const farthest = radius * shapeReach;
  const levels = new Float32Array(boxWidth * boxHeight);
  let area = 0;
  for (let y = 0, at = 0; y < boxHeight; y++) {
    const dy = y0 + y - cy;
    for (let x = 0; x < boxWidth; x++, at++) {
      const dx = x0 + x - cx;
      const far = dx * dx + dy * dy > farthest * farthest;
      const level = far ? -farthest : shape(c * dx + s * dy, (c * dy - s * dx) / stretch) * radius * stretch;
      levels[at] = level;
      if (level > 0) area++;
    }
  }
  return { x0, y0, width: boxWidth, height: boxHeight, levels, centre: [cx, cy], radius, area };
}

/** Area of a shape in its own units, by samples. */
function filling(shape: Shape): number {
  const steps = 20;
  const cell = (2 * shapeReach) / steps;
  let inside = 0;
  for (let j = 0; j < steps; j++) {
    for (let i = 0; i < steps; i++)
      if (shape((i + 0.5) * cell - shapeReach, (j + 0.5) * cell - shapeReach) > 0) inside++;
  }
  return Math.max(inside, 1) * cell * cell;
}

/** The labels with a body on top, and which labels that changes. */
function withBody(
  before: Uint8Array,
  body: Body,
  { label, width }: { label: number; width: number },
): { labels: Uint8Array; touched: Set<number> } {
  const labels = before.slice();
  const touched = new Set([label]);
  for (let y = 0, at = 0; y < body.height; y++) {
    const row = (body.y0 + y) * width + body.x0;
    for (let x = 0; x < body.width; x++, at++) {
      if (body.levels[at]! <= 0) continue;
      const below = labels[row + x]!;
      if (below) touched.add(below);
      labels[row + x] = label;
    }
  }
  return { labels, touched };
}

/** Whether enough is seen of an object, most of it in one piece. */
function isFair(labels: Uint8Array, label: number, body: Body, { width, height }: Size): boolean {
  const open = new Uint8Array(body.width * body.height);
  let area = 0;
  for (let y = 0, at = 0; y < body.height; y++) {
    const row = (body.y0 + y) * width + body.x0;
    for (let x = 0; x < body.width; x++, at++) {
      if (labels[row + x] !== label) continue;
      open[at] = 1;
      area++;
    }
  }
  return (
    area >= leastArea * width * height &&
    area >= leastSeen * body.area &&
    largestPiece(open, body.width) >= leastWhole * area
  );
}

/** Pixels of the largest connected piece; clears `open`. */
function largestPiece(open: Uint8Array, width: number): number {
  const stack: number[] = [];
  let largest = 0;
  for (let start = 0; start < open.length; start++) {
    if (!open[start]) continue;
    let size = 0;
    const visit = (at: number) => {
      if (!open[at]) return;
      open[at] = 0;
      size++;
      stack.push(at);
    };
    visit(start);
    while (stack.length > 0) {
      const at = stack.pop()!;
      const x = at % width;
      if (x > 0) visit(at - 1);
      if (x < width - 1) visit(at + 1);
      if (at >= width) visit(at - width);
      if (at + width < open.length) visit(at + width);
    }
    largest = Math.max(largest, size);
  }
  return largest;
}
