// The wall: tiles as large as the window allows, arrow keys that move between whatever can be pressed, full screen,
// and a pointer and a top line that go away when nobody touches anything.

const wall = document.getElementById('wall');

// fit finds the number of columns that makes 16:9 tiles widest.
function fit() {
  const n = wall.childElementCount;
  if (!n) return;
  const css = getComputedStyle(wall);
  const gap = parseFloat(css.columnGap) || 0;
  const w = wall.clientWidth - parseFloat(css.paddingLeft) - parseFloat(css.paddingRight);
  const h = wall.clientHeight - parseFloat(css.paddingTop) - parseFloat(css.paddingBottom);
  let cols = 1, wide = 0;
  for (let c = 1; c <= n; c++) {
    const rows = Math.ceil(n / c);
    const one = Math.min((w - gap * (c - 1)) / c, (((h - gap * (rows - 1)) / rows) * 16) / 9);
    if (one > wide) { wide = one; cols = c; }
  }
  // Below thumb size the wall scrolls instead.
  const least = Math.min(w, 150);
  if (wide < least) { wide = Math.max(least, (w - gap) / 2); cols = Math.max(1, Math.floor((w + gap) / (wide + gap))); }
  wall.style.setProperty('--cols', cols);
  wall.style.setProperty('--wide', `${Math.floor(wide)}px`);
}

// big makes one tile fill the screen, or gives the wall back.
export async function big(root) {
  const solo = wall.querySelector('.solo');
  if (document.fullscreenElement === root) return document.exitFullscreen();
  if (solo) return solo.classList.remove('solo');
  try {
    await root.requestFullscreen({ navigationUI: 'hide' });
  } catch {
    root.classList.add('solo'); // phones without full screen for elements
  }
}

export function whole() {
  if (document.fullscreenElement) document.exitFullscreen();
  else document.documentElement.requestFullscreen?.({ navigationUI: 'hide' }).catch(() => {});
}

const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

// step moves the focus to the nearest thing in one direction, the way a remote control expects.
function step([dx, dy]) {
  const inside = document.fullscreenElement || document;
  const all = [...inside.querySelectorAll('.tile, button')].filter((e) => e.offsetParent !== null || e.getClientRects().length);
  const from = document.activeElement && document.activeElement !== document.body ? document.activeElement : null;
  if (!from) { (all.find((e) => e.classList.contains('tile')) || all[0])?.focus(); return true; }
  const mid = (e) => { const r = e.getBoundingClientRect(); return [r.left + r.width / 2, r.top + r.height / 2]; };
  const [x, y] = mid(from);
  let best = null, least = Infinity;
  for (const e of all) {
    if (e === from) continue;
    const [ex, ey] = mid(e);
    const along = (ex - x) * dx + (ey - y) * dy;
    const aside = Math.abs((ex - x) * dy) + Math.abs((ey - y) * dx);
    if (along < 4) continue;
    const cost = along + 2 * aside;
    if (cost < least) { least = cost; best = e; }
  }
  best?.focus();
  return !!best;
}

export function keys({ sound, more }) {
  document.addEventListener('keydown', (e) => {
    if (e.ctrlKey || e.altKey || e.metaKey) return;
    const at = document.activeElement?.closest?.('.tile');
    if (ways[e.key]) { if (step(ways[e.key])) e.preventDefault(); }
    else if (e.key === 'Enter' && at && document.activeElement === at) { e.preventDefault(); big(at); }
    else if (e.key === 'Escape') wall.querySelector('.solo')?.classList.remove('solo');
    else if (e.key === 'm') sound();
    else if (e.key === 'f') whole();
    else if (e.key === 'i') more(at || wall.firstElementChild);
  });
}

export function start() {
  new ResizeObserver(fit).observe(wall);
  new MutationObserver(fit).observe(wall, { childList: true });
  let t;
  const touched = () => {
    document.documentElement.classList.remove('idle');
    clearTimeout(t);
    t = setTimeout(() => document.documentElement.classList.add('idle'), 3500);
  };
  for (const e of ['pointermove', 'pointerdown', 'keydown', 'focusin']) addEventListener(e, touched, { passive: true });
  touched();
}
