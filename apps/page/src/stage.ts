import type { Picture } from './engine.ts';
import type { Prompts } from './worker/segmenter.ts';

/** A mask to draw over a picture. */
export interface Layer {
  readonly mask: Uint8Array;
  /** Red, green and blue. */
  readonly color: readonly [number, number, number];
  /** Only columns from here on, or up to here; all unless given. */
  readonly from?: number;
  readonly to?: number;
}

/** Okabe and Ito's colours, which the colour-blind can tell apart. */
export const colors: readonly (readonly [number, number, number])[] = [
  [86, 180, 233],
  [230, 159, 0],
  [0, 158, 115],
  [240, 228, 66],
  [213, 94, 0],
  [204, 121, 167],
  [0, 114, 178],
];

/** What the user does on a stage, in the picture's pixels. */
export interface StageEvents {
  readonly point: (at: readonly [number, number], label: 0 | 1) => void;
  readonly box: (box: readonly [number, number, number, number]) => void;
  readonly undo: () => void;
  readonly clear: () => void;
  /** The pointer's place; undefined when it left. */
  readonly hover?: (at: readonly [number, number] | undefined) => void;
  /** The label of a plain click. */
  readonly label: () => 0 | 1;
}

/** A canvas with a picture, masks and prompts. */
export interface Stage {
  draw(picture: Picture | undefined, layers: readonly Layer[], prompts?: Prompts): void;
}

const tints = new WeakMap<Uint8Array, Map<string, OffscreenCanvas>>();

/** The mask as an image: tinted inside, opaque along its border. */
function tintOf(mask: Uint8Array, width: number, color: Layer['color']): OffscreenCanvas {
  const known = tints.get(mask) ?? new Map<string, OffscreenCanvas>();
  tints.set(mask, known);
  const key = color.join();
  const there = known.get(key);
  if (there) return there;
  const height = mask.length / width;
  const pixels = new ImageData(width, height);
  const [r, g, b] = color;
  for (let i = 0; i < mask.length; i++) {
    if (!mask[i]) continue;
    const x = i % width;
    const border =
      x === 0 || x === width - 1 || !mask[i - 1] || !mask[i + 1] || !mask[i - width] || !mask[i + width] ? 255 : 115;
    pixels.data.set([r, g, b, border], 4 * i);
  }
  const tint = new OffscreenCanvas(width, height);
  tint.getContext('2d')!.putImageData(pixels, 0, 0);
  known.set(key, tint);
  return tint;
}

/** Draws a picture with masks. */
export function paint(canvas: HTMLCanvasElement, picture: Picture, layers: readonly Layer[]): CanvasRenderingContext2D {
  const { width, height, bitmap } = picture;
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  const context = canvas.getContext('2d')!;
  context.drawImage(bitmap, 0, 0);
  for (const { mask, color, from = 0, to = width } of layers) {
    if (to > from)
      context.drawImage(tintOf(mask, width, color), from, 0, to - from, height, from, 0, to - from, height);
  }
  return context;
}

/** Makes a canvas a stage: clicks are points, drags are boxes, and keys do both. */
export function createStage(canvas: HTMLCanvasElement, name: string, events: StageEvents): Stage {
  canvas.setAttribute('role', 'application');
  canvas.setAttribute('aria-label', `${name}: arrows move the cross, Enter is a point inside, N one outside, B a box`);
  let drawn: Parameters<Stage['draw']> = [undefined, []];
  let pressed: { at: [number, number]; now: [number, number]; label: 0 | 1 } | undefined;
  let cross: [number, number] | undefined;
  let corner: [number, number] | undefined;

  /** Pixels of the picture in one of the page. */
  const unitNow = () => Math.max(1, canvas.width / Math.max(1, canvas.clientWidth));

  const stage: Stage = {
    draw(picture, layers, prompts) {
      drawn = [picture, layers, prompts];
      canvas.hidden = !picture;
      if (!picture) return;
      const context = paint(canvas, picture, layers);
      const unit = unitNow();
      context.lineWidth = 2 * unit;
      prompts?.points.forEach(([x, y], i) => {
        mark(context, { x, y, unit, inside: prompts.labels[i] === 1 });
      });
      const dragged = pressed && isDrag(pressed, unit) ? boxOf(pressed.at, pressed.now) : undefined;
      const started = corner && cross ? boxOf(corner, cross) : undefined;
      for (const box of [prompts?.box, dragged, started]) {
        if (!box) continue;
        const [x0, y0, x1, y1] = box;
        twice(context, () => context.strokeRect(x0, y0, x1 - x0, y1 - y0));
      }
      if (cross) crosshair(context, cross, unit);
    },
  };
  const redraw = () => stage.draw(...drawn);

  canvas.addEventListener('pointerdown', (event) => {
    if (!drawn[0] || event.button === 1) return;
    event.preventDefault();
    canvas.focus();
    canvas.setPointerCapture(event.pointerId);
    const at = place(canvas, event);
    const other = event.button === 2 || event.shiftKey || event.altKey;
    pressed = { at, now: at, label: other ? 0 : events.label() };
    cross = undefined;
  });
  canvas.addEventListener('pointermove', (event) => {
    if (!drawn[0]) return;
    const at = place(canvas, event);
    if (pressed) {
      pressed.now = at;
      redraw();
    } else events.hover?.(at);
  });
  canvas.addEventListener('pointerup', (event) => {
    if (!pressed) return;
    const { at, label } = pressed;
    pressed.now = place(canvas, event);
    const drag = isDrag(pressed, unitNow());
    const box = boxOf(at, pressed.now);
    pressed = undefined;
    if (drag) events.box(box);
    else events.point(at, label);
  });
  canvas.addEventListener('pointercancel', () => {
    pressed = undefined;
    redraw();
  });
  canvas.addEventListener('pointerleave', () => events.hover?.(undefined));
  canvas.addEventListener('contextmenu', (event) => event.preventDefault());
  canvas.addEventListener('blur', () => {
    cross = undefined;
    corner = undefined;
    redraw();
  });
  canvas.addEventListener('keydown', (event) => {
    if (!drawn[0] || event.ctrlKey || event.metaKey) return;
    const step = event.shiftKey ? 1 : Math.max(1, Math.round(canvas.width / 48));
    const at: [number, number] = cross ?? [Math.round(canvas.width / 2), Math.round(canvas.height / 2)];
    const moves: Partial<Record<string, [number, number]>> = {
      ArrowLeft: [-step, 0],
      ArrowRight: [step, 0],
      ArrowUp: [0, -step],
      ArrowDown: [0, step],
    };
    const move = moves[event.key];
    if (move) cross = [clamp(at[0] + move[0], canvas.width), clamp(at[1] + move[1], canvas.height)];
    else if (event.key === 'Enter' || event.key === ' ') events.point(at, 1);
    else if (event.key === 'n' || event.key === 'N') events.point(at, 0);
    else if (event.key === 'b' || event.key === 'B') {
      if (corner) events.box(boxOf(corner, at));
      corner = corner ? undefined : at;
    } else if (event.key === 'Backspace' || event.key === 'Delete') events.undo();
    else if (event.key === 'Escape') {
      cross = undefined;
      corner = undefined;
      events.clear();
    } else return;
    event.preventDefault();
    redraw();
  });
  return stage;
}

const clamp = (value: number, size: number): number => Math.min(size - 1, Math.max(0, Math.round(value)));

/** A pointer's place in the picture, which lies in the middle of its canvas. */
function place(canvas: HTMLCanvasElement, { clientX, clientY }: PointerEvent): [number, number] {
  const rect = canvas.getBoundingClientRect();
  const scale = Math.min(rect.width / canvas.width, rect.height / canvas.height);
  const x = (clientX - rect.left - (rect.width - canvas.width * scale) / 2) / scale;
  const y = (clientY - rect.top - (rect.height - canvas.height * scale) / 2) / scale;
  return [clamp(x, canvas.width), clamp(y, canvas.height)];
}

const isDrag = ({ at, now }: { at: [number, number]; now: [number, number] }, unit: number): boolean =>
  Math.abs(at[0] - now[0]) > 6 * unit && Math.abs(at[1] - now[1]) > 6 * unit;

function boxOf(a: readonly [number, number], b: readonly [number, number]): [number, number, number, number] {
  return [Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.max(a[0], b[0]), Math.max(a[1], b[1])];
}

/** Black around white is seen on any picture. */
function twice(context: CanvasRenderingContext2D, stroke: () => void): void {
  const width = context.lineWidth;
  context.lineWidth = 2 * width;
  context.strokeStyle = '#000';
  stroke();
  context.lineWidth = width;
  context.strokeStyle = '#fff';
  stroke();
}

function mark(
  context: CanvasRenderingContext2D,
  { x, y, unit, inside }: { x: number; y: number; unit: number; inside: boolean },
): void {
  context.beginPath();
  context.arc(x, y, 7 * unit, 0, 2 * Math.PI);
  context.fillStyle = inside ? '#0a7d28' : '#c01818';
  context.fill();
  twice(context, () => context.stroke());
  context.beginPath();
  context.moveTo(x - 3 * unit, y);
  context.lineTo(x + 3 * unit, y);
  if (inside) {
    context.moveTo(x, y - 3 * unit);
    context.lineTo(x, y + 3 * unit);
  }
  context.strokeStyle = '#fff';
  context.stroke();
}

function crosshair(context: CanvasRenderingContext2D, [x, y]: [number, number], unit: number): void {
  const reach = 14 * unit;
  twice(context, () => {
    context.beginPath();
    context.moveTo(x - reach, y);
    context.lineTo(x + reach, y);
    context.moveTo(x, y - reach);
    context.lineTo(x, y + reach);
    context.stroke();
  });
}
