/** A point of the loss curve: optimizer steps from the start of the whole run on. */
export interface LossPoint {
  readonly step: number;
  readonly loss: number;
}

/** What the curve shows. */
export interface Curve {
  readonly losses: readonly LossPoint[];
  /** Relative error of the features on photographs that were held back. */
  readonly errors: readonly LossPoint[];
  /** Steps of the whole run, as far as known. */
  readonly total: number;
}

const [width, height, margin] = [600, 200, 24];

/** Draws losses and errors, both on logarithmic axes of their own. */
export function plot(svg: SVGSVGElement, { losses, errors, total }: Curve): void {
  const x = (step: number) => margin + ((width - 2 * margin) * step) / Math.max(1, total);
  const scale = (points: readonly LossPoint[]) => {
    const logs = points.map(({ loss }) => Math.log(Math.max(loss, 1e-12)));
    const [low, high] = [Math.min(...logs), Math.max(...logs)];
    return (loss: number) =>
      height - margin - ((height - 2 * margin) * (Math.log(Math.max(loss, 1e-12)) - low)) / Math.max(1e-6, high - low);
  };
  const y = scale(losses);
  const line = thinned(losses).map(
    ({ step, loss }, i) => `${i === 0 ? 'M' : 'L'}${x(step).toFixed(1)} ${y(loss).toFixed(1)}`,
  );
  const ey = scale(errors);
  const made = [
    element('path', { class: 'axes', d: `M${margin} ${margin / 2}V${height - margin}H${width - margin}` }),
    element('path', { class: 'loss', d: losses.length === 1 ? `${line.join('')}h0` : line.join('') }), // a dot of one
    ...errors.map(({ step, loss }) => element('circle', { class: 'error', cx: x(step), cy: ey(loss), r: 4 })),
  ];
  svg.replaceChildren(...made);
}

/** At most about a point for each pixel. */
function thinned(points: readonly LossPoint[]): readonly LossPoint[] {
  const every = Math.ceil(points.length / width);
  return points.filter((_, i) => i % every === 0 || i === points.length - 1);
}

function element(name: string, attributes: Readonly<Record<string, string | number>>): SVGElement {
  const made = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  return made;
}
