import * as Comlink from 'comlink';
import { modelChoice } from './choose.ts';
import { button, byId, canvas, html, input, modelRow, save, select } from './dom.ts';
import { attempt, type Session } from './engine.ts';
import { colors, createStage, type Layer, type StageEvents } from './stage.ts';
import type { Answer, Found, Prompts } from './worker/segmenter.ts';

/** Segments the picture: points, boxes, everything. */
export function setUpSegment(session: Session): void {
  const chosen = modelChoice(session, 'segment-model', (names) => names.indexOf('slim, 50 %'));
  const both = input('both');
  const live = input('live');
  const status = html('segment-status');
  const progress = byId('segment-progress', HTMLProgressElement);

  /** One prompt after another, for undo. */
  let done: { at?: readonly [number, number]; label?: 0 | 1; box?: Prompts['box'] }[] = [];
  let answers = new Map<string, Answer>();
  let hovered: Answer | undefined;
  let everything: { found: Found[]; masks: Uint8Array[]; labels: Uint16Array } | undefined;
  /** Of everything's masks, the one that was clicked and the one under the pointer; -1 for none. */
  let selected = -1;
  let pointed = -1;
  let asked = 0;

  /** The model beside the chosen one: the page's own other one, or else the first other. */
  const otherId = (): string | undefined => {
    const others = session.models.filter(({ id }) => id !== chosen());
    return (others.find(({ name }) => name === 'teacher') ?? others[0])?.id;
  };
  const promptsNow = (): Prompts => ({
    points: done.flatMap(({ at }) => (at ? [at] : [])),
    labels: done.flatMap(({ label }) => (label === undefined ? [] : [label])),
    box: done.findLast(({ box }) => box)?.box,
  });
  const maskAt = (at: readonly [number, number] | undefined): number =>
    at && everything ? (everything.labels[at[1] * session.picture!.width + at[0]] ?? 0) - 1 : -1;
  const shown = (): number => (pointed >= 0 ? pointed : selected);
  const maskNow = (): Uint8Array | undefined => everything?.masks[shown()] ?? answers.get(chosen())?.mask;

  const events = (model: () => string | undefined): StageEvents => ({
    label: () => (input('label-inside').checked ? 1 : 0),
    point(at, label) {
      const index = maskAt(at);
      if (index >= 0) {
        selected = index;
        status.textContent = `Mask ${index + 1} of ${everything!.found.length} is chosen.`;
        draw();
      } else ask([...done, { at, label }]);
    },
    box: (box) => ask([...done.filter((prompt) => !prompt.box), { box }]),
    undo: () => ask(done.slice(0, -1)),
    clear,
    hover(at) {
      if (everything) {
        const index = maskAt(at);
        if (index !== pointed) {
          pointed = index;
          draw();
        }
      } else if (live.checked && done.length === 0) void preview(at, model());
    },
  });
  const stage = createStage(canvas('stage'), 'Picture', events(chosen));
  const otherStage = createStage(canvas('stage-other'), 'Picture, other model', events(otherId));

  function draw(): void {
    const { picture } = session;
    const prompts = promptsNow();
    const layersOf = (answer: Answer | undefined, color: Layer['color']): Layer[] =>
      answer ? [{ mask: answer.mask, color }] : [];
    const some = everything
      ? everything.masks.map((mask, i): Layer => ({ mask, color: colors[i % colors.length]! }))
      : layersOf(answers.get(chosen()) ?? hovered, colors[0]!);
    const chosenLayer = everything && shown() >= 0 ? [some[shown()]!] : undefined;
    stage.draw(picture, chosenLayer ?? some, prompts);
    const other = both.checked ? otherId() : undefined;
    canvas('stage-other').closest('figure')!.hidden = !other || !picture;
    if (other) otherStage.draw(picture, layersOf(answers.get(other), colors[1]!), prompts);
    html('stage-name').textContent = picture ? nameOf(chosen()) : '';
    html('stage-other-name').textContent = other ? nameOf(other) : '';
    html('stages').querySelector<HTMLElement>('.drop')!.hidden = picture !== undefined;
    for (const id of ['undo', 'clear']) button(id).disabled = done.length === 0 && !everything;
    button('everything').disabled = !picture;
    for (const element of document.querySelectorAll<HTMLButtonElement>('[data-save]')) element.disabled = !maskNow();
    html('facts').replaceChildren(...session.models.map((model) => modelRow(model, session.times.get(model.id) ?? {})));
  }
  const nameOf = (id: string) => session.models.find((model) => model.id === id)?.name ?? '';

  /** Asks both models where both are shown. */
  function ask(prompts: typeof done): void {
    if (!session.picture) return;
    everything = undefined;
    hovered = undefined;
    done = prompts;
    if (done.length === 0) {
      clear();
      return;
    }
    const number = ++asked;
    const now = promptsNow();
    draw();
    status.textContent = session.times.get(chosen())?.encoded ? 'Computing the mask.' : 'Encoding the picture.';
    progress.hidden = false;
    progress.removeAttribute('value');
    void attempt(session, async () => {
      const next = new Map<string, Answer>();
      for (const id of [chosen(), both.checked ? otherId() : undefined]) {
        if (id === undefined) continue;
        const found = await session.answer(id, now);
        if (number !== asked) return; // another prompt followed
        next.set(id, found);
        answers = new Map([...answers, ...next]);
        draw();
      }
      answers = next;
      const { score, answered, encoded } = next.get(chosen())!;
      const encoding = encoded > 0 ? `, encoding ${encoded.toFixed(0)} ms` : '';
      status.textContent = `Mask in ${answered.toFixed(0)} ms${encoding}; expected IoU ${score.toFixed(2)}.`;
      draw();
    }).finally(() => {
      if (number === asked) progress.hidden = true;
    });
  }

  function clear(): void {
    asked++;
    done = [];
    answers = new Map();
    everything = undefined;
    hovered = undefined;
    selected = pointed = -1;
    progress.hidden = true;
    status.textContent = session.picture ? 'Click on an object, or drag a box.' : 'Choose a picture.';
    draw();
  }

  let previewing = false;
  async function preview(at: readonly [number, number] | undefined, id: string | undefined): Promise<void> {
    if (!at || !id) {
      hovered = undefined;
      draw();
    }
    if (!at || !id || previewing) return;
    previewing = true;
    const number = asked;
    const found = await session.answer(id, { points: [at], labels: [1] }).catch(() => undefined);
    previewing = false;
    if (number !== asked || done.length > 0) return;
    hovered = found;
    draw();
  }

  button('undo').addEventListener('click', () => (everything ? clear() : ask(done.slice(0, -1))));
  button('clear').addEventListener('click', clear);
  both.addEventListener('change', () => (done.length > 0 ? ask(done) : draw()));
  select('segment-model').addEventListener('chosen', () => (done.length > 0 ? ask(done) : draw()));

  button('everything').addEventListener('click', () => {
    clear();
    const number = ++asked;
    const stop = button('stop-everything');
    stop.hidden = progress.hidden = false;
    progress.removeAttribute('value');
    status.textContent = 'Segmenting everything.';
    void attempt(session, async () => {
      try {
        const told = Comlink.proxy((count: number, total: number) => {
          progress.value = count / total;
        });
        const found = (await session.engine.everything(chosen(), told)).sort((a, b) => b.area - a.area);
        if (number !== asked) return;
        const masks = await Promise.all(found.map(({ rle }) => session.engine.mask(rle)));
        const labels = new Uint16Array(session.picture!.width * session.picture!.height);
        masks.forEach((mask, i) => {
          mask.forEach((inside, at) => {
            if (inside) labels[at] = i + 1; // smaller ones come later, and on top
          });
        });
        everything = { found, masks, labels };
        status.textContent = `${found.length} masks; point at one to see it alone, click to choose it.`;
      } catch (error) {
        if (!(error instanceof Error && error.message === 'stopped')) throw error;
        status.textContent = 'Stopped.';
      }
    }).finally(() => {
      stop.hidden = progress.hidden = true;
      draw();
    });
  });
  button('stop-everything').addEventListener('click', () => void session.engine.stopEverything());

  for (const element of document.querySelectorAll<HTMLButtonElement>('[data-save]')) {
    element.addEventListener('click', () =>
      attempt(session, async () => {
        const mask = maskNow();
        if (!mask) return;
        if (element.dataset.save === 'png') save(await session.engine.png(mask), 'mask.png');
        else if (element.dataset.save === 'rle')
          save(new Blob([JSON.stringify(await session.engine.rle(mask))], { type: 'application/json' }), 'mask.json');
        else save(await cutOut(session, mask), 'cut-out.png');
      }),
    );
  }

  session.onChange((what) => {
    if (what === 'picture') {
      live.checked = !session.isCpu;
      for (const times of session.times.values()) times.encoded = undefined;
      clear();
    } else draw();
  });
  draw();
}

/** The picture where the mask is, else transparent. */
async function cutOut({ picture }: Session, mask: Uint8Array): Promise<Blob> {
  const { width, height, bitmap } = picture!;
  const cut = new OffscreenCanvas(width, height);
  const context = cut.getContext('2d')!;
  context.drawImage(bitmap, 0, 0);
  const pixels = context.getImageData(0, 0, width, height);
  for (let i = 0; i < mask.length; i++) if (!mask[i]) pixels.data[4 * i + 3] = 0;
  context.putImageData(pixels, 0, 0);
  return cut.convertToBlob({ type: 'image/png' });
}
