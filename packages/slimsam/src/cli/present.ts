import { checkFields } from '@slimsam/weights';
import type { CompressEvent, Compressed, PrunedEvent } from '../compress/events.ts';
import type { Model } from '../models/network.ts';
import type { Bar, Output } from './output.ts';

function targetText({ target }: PrunedEvent): string {
  if (!target) return '';
  const { name, got, atMost } = target;
  return `, ${got.toLocaleString('en')} of at most ${atMost.toLocaleString('en')} ${name}`;
}

/**
 * Shows the events of a run, as bars on a terminal and as lines elsewhere, or each as a line of JSON; all on stderr.
 *
 * @returns its result, and the seconds of each of its steps
 */
export async function present<M extends Model>(
  session: Output,
  stages: AsyncGenerator<CompressEvent, Compressed<M>, undefined>,
): Promise<{ result: Compressed<M>; seconds: Record<string, number> }> {
  checkFields('present', { session }, { session: 'object' });
  checkFields('present', stages, { next: 'function' });
  const seconds: Record<string, number> = {};
  let bar: Bar | undefined;
  let began = performance.now();
  let running = '';
  let skipped = 0;
  let steps: number[] = [];
  const end = () => {
    bar?.stop();
    if (running) {
      seconds[running] = Number(((performance.now() - began) / 1000).toFixed(1));
      const mean = steps.reduce((sum, own) => sum + own, 0) / steps.length;
      session.note(`${running}: ${seconds[running]} s${steps.length > 0 ? `, ${mean.toPrecision(3)} s a step` : ''}`);
    }
    bar = undefined;
    running = '';
    steps = [];
  };
  try {
    for (let next = await stages.next(); ; next = await stages.next()) {
      if (next.done) {
        end();
        return { result: next.value, seconds };
      }
      const event = next.value;
      if (session.json) {
        if (event.type !== 'done' && event.type !== 'scored') session.note(JSON.stringify(event));
        continue;
      }
      if (event.type === 'phase') {
        end();
        [running, began] = [event.name, performance.now()];
        if (event.done > 0) session.note(`${event.name}: going on after step ${event.done} of ${event.total}`);
        bar = session.bar(event.name, event.total);
        bar.update(event.done);
      } else if (event.type === 'scored') bar?.update(event.done);
      else if (event.type === 'step') {
        steps.push(event.seconds);
        bar?.update(event.step, `loss ${event.loss.toPrecision(3)}`);
      } else if (event.type === 'pruned') {
        session.note(
          `${event.name}: ${event.parameters.toLocaleString('en')} encoder parameters, ${(event.macs / 1e9).toPrecision(4)} G MACs${targetText(event)}`,
        );
      } else if (event.type === 'validation') {
        const agreed = event.agreement === undefined ? '' : `, agreement ${event.agreement.toFixed(4)}`;
        const measured = event.measure === undefined ? '' : `, measured ${event.measure.toFixed(4)}`;
        session.note(
          `${event.name}: epoch ${event.epoch}, error ${event.error.toPrecision(4)} (relative ${event.relative.toFixed(4)}, cosine ${event.cosine.toFixed(4)})${agreed}${measured}${event.best ? ', best' : ''}`,
        );
      } else if (event.type === 'skipped') session.warn(`skipped ${++skipped}: ${event.name} (${event.reason})`);
    }
  } finally {
    bar?.stop();
  }
}
