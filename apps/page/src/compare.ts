import { maskIou } from '@slimsam/eval';
import { modelChoice } from './choose.ts';
import { canvas, html, input, modelRow, select } from './dom.ts';
import { attempt, type Session } from './engine.ts';
import { colors, createStage, type Layer } from './stage.ts';
import type { Answer, Prompts } from './worker/segmenter.ts';

/** Two models on one picture: the left one's mask left of the divide, the right one's right of it. */
export function setUpCompare(session: Session): void {
  const sides = [
    modelChoice(session, 'left-model', (names) => names.indexOf('teacher')),
    modelChoice(session, 'right-model', (names) => names.indexOf('slim, 50 %')),
  ] as const;
  const status = html('compare-status');
  let prompts: Prompts = { points: [], labels: [] };
  let answers: Answer[] = [];
  let asked = 0;

  const stage = createStage(canvas('compare-stage'), 'Picture to compare on', {
    label: () => 1,
    point: (at, label) => ask({ ...prompts, points: [...prompts.points, at], labels: [...prompts.labels, label] }),
    box: (box) => ask({ ...prompts, box }),
    undo: () => ask({ ...prompts, points: prompts.points.slice(0, -1), labels: prompts.labels.slice(0, -1) }),
    clear: () => ask({ points: [], labels: [] }),
  });

  function draw(): void {
    const { picture } = session;
    canvas('compare-stage').parentElement!.querySelector<HTMLElement>('.drop')!.hidden = picture !== undefined;
    const divide = picture ? Math.round((picture.width * input('divide').valueAsNumber) / 100) : 0;
    const layers = answers.map(({ mask }, i): Layer => {
      const part = i === 0 ? { to: divide } : { from: divide };
      return { mask, color: colors[i]!, ...part };
    });
    stage.draw(picture, layers, prompts);
    if (picture) line(canvas('compare-stage'), divide);
    const [left, right] = answers;
    html('iou').textContent = left && right ? maskIou(left.mask, right.mask).toFixed(3) : '–';
    html('comparison').replaceChildren(
      ...sides.flatMap((side, i) => {
        const model = session.models.find(({ id }) => id === side());
        if (!model) return [];
        const answer = answers[i];
        const times = { encoded: session.times.get(model.id)?.encoded, answered: answer?.answered };
        return [modelRow(model, times, [answer?.score.toFixed(2) ?? '–'])];
      }),
    );
  }

  function ask(next: Prompts): void {
    prompts = next;
    const number = ++asked;
    if (!session.picture || (prompts.points.length === 0 && !prompts.box)) {
      answers = [];
      status.textContent = session.picture ? 'Click on an object, or drag a box.' : 'Open a picture.';
      draw();
      return;
    }
    status.textContent = 'Computing both masks.';
    draw();
    void attempt(session, async () => {
      const found: Answer[] = [];
      for (const side of sides) {
        const answer = await session.answer(side(), next);
        if (number !== asked) return;
        found.push(answer);
      }
      answers = found;
      status.textContent = 'Move the divide to see one mask or the other.';
      draw();
    });
  }

  input('divide').addEventListener('input', draw);
  for (const id of ['left-model', 'right-model']) select(id).addEventListener('chosen', () => ask(prompts));
  session.onChange((what) => {
    if (what === 'picture') ask({ points: [], labels: [] });
    else draw();
  });
  addEventListener('hashchange', draw);
  draw();
}

function line(at: HTMLCanvasElement, x: number): void {
  const context = at.getContext('2d')!;
  context.fillStyle = '#000';
  context.fillRect(x - 2, 0, 4, at.height);
  context.fillStyle = '#fff';
  context.fillRect(x - 1, 0, 2, at.height);
}
