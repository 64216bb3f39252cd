import * as Comlink from 'comlink';
import { askFile, modelChoice, onFiles } from './choose.ts';
import { button, byId, canvas, html, input, save, select } from './dom.ts';
import { isLost, type Session } from './engine.ts';
import { hush, tell } from './explain.ts';
import { type LossPoint, plot } from './plot.ts';
import { colors, paint } from './stage.ts';
import type { Source, Told } from './worker/compressor.ts';
import type { ModelFacts } from './worker/models.ts';
import type { Kept, Settings } from './worker/storage.ts';

/** Compresses a model on the user's photographs. */
export function setUpCompress(session: Session): void {
  const chosen = modelChoice(session, 'compress-model', (names) => names.indexOf('teacher'));
  const status = html('run-status');
  const form = byId('compress-form', HTMLFormElement);
  let source: Source | undefined;
  let slim: ModelFacts | undefined;
  let view = createRunView();
  let state: 'idle' | 'running' | 'pausing' | 'paused' = 'idle';

  const choose = (next: Source, text: string) => {
    source = next;
    html('photographs').textContent = text;
  };
  const chooseFiles = (files: readonly File[]) => {
    const pictures = files.filter(
      ({ name, type }) => type.startsWith('image/') || /\.(heic|avif|tiff?|bmp)$/i.test(name),
    );
    if (pictures.length === 0 && files.length === 0) return;
    if (pictures.length === 0)
      tell(new Error('photographs: expected pictures, got none among these files; take JPEG or PNG files'));
    else choose({ files: pictures }, `${pictures.length} photographs`);
  };
  button('choose-photographs').addEventListener('click', async () => chooseFiles(await askFile('photograph-files')));
  button('choose-folder').addEventListener('click', async () => chooseFiles(await askFile('photograph-folder')));
  button('use-scenes').addEventListener('click', () => {
    if (!input('scenes').reportValidity()) return;
    const scenes = input('scenes').valueAsNumber;
    choose({ scenes }, `${scenes} drawn scenes`);
  });
  onFiles((files) => location.hash === '#compress' && chooseFiles(files));
  input('ratio').addEventListener('input', () => {
    html('ratio-text').textContent = `${Math.round(input('ratio').valueAsNumber * 100)} %`;
  });

  const update = async () => {
    const idle = state === 'idle';
    if (!session.models.some(({ id }) => id === slim?.id)) slim = undefined; // gone with a lost device; it is kept
    const kept = idle ? await session.engine.kept().catch(() => undefined) : undefined;
    for (const element of form.querySelectorAll<HTMLFieldSetElement | HTMLSelectElement | HTMLInputElement>(
      'fieldset, select, input',
    ))
      element.disabled = !idle;
    button('start').hidden = !idle;
    button('pause').hidden = button('stop').hidden = idle;
    button('pause').textContent = state === 'running' ? 'Pause' : state === 'paused' ? 'Go on' : 'Pausing';
    button('pause').disabled = state === 'pausing';
    button('go-on').hidden = button('discard').hidden = !kept || slim !== undefined;
    if (kept) {
      const run = `${kept.settings.model}, ${Math.round(kept.settings.ratio * 100)} %`;
      button('go-on').textContent = kept.done ? `Open the slim model that is kept (${run})` : `Go on with ${run}`;
    }
    html('done').hidden = !slim;
  };

  /** Shows a run until its end; after a lost device it can go on from what was saved. */
  async function follow(begin: (told: (what: Told) => void) => Promise<ModelFacts | undefined>): Promise<void> {
    hush();
    slim = undefined;
    view = createRunView();
    state = 'running';
    html('run').hidden = false;
    html('before-run').hidden = true;
    html('run-status').textContent = 'Starting.';
    await update();
    const sleep = keepAwake();
    try {
      slim = await begin(
        Comlink.proxy((what: Told) => {
          if (what.type === 'paused') {
            state = 'paused';
            status.textContent = 'Paused; what was done is saved.';
            void update();
          } else view.show(what);
        }),
      );
      status.textContent = slim
        ? `Done: ${(slim.parameters / 1e6).toFixed(2)} M parameters, ${(slim.bytes / 1e6).toFixed(1)} MB.`
        : 'Stopped; what was saved stays.';
      if (slim) session.add(slim);
    } catch (error) {
      tell(error);
      status.textContent = 'Broken off; what was saved stays.';
      if (isLost(error)) await session.restart().catch(tell);
    } finally {
      state = 'idle';
      sleep();
      await update();
    }
  }

  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    if (!source) {
      tell(new Error('photographs: expected some to compress on, got none; choose files, a folder, or draw scenes'));
      return;
    }
    const from = source;
    const settings: Settings = {
      model: session.models.find(({ id }) => id === chosen())?.name ?? '',
      ratio: input('ratio').valueAsNumber,
      epochs: input('epochs').valueAsNumber,
      batch: input('batch').valueAsNumber,
      learningRate: input('rate').valueAsNumber,
      sample: input('sample').valueAsNumber,
      seed: input('seed').valueAsNumber,
    };
    const kept = await session.engine.kept().catch(() => undefined);
    if (kept && !(await agreeToReplace(kept))) return;
    void follow((told) => session.engine.compress(chosen(), from, settings, told));
  });
  button('go-on').addEventListener('click', () => void follow((told) => session.engine.goOn(told)));
  button('discard').addEventListener('click', () => void session.engine.discard().then(update, tell));
  button('pause').addEventListener('click', async () => {
    const pausing = state === 'running';
    state = pausing ? 'pausing' : 'running';
    if (pausing) status.textContent = 'Pausing after this step.';
    await (pausing ? session.engine.pause() : session.engine.proceed());
    await update();
  });
  button('stop').addEventListener('click', async () => {
    await session.engine.stop();
    await session.engine.proceed();
  });
  for (const element of document.querySelectorAll<HTMLButtonElement>('[data-files]')) {
    element.addEventListener('click', () => {
      const kind = element.dataset.files === 'onnx' ? 'onnx' : 'safetensors';
      session.engine.files(kind).then((files) => {
        for (const file of files) save(file, file.name);
      }, tell);
    });
  }
  button('open-slim').addEventListener('click', () => {
    const box = select('segment-model');
    box.value = slim!.id;
    box.dispatchEvent(new Event('change'));
    location.hash = '#segment';
  });
  session.onChange((what) => what === 'models' && void update());
  void update();
}

/** Asks before what is kept is lost. */
function agreeToReplace({ settings, done }: Kept): Promise<boolean> {
  const dialog = byId('replace', HTMLDialogElement);
  const what = done ? 'The slim model' : 'A run that is not done';
  html('replace-what').textContent =
    `${what} of ${settings.model} at ${Math.round(settings.ratio * 100)} % is kept in this browser. Starting another run removes it.`;
  dialog.returnValue = '';
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.onclose = () => resolve(dialog.returnValue === 'replace');
  });
}

/** The screen stays on, also after the tab was hidden for a while. @returns what lets it sleep again */
function keepAwake(): () => void {
  let lock: Promise<WakeLockSentinel | undefined> | undefined;
  const ask = () => {
    if (document.visibilityState === 'visible') lock = navigator.wakeLock?.request('screen').catch(() => undefined);
  };
  document.addEventListener('visibilitychange', ask);
  ask();
  return () => {
    document.removeEventListener('visibilitychange', ask);
    void lock?.then((held) => held?.release()); // one that is still asked for, too
  };
}

/** The phases, the curve and the masks of one run. */
function createRunView(): { show(told: Told): void } {
  const status = html('run-status');
  const phases = html('phases');
  const losses: LossPoint[] = [];
  const errors: LossPoint[] = [];
  const bars = new Map<number, HTMLProgressElement>();
  const totals = new Map<number, number>();
  let drawn = false;
  phases.replaceChildren();
  html('skipped').replaceChildren();
  for (const when of ['before', 'pruned', 'now']) canvas(`preview-${when}`).closest('figure')!.hidden = true;

  const before = (index: number) => [...totals].reduce((sum, [i, steps]) => sum + (i < index ? steps : 0), 0);
  const draw = () => {
    if (drawn) return;
    drawn = true;
    requestAnimationFrame(() => {
      drawn = false;
      const [loss, error] = [losses.at(-1)?.loss.toPrecision(3) ?? '–', errors.at(-1)?.loss.toFixed(3) ?? '–'];
      html('curve-text').textContent =
        `Line: loss (log), now ${loss}. Dots: relative error of the features of held-back photographs (log), now ${error}.`;
      plot(byId('curve', SVGSVGElement), { losses, errors, total: Math.max(1, before(Number.POSITIVE_INFINITY)) });
    });
  };
  const advance = (index: number, done: number, total: number) => {
    const bar = bars.get(index);
    if (bar) [bar.max, bar.value] = [Math.max(1, total), total === 0 ? 1 : done];
  };
  const minutes = (seconds: number) =>
    seconds < 90 ? `${Math.ceil(seconds)} s` : `${Math.ceil(seconds / 60)} minutes`;

  return {
    show(told) {
      if (told.type === 'importing')
        status.textContent = `Keeping photograph ${told.done} of ${told.total} in this browser.`;
      else if (told.type === 'steps') {
        phases.replaceChildren(
          ...told.names.map((name, i) => {
            const item = document.createElement('li');
            const bar = document.createElement('progress');
            bar.value = 0;
            bar.setAttribute('aria-label', name);
            bars.set(i, bar);
            item.append(name, bar);
            return item;
          }),
        );
      } else if (told.type === 'preview') {
        const at = canvas(`preview-${told.when}`);
        at.closest('figure')!.hidden = false;
        const { bitmap } = told;
        const picture = { bitmap, width: bitmap.width, height: bitmap.height };
        paint(
          at,
          picture,
          told.masks.map((mask, i) => ({ mask, color: colors[i]! })),
        );
        at.setAttribute('role', 'img');
        at.setAttribute('aria-label', `${told.masks.length} masks of a photograph, ${told.when}`);
        bitmap.close();
      } else if (told.type === 'event') {
        const { event } = told;
        if (event.type === 'phase') {
          if (event.kind === 'align') totals.set(event.index, event.total);
          advance(event.index, event.done, event.total);
          for (const [index, bar] of bars) if (index < event.index) bar.value = bar.max;
        } else if (event.type === 'scored') {
          advance(event.index, event.done, event.total);
          status.textContent = `Scoring photograph ${event.done} of ${event.total}.`;
        } else if (event.type === 'pruned') {
          advance(event.index, 1, 1);
          status.textContent = `Pruned: ${(event.parameters / 1e6).toFixed(2)} M encoder parameters are left.`;
        } else if (event.type === 'step') {
          totals.set(event.index, event.steps);
          advance(event.index, event.step, event.steps);
          losses.push({ step: before(event.index) + event.step, loss: event.loss });
          const left = minutes(event.seconds * (event.steps - event.step));
          status.textContent = `${event.name}: step ${event.step} of ${event.steps}, loss ${event.loss.toPrecision(3)}, about ${left} left.`;
          draw();
        } else if (event.type === 'validation') {
          errors.push({ step: before(event.index) + event.step, loss: event.relative });
          draw();
        } else if (event.type === 'skipped') {
          const item = document.createElement('li');
          item.textContent = `${event.name} is left out: ${event.reason}`;
          html('skipped').append(item);
        }
      }
    },
  };
}
