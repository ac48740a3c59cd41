// The viewer page: everybody in one room, picture and sound.
//
// The room's event stream says who is there; watch.js keeps each one's media coming; this file joins the two and says
// in words how things stand. For programs that test a room, window.anchord is a read-only view:
//   anchord.peers  Map of user → {pc, video, state}: the RTCPeerConnection now in use (or null), its <video>, the tile's
//                  state ("opening", "live", "off", "lost", "stalled", "away", "refused")
//   anchord.link   the page's own connection: "connecting", "open", "lost", "offline", "refused", "bad"

import { language, words } from './words.js';
import { follow } from './follow.js';
import { watch } from './watch.js';
import { tile } from './tile.js';
import { big, keys, start, whole } from './wall.js';

const $ = (id) => document.getElementById(id);
const place = /^(.*)\/rooms\/([^/]+)\/?$/.exec(location.pathname) || ['', '', ''];
const [, base, room] = place; // room stays percent-encoded
const name = readable(room);
const query = new URLSearchParams(location.search);
const token = new URLSearchParams(location.hash.slice(1)).get('token');
const headers = token ? { Authorization: `Bearer ${token}` } : {};
const me = Array.from(crypto.getRandomValues(new Uint8Array(12)), (b) => b.toString(16).padStart(2, '0')).join('');
const missingFor = 60000; // ms an anchor that a restarted server does not know yet keeps its tile

const anchors = new Map();
const sound = { on: query.get('muted') !== '1', refused: false };
let link = 'connecting', linkSince = performance.now(), everOpen = false, closed = false, stream = null, probed = 0;

function readable(s) {
  try { return decodeURIComponent(s); } catch { return s; }
}

// Anchors.

function add(user, audio, video) {
  let a = anchors.get(user);
  if (a) return a;
  a = { user, audio, video, lostAt: 0, missing: 0, unsureAt: -1e9, state: 'opening' };
  const t = (a.tile = tile({ user, onplay: play, onbig: () => big(t.root) }));
  a.watch = watch({
    url: `${base}/whep/${room}/${encodeURIComponent(user)}?viewer=${me}`,
    headers,
    expects: () => !a.lostAt && (a.audio || a.video || unsure(a)),
    onmedia: (s) => t.show(s),
    onchange: draw,
  });
  anchors.set(user, a);
  closed = false;
  $('wall').append(t.root);
  return a;
}

function remove(user) {
  const a = anchors.get(user);
  if (!a) return;
  anchors.delete(user);
  a.watch.stop();
  if (document.fullscreenElement === a.tile.root) document.exitFullscreen();
  a.tile.close();
}

// lose and find follow the server's word about an anchor.
function lose(a, ago) {
  if (a.lostAt) return;
  a.lostAt = performance.now() - ago;
  a.tile.keep();
  say(words.lostShort(a.user));
}

function find(a) {
  a.missing = 0;
  if (a.lostAt) { a.lostAt = 0; say(words.back(a.user)); }
}

// unsure: the server has just found this anchor and may not have heard from its camera and microphone yet.
const unsure = (a) => performance.now() - a.unsureAt < 2500;

const is = (v, otherwise) => (typeof v === 'boolean' ? v : otherwise);

function snapshot(d) {
  const list = Array.isArray(d.anchors) ? d.anchors : [];
  const known = new Set();
  for (const one of list) {
    if (!one || typeof one.user !== 'string') continue;
    known.add(one.user);
    const old = anchors.get(one.user);
    const a = add(one.user, is(one.audio, true), is(one.video, true));
    a.audio = is(one.audio, true); a.video = is(one.video, true);
    if (!a.audio && !a.video) a.unsureAt = performance.now();
    if (one.state === 'lost') lose(a, since(one.since)); else find(a);
    if (old && !a.lostAt) a.watch.look(150, false);
  }
  for (const a of anchors.values()) {
    if (known.has(a.user)) continue;
    a.missing = a.missing || performance.now();
    lose(a, 0);
  }
  viewers(d.viewers);
}

// since gives the age (ms) of a moment told in ms or s of the epoch or as a date; 0 when the clocks disagree wildly.
function since(v) {
  const at = typeof v === 'number' ? (v > 1e11 ? v : v * 1000) : Date.parse(v);
  const ago = Date.now() - at;
  return ago > 0 && ago < 864e5 ? ago : 0;
}

function viewers(n) {
  if (Number.isInteger(n) && n > 0) $('watching').textContent = words.watching(n);
}

const on = {
  snapshot,
  viewers: (d) => viewers(d.viewers),
  audience: (d) => viewers(d.viewers),
  join(d) {
    const known = anchors.has(d.user);
    const a = add(d.user, is(d.audio, true), is(d.video, true));
    find(a);
    if (known) a.watch.look(150, true);
    else if (everOpen) toast(words.joined(d.user));
  },
  leave(d) {
    if (!anchors.has(d.user)) return;
    remove(d.user);
    toast(/kick|removed/i.test(d.reason) ? words.kicked(d.user) : words.left(d.user));
  },
  state(d, a) {
    if (!a) return;
    if (d.state === 'lost') lose(a, 0);
    else if (d.state === 'live') { find(a); a.watch.look(600, true); }
  },
  video(d, a) { if (a) { a.unsureAt = -1e9; a.video = d.available === true; if (a.video) a.watch.look(900, true); } },
  audio(d, a) { if (a) { a.audio = d.available === true; if (a.audio) a.watch.look(900, true); } },
  speaking(d, a) { if (a && !a.lostAt) a.tile.speaks(d.level); },
  dissolve() {
    for (const u of [...anchors.keys()]) remove(u);
    closed = true;
    say(words.closedHead);
  },
};

// The page's own connection.

function setLink(to) {
  if (to === link) return;
  const before = link;
  link = to;
  linkSince = performance.now();
  if (to === 'open' && everOpen && before !== 'open') say(words.connected);
  if (to === 'lost' && everOpen) say(words.reconnecting);
  if (to === 'offline') say(words.offline);
  draw();
}

function connect() {
  stream = follow({
    url: `${base}/rooms/${room}/events?viewer=${me}`,
    headers,
    onopen() { setLink('open'); everOpen = true; },
    onclose(status) {
      if (status === 401 || status === 403) setLink('refused');
      else if (status === 400) setLink('bad');
      else setLink(navigator.onLine === false ? 'offline' : everOpen ? 'lost' : 'connecting');
    },
    onevent(kind, d) {
      if (!Object.hasOwn(on, kind)) return;
      on[kind](d, anchors.get(d.user));
      draw();
    },
  });
}

// Words.

// over says what stands over one anchor's picture, and the name of its state.
function over(a) {
  const quiet = a.watch.quiet();
  const t = (ms) => words.time(Math.max(1, Math.round(ms / 1000)));
  if (a.watch.refused) return ['refused', { text: words.refused(a.user), dim: true }];
  if (quiet > 0 && link !== 'open' && everOpen && a.watch.pc) return ['away', { text: words.away(t(performance.now() - linkSince)), short: words.reconnecting, dim: true, busy: true }];
  if (a.lostAt) return ['lost', { text: words.lost(a.user, t(performance.now() - a.lostAt)), short: words.lostShort(a.user), dim: true, busy: true }];
  if (!a.watch.pc) return ['opening', { text: words.opening(a.user), busy: true, dim: a.tile.shown }];
  if (unsure(a) && (quiet > 0 || !a.tile.shown)) return ['opening', { text: words.opening(a.user), busy: true, dim: true }];
  if (!a.video && !unsure(a)) return ['off', { text: a.audio ? words.cameraOff : words.bothOff }];
  if (quiet > 0) return ['stalled', { text: words.stalled(a.user, t(quiet)), short: words.reconnecting, dim: true, busy: true }];
  if (!a.tile.shown) return ['opening', { text: words.opening(a.user), busy: true }];
  return ['live', null];
}

function draw() {
  for (const a of anchors.values()) {
    const [state, what] = over(a);
    if (state !== 'live' && state !== 'off' && a.state === 'live') a.tile.keep();
    a.state = state;
    a.tile.state(state);
    a.tile.say(what, a.video || unsure(a), a.audio || unsure(a));
    a.tile.tell(a.watch.facts);
  }
  document.documentElement.dataset.link = link;
  $('link').hidden = link === 'open' || (!everOpen && link === 'connecting') || link === 'refused' || link === 'bad';
  $('link-text').textContent = link === 'offline' ? words.offline : words.reconnecting;
  $('empty').hidden = anchors.size > 0;
  const kind = typeof RTCPeerConnection === 'undefined' ? 'old' : link === 'refused' ? 'refused' : link === 'bad' || !room ? 'bad' : closed ? 'closed' : everOpen ? 'empty' : 'wait';
  $('empty-head').textContent = typeof words[`${kind}Head`] === 'function' ? words[`${kind}Head`](name) : words[`${kind}Head`];
  $('empty-text').textContent = words[`${kind}Text`];
  document.documentElement.dataset.empty = anchors.size ? '' : kind;
  $('watching').hidden = link !== 'open';
  $('unmute').hidden = !sound.refused || anchors.size === 0;
  $('sound').setAttribute('aria-pressed', String(sound.on));
  $('sound').querySelector('span').textContent = sound.on ? words.soundOn : words.soundOff;
}

// tick reads the counters and counts the seconds.
async function tick() {
  const t = performance.now();
  let silent = 0;
  for (const a of [...anchors.values()]) {
    await a.watch.sample().catch(() => {});
    if (a.missing && t - a.missing > missingFor) remove(a.user);
    else if (a.state === 'stalled') silent++;
  }
  // Everybody silent at once is rather our own network: ask the server.
  if (silent && silent === anchors.size && link === 'open' && stream.age() > 1500 && t - probed > 4000) { probed = t; stream.again(); }
  draw();
  setTimeout(tick, 500);
}

// say speaks to screen readers, toast also to the eye.
function say(text) {
  const p = document.createElement('p');
  p.textContent = text;
  $('live').append(p);
  setTimeout(() => p.remove(), 8000);
}

function toast(text) {
  say(text);
  $('toast').textContent = text;
  $('toast').classList.add('shown');
  clearTimeout(toast.t);
  toast.t = setTimeout(() => $('toast').classList.remove('shown'), 3500);
}

// Sound.

async function play(video) {
  video.muted = !sound.on;
  try {
    await video.play();
  } catch (e) {
    if (e.name !== 'NotAllowedError' || video.muted) return; // a newer stream took over, or there is nothing to hear
    sound.on = false;
    sound.refused = true;
    for (const a of anchors.values()) { a.tile.video.muted = true; a.tile.video.play().catch(() => {}); }
    draw();
  }
}

function setSound(to) {
  sound.on = to;
  sound.refused = false;
  for (const a of anchors.values()) play(a.tile.video);
  draw();
}

// Start.

let lock = null;
async function stayAwake() {
  if (document.visibilityState !== 'visible' || !navigator.wakeLock) return;
  try { lock = lock && !lock.released ? lock : await navigator.wakeLock.request('screen'); } catch { /* a wish, not a need */ }
}

document.documentElement.lang = language;
document.title = words.room(name);
$('title').textContent = words.room(name);
$('unmute').textContent = words.turnOn;
$('unmute').onclick = $('sound').onclick = () => setSound(!sound.on);
$('sound').setAttribute('aria-label', words.sound);
$('full').querySelector('span').textContent = words.full;
$('full').setAttribute('aria-label', words.full);
$('full').hidden = !document.fullscreenEnabled;
$('full').onclick = whole;

const peers = () => new Map([...anchors].map(([user, a]) => [user, { pc: a.watch.pc, video: a.tile.video, state: a.state }]));
Object.defineProperty(window, 'anchord', {
  value: Object.freeze({ get peers() { return peers(); }, get link() { return link; } }),
});

start();
keys({
  sound: () => setSound(!sound.on),
  more: (root) => { for (const a of anchors.values()) if (a.tile.root === root) a.tile.more.click(); draw(); },
});
draw();
if (room && typeof RTCPeerConnection !== 'undefined') {
  connect();
  tick();
  addEventListener('online', () => { stream.again(); for (const a of anchors.values()) a.watch.look(150, false); });
  addEventListener('offline', () => setLink('offline'));
  document.addEventListener('visibilitychange', stayAwake);
  stayAwake();
  // Nothing of ours stays on the server when the page goes; a page fetched back from the cache starts afresh.
  addEventListener('pagehide', () => { stream.stop(); for (const u of [...anchors.keys()]) remove(u); });
  addEventListener('pageshow', (e) => { if (e.persisted) location.reload(); });
}
