import { byId, input, select } from './dom.ts';
import { attempt, type Session } from './engine.ts';
import { hush, tell } from './explain.ts';
import { checkPixels } from './worker/most-pixels.ts';

/** Fills a choice of models, with a file and the Hub at its end. @returns the id of the chosen model */
export function modelChoice(
  session: Session,
  id: string,
  preferred: (names: readonly string[]) => number,
): () => string {
  const box = select(id);
  let chosen = '';
  let own = false; // chosen by the user: models that come later leave it
  const fill = () => {
    const ids = session.models.map(({ id }) => id);
    if (!own || !ids.includes(chosen))
      chosen = ids[Math.max(0, preferred(session.models.map(({ name }) => name)))] ?? '';
    const others = servedModels.filter(({ name }) => session.models.every((model) => model.name !== name));
    box.replaceChildren(
      ...session.models.map(({ id, name }) => new Option(name, id, false, id === chosen)),
      ...others.map(({ name, bytes }) => new Option(`${name} (${Math.ceil(bytes / 1e6)} MB)`, `served ${name}`)),
      new Option('a file…', 'file'),
      new Option('of the Hub or an address…', 'place'),
    );
    box.disabled = session.models.length === 0;
  };
  session.onChange((what) => what === 'models' && fill());
  fill();
  box.addEventListener('change', async () => {
    const { value } = box;
    const isServed = value.startsWith('served ');
    if (value !== 'file' && value !== 'place' && !isServed) {
      chosen = value;
      own = true;
      box.dispatchEvent(new CustomEvent('chosen'));
      return;
    }
    box.value = chosen;
    const source = isServed
      ? { place: new URL(`${value.slice(7)}/`, document.baseURI).href }
      : value === 'file'
        ? await askFile('model-file').then(([file]) => file && { file })
        : await askPlace();
    if (!source) return;
    hush();
    box.disabled = true;
    await attempt(session, async () => {
      chosen = (await session.load(source)).id;
      own = true;
      fill();
      box.dispatchEvent(new CustomEvent('chosen'));
    });
    box.disabled = session.models.length === 0;
  });
  return () => chosen;
}

/** The files that the user picks; none when they think better of it. */
export function askFile(id: string): Promise<File[]> {
  const picker = input(id);
  picker.value = '';
  return new Promise((resolve) => {
    picker.onchange = () => resolve(Array.from(picker.files ?? []));
    picker.oncancel = () => resolve([]);
    picker.click();
  });
}

function askPlace(): Promise<{ place: string } | undefined> {
  const dialog = byId('place', HTMLDialogElement);
  dialog.returnValue = '';
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.onclose = () =>
      resolve(dialog.returnValue === 'open' ? { place: input('place-text').value.trim() } : undefined);
  });
}

/** Pictures dropped on the page, pasted, picked or drawn. */
export function setUpPictures(session: Session, busy: (text: string) => void): void {
  let scene = 0;
  const open = (file: File | undefined) => {
    if (!file) return;
    hush();
    busy('Opening the picture.');
    void attempt(session, async () => {
      await checkSize(file);
      await session.show({ blob: file });
    }).finally(() => busy(''));
  };
  for (const element of document.querySelectorAll<HTMLButtonElement>('[data-open]')) {
    element.addEventListener('click', async () => {
      if (element.dataset.open === 'scene') {
        hush();
        scene++;
        await attempt(session, () => session.show({ scene }));
      } else open((await askFile(element.dataset.open === 'camera' ? 'camera-file' : 'picture-file'))[0]);
    });
  }
  onFiles((files) => {
    if (location.hash !== '#compress') open(files[0]);
  });
  document.addEventListener('paste', (event) => {
    const [file] = event.clipboardData?.files ?? [];
    if (file && location.hash !== '#compress') open(file);
  });
}

/** Calls with files that are dropped on the page, those of folders too. */
export function onFiles(use: (files: File[]) => void): void {
  const mark = (on: boolean) => {
    for (const element of document.querySelectorAll('.stages, fieldset')) element.classList.toggle('dropping', on);
  };
  document.addEventListener('dragover', (event) => {
    event.preventDefault();
    mark(true);
  });
  document.addEventListener('dragleave', (event) => event.relatedTarget === null && mark(false));
  document.addEventListener('drop', (event) => {
    event.preventDefault();
    mark(false);
    const entries = Array.from(event.dataTransfer?.items ?? [], (item) => item.webkitGetAsEntry());
    const plain = Array.from(event.dataTransfer?.files ?? []);
    if (entries.some((entry) => entry?.isDirectory)) filesOf(entries).then(use, tell);
    else use(plain);
  });
}

async function filesOf(entries: readonly (FileSystemEntry | null)[]): Promise<File[]> {
  const found: File[] = [];
  for (const entry of entries) {
    if (entry?.isFile) {
      found.push(await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject)));
    } else if (entry?.isDirectory) {
      const reader = (entry as FileSystemDirectoryEntry).createReader();
      for (;;) {
        const some = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
        if (some.length === 0) break;
        found.push(...(await filesOf(some)));
      }
    }
  }
  return found;
}

/** Looks at a picture's size without decoding it. @throws when it is larger than a tab can hold */
async function checkSize(file: File): Promise<void> {
  const url = URL.createObjectURL(file);
  try {
    const image = new Image();
    image.src = url;
    await new Promise((resolve) => {
      image.onload = resolve;
      image.onerror = resolve; // the decoder in the worker says what is wrong
    });
    checkPixels({ width: image.naturalWidth, height: image.naturalHeight });
  } finally {
    URL.revokeObjectURL(url);
  }
}
