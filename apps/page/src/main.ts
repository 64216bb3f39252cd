import { setUpPictures } from './choose.ts';
import { setUpCompare } from './compare.ts';
import { setUpCompress } from './compress.ts';
import { button, html } from './dom.ts';
import { createSession } from './engine.ts';
import { setUpMessage, tell } from './explain.ts';
import { setUpSegment } from './segment.ts';

const views = ['segment', 'compress', 'compare'];

function showView(): void {
  const wanted = location.hash.slice(1);
  const view = views.includes(wanted) ? wanted : 'segment';
  for (const name of views) {
    html(`view-${name}`).hidden = name !== view;
    const link = document.querySelector(`nav a[href="#${name}"]`)!;
    if (name === view) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
}

const themes = ['system', 'light', 'dark'] as const;
let theme = Math.max(0, (themes as readonly (string | null)[]).indexOf(localStorage.getItem('theme')));

function showTheme(): void {
  const name = themes[theme]!;
  if (name === 'system') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  button('theme').setAttribute('aria-label', `Theme: ${name === 'system' ? 'as the system' : name}`);
  button('theme').textContent = { system: '◐', light: '☀', dark: '☾' }[name];
}

button('theme').addEventListener('click', () => {
  theme = (theme + 1) % themes.length;
  localStorage.setItem('theme', themes[theme]!);
  showTheme();
});
addEventListener('hashchange', showView);

showTheme();
showView();
setUpMessage();
const session = createSession((text) => {
  html('adapter').textContent = text;
});
setUpSegment(session);
setUpCompress(session);
setUpCompare(session);
setUpPictures(session, (text) => {
  if (text) html('segment-status').textContent = text;
});
session.open().catch((error: unknown) => {
  html('adapter').textContent = 'no WebGPU';
  tell(error);
});
