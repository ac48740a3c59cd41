// states.mjs --url URL --seconds N [--until live] [--user U] [--first S] [--screenshot-at S --screenshot FILE]
//
// Opens the viewer page and writes down for N seconds how it stands: each change of a tile's state and words and of the
// page's own connection, and each gap of more than 0.5 s between two shown frames of user, all in Unix milliseconds, so
// that a caller that kills and starts things meanwhile can say how long each took. Prints "open" on stderr when the
// first frame is there (or at once with --first 0). With --until STATE it ends earlier, when the tile has been in
// another state and is back in this one. The page's own content policy is in force.

import { args, firstFrame, run, viewer } from './lib.mjs';

const o = args({ url: '', seconds: '10', until: '', user: '', first: '20', 'screenshot-at': '', screenshot: '' });

run(async (launch) => {
  const browser = await launch();
  const { page, faults } = await viewer(browser, o.url);
  if (Number(o.first) > 0) await firstFrame(page, o.user, o.first * 1000);
  await page.evaluate((user) => {
    const unix = (t) => Math.round(performance.timeOrigin + t);
    const log = (window.log = { tiles: [], link: [], frames: 0, gaps: [], last: 0 });
    const seen = new Map();
    let link = '', video = null, stream = null;
    const frame = (now) => {
      if (log.last && now - log.last > 500) log.gaps.push({ from: unix(log.last), to: unix(now) });
      log.last = now;
      log.frames++;
      video?.requestVideoFrameCallback(frame);
    };
    const look = () => {
      const t = unix(performance.now());
      if (window.anchord.link !== link) log.link.push({ t, link: (link = window.anchord.link) });
      const peers = window.anchord.peers;
      for (const [u, p] of peers) {
        if ((!user || u === user) && p.video !== video) { video = p.video; video.requestVideoFrameCallback(frame); }
        if (seen.get(u) === p.state) continue;
        seen.set(u, p.state);
        log.tiles.push({ t, user: u, state: p.state, words: p.video.parentElement.querySelector('.words:not([hidden]) p')?.textContent || '' });
      }
      for (const u of seen.keys()) if (!peers.has(u)) { seen.delete(u); log.tiles.push({ t, user: u, state: 'gone', words: '' }); }
    };
    look();
    setInterval(look, 25);
  }, o.user);
  process.stderr.write('open\n');
  const end = Date.now() + o.seconds * 1000, shot = o.screenshot ? Date.now() + o['screenshot-at'] * 1000 : 0;
  let shown = false;
  while (Date.now() < end) {
    await page.waitForTimeout(100);
    if (shot && !shown && Date.now() >= shot) { shown = true; await page.screenshot({ path: o.screenshot }); }
    if (o.until && (await page.evaluate((s) => { const l = window.log.tiles; return l.some((x) => x.state !== s) && l[l.length - 1].state === s; }, o.until))) break;
  }
  const log = await page.evaluate(() => ({ ...window.log, last: undefined, quietMs: Math.round(performance.now() - window.log.last) }));
  return { ok: faults.length === 0, ...log, faults };
});
