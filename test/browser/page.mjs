// page.mjs --url URL --state live|lost|empty|… [--out DIR] [--name NAME] [--timeout S] [--lang zh-CN] [--light]
//
// Waits until the viewer page shows the state (any tile's state as in window.anchord, "empty", or "page:" and what the
// page shows instead of pictures: wait, empty, closed, refused, bad, old), with the page's
// own content policy in force, and takes three screenshots of it: a desktop's, a phone's and a television's. Fails
// when the page logged an error, broke its policy, spoke to another server, or does not fit the window.

import { args, run, viewer } from './lib.mjs';

const o = args({ url: '', state: 'live', out: '', name: '', timeout: '20', lang: 'en-US', light: false });
const sizes = [['desktop', 1280, 800], ['phone', 390, 844], ['tv', 1920, 1080]];

run(async (launch) => {
  const browser = await launch();
  const shots = [];
  for (const [size, width, height] of sizes) {
    const { page, context, faults } = await viewer(browser, o.url, { width, height, lang: o.lang, dark: !o.light, phone: size === 'phone' });
    await page.waitForFunction((s) => {
      if (s === 'empty' || s.startsWith('page:')) return document.documentElement.dataset.empty === s.replace('page:', '');
      return [...(window.anchord?.peers.values() || [])].some((p) => p.state === s && (s !== 'live' || p.video.readyState >= 2));
    }, o.state, { timeout: o.timeout * 1000, polling: 50 });
    await page.waitForTimeout(o.out ? 1200 : 200); // transitions, and a few frames
    const seen = await page.evaluate(() => ({
      wide: document.documentElement.scrollWidth > innerWidth,
      words: [...document.querySelectorAll('.words:not([hidden]) p, #empty:not([hidden]) h2')].map((e) => e.textContent),
      labels: [...document.querySelectorAll('.tile')].map((e) => e.getAttribute('aria-label')),
      unnamed: [...document.querySelectorAll('button')].filter((b) => b.getClientRects().length && !(b.getAttribute('aria-label') || b.textContent.trim())).length,
      small: [...document.querySelectorAll('button')].filter((b) => { const r = b.getBoundingClientRect(); return r.width && (r.width < 40 || r.height < 40); }).length,
      lang: document.documentElement.lang,
    }));
    if (seen.wide) faults.push('the page is wider than its window');
    if (seen.unnamed) faults.push('a button has no name');
    if (seen.small) faults.push('a button is too small for a thumb');
    const file = o.out && `${o.out}/${o.name || o.state}-${size}.png`;
    if (file) await page.screenshot({ path: file });
    shots.push({ size, file, ...seen, faults });
    await context.close();
  }
  return { ok: shots.every((s) => s.faults.length === 0), shots };
});
