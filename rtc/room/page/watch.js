// watch keeps one anchor's picture and sound coming by WHEP: one peer connection for both, so that the browser can
// keep lips and voice together. A connection that has gone quiet is kept until its successor has media, because a
// network that comes back within seconds may revive it.

import { jitter, pause, retryAfter } from './follow.js';

const gatherIn = 500; // ms for host candidates; the server learns later ones from the checks themselves
const answerIn = 4000;
const mediaIn = 4000; // ms from the answer to a connected transport
const quietAfter = 1500; // ms without a byte: the tile says so
const brokenAfter = 2500; // ms without a byte: ask again

// A TURN server that one answer named is known to all later offers.
let iceServers = [];

// watch({url, headers, expects() → bool, onmedia(stream, pc), onchange()}) returns the handle described at its end.
export function watch({ url, headers, expects, onmedia, onchange }) {
  let ended = false;
  let pc = null, session = null;
  let trying = null, tryingSession = null; // the successor, not yet heard from
  let broken = true;
  let refused = false;
  let bytes = 0, movedAt = 0, openedAt = performance.now();
  let sleeping = null, woken = false, notBefore = 0, abort = null;
  let last = null; // the previous reading of the counters, for rates
  const facts = {};

  function drop(old, where) {
    if (old) { old.onconnectionstatechange = old.ontrack = null; old.close(); }
    if (where) fetch(where, { method: 'DELETE', headers, keepalive: true }).catch(() => {});
  }

  async function attempt() {
    abort = new AbortController();
    const stream = new MediaStream();
    const next = new RTCPeerConnection({ iceServers, bundlePolicy: 'max-bundle' });
    trying = next;
    const up = new Promise((done, fail) => {
      next.onconnectionstatechange = () => {
        if (next.connectionState === 'connected') done();
        else if (next.connectionState === 'failed' || next.connectionState === 'closed') fail(new Error('no path for media'));
      };
      abort.signal.addEventListener('abort', () => fail(new Error('aborted')));
    });
    up.catch(() => {});
    next.ontrack = (e) => {
      // The least delay that keeps the picture moving: no reserve beyond what the network asks for.
      if ('jitterBufferTarget' in e.receiver) e.receiver.jitterBufferTarget = 0;
      if ('playoutDelayHint' in e.receiver) e.receiver.playoutDelayHint = 0;
      stream.addTrack(e.track);
    };
    let timer;
    const late = (ms) => { clearTimeout(timer); timer = setTimeout(() => abort.abort(), ms); };
    try {
      next.addTransceiver('audio', { direction: 'recvonly' });
      next.addTransceiver('video', { direction: 'recvonly' });
      const offer = await next.createOffer();
      // Without this word a stereo microphone is mixed down to one channel.
      offer.sdp = offer.sdp.replace(/(a=fmtp:\d+ [^\r\n]*useinbandfec=1)(?![^\r\n]*stereo=)/g, '$1;stereo=1');
      await next.setLocalDescription(offer);
      await gathered(next);
      late(answerIn);
      const res = await fetch(url, {
        method: 'POST', headers: { ...headers, 'Content-Type': 'application/sdp', Accept: 'application/sdp' },
        body: next.localDescription.sdp, signal: abort.signal, cache: 'no-store',
      });
      if (res.status !== 201) {
        res.body?.cancel();
        throw Object.assign(new Error(`answer ${res.status}`), { status: res.status, wait: retryAfter(res) });
      }
      const where = res.headers.get('Location');
      tryingSession = where && new URL(where, res.url || location.href).href;
      learn(res.headers.get('Link'));
      await next.setRemoteDescription({ type: 'answer', sdp: await res.text() });
      late(mediaIn);
      await up;
    } finally {
      clearTimeout(timer);
    }
    if (ended) throw new Error('ended');
    drop(pc, session);
    pc = next; session = tryingSession;
    trying = tryingSession = null;
    broken = refused = false;
    bytes = 0; last = null; movedAt = openedAt = performance.now();
    next.onconnectionstatechange = () => {
      if (next === pc && next.connectionState === 'failed') { broken = true; wake(); }
    };
    onmedia(stream, next);
  }

  function wake() { woken = true; if (sleeping) sleeping.wake(); }

  async function sleep(ms) {
    if (!woken) await (sleeping = pause(ms));
    sleeping = null; woken = false;
  }

  async function run() {
    for (let fails = 0; !ended; ) {
      if (!broken) { fails = 0; await sleep(1 << 30); continue; }
      let wait = 0, high = 500;
      try {
        await attempt();
      } catch (e) {
        drop(trying, tryingSession);
        trying = tryingSession = null;
        if (ended) return;
        fails++;
        refused = e.status === 401 || e.status === 403;
        if (refused) high = 15000;
        else if (e.status === 404 || e.status === 409) high = Math.min(4000, 700 * fails); // not there yet: the events tell when
        else if (e.status) high = Math.min(30000, 1000 * 2 ** Math.min(fails, 5));
        else if (fails > 4) high = 1500;
        wait = e.wait || 0;
        notBefore = performance.now() + wait;
      }
      onchange();
      if (broken) await sleep(Math.max(wait, jitter(Math.min(200, high), high)));
      const early = notBefore - performance.now();
      if (broken && early > 0) await sleep(early);
    }
  }

  function learn(link) {
    for (const one of (link || '').split(/,\s*(?=<)/)) {
      const m = /^<([^>]+)>(.*)$/.exec(one.trim());
      if (!m || !/;\s*rel="?ice-server"?/i.test(m[2])) continue;
      const param = (n) => (new RegExp(`;\\s*${n}="([^"]*)"`, 'i').exec(m[2]) || [])[1];
      const s = { urls: m[1], username: param('username'), credential: param('credential') };
      iceServers = [...iceServers.filter((x) => x.urls !== s.urls), JSON.parse(JSON.stringify(s))];
    }
  }

  // sample reads the counters; called about twice a second.
  async function sample() {
    if (!pc) return;
    const asked = pc;
    const report = await asked.getStats();
    if (asked !== pc) return;
    let sum = 0, video, audio, pair;
    for (const s of report.values()) {
      if (s.type === 'inbound-rtp') { sum += s.bytesReceived || 0; if (s.kind === 'video') video = s; else audio = s; }
      if (s.type === 'candidate-pair' && s.nominated && s.state === 'succeeded') pair = s;
    }
    const t = performance.now();
    if (sum !== bytes) {
      bytes = sum; movedAt = t;
      if (broken && pc.connectionState === 'connected' && abort) { broken = false; abort.abort(); wake(); } // it revived
    } else if (expects() && t - movedAt > brokenAfter && !broken) { broken = true; wake(); }
    if (!last || t - last.t > 900) {
      const codec = (s) => (report.get(s?.codecId)?.mimeType || '').split('/')[1];
      const d = (a, b, k) => ((a && a[k]) || 0) - ((b && b[k]) || 0);
      if (last) {
        const s = (t - last.t) / 1000;
        const lost = d(video, last.video, 'packetsLost') + d(audio, last.audio, 'packetsLost');
        const got = d(video, last.video, 'packetsReceived') + d(audio, last.audio, 'packetsReceived');
        const out = d(video, last.video, 'jitterBufferEmittedCount');
        Object.assign(facts, {
          fps: Math.round(d(video, last.video, 'framesDecoded') / s),
          rate: (8 * (sum - last.sum)) / s,
          loss: lost + got > 0 ? Math.max(0, (100 * lost) / (lost + got)) : 0,
          delay: out > 0 ? (1000 * d(video, last.video, 'jitterBufferDelay')) / out : null,
        });
      }
      Object.assign(facts, {
        width: video?.frameWidth, height: video?.frameHeight, codecs: [codec(video), codec(audio)].filter(Boolean).join(' + '),
        drop: video?.framesDropped || 0, freeze: video?.freezeCount || 0, rtt: pair?.currentRoundTripTime,
      });
      last = { t, sum, video, audio };
    }
  }

  run();
  return {
    sample,
    facts,
    get pc() { return pc; },
    get refused() { return refused; },
    // quiet: how long (ms) nothing arrived, 0 while media flows.
    quiet() {
      const ms = performance.now() - (pc ? movedAt : openedAt);
      return pc && ms < quietAfter ? 0 : ms;
    },
    // look asks for a new connection unless media moves within ms; patient lets a Retry-After stand.
    async look(ms, patient) {
      if (!patient) notBefore = 0;
      if (pc && !broken) {
        await sample();
        const before = bytes;
        await pause(ms);
        await sample();
        if (bytes !== before || !expects()) return;
      }
      broken = true;
      if (!abort || !trying) wake();
    },
    stop() {
      ended = true;
      if (abort) abort.abort();
      wake();
      drop(pc, session);
      drop(trying, tryingSession);
      pc = session = trying = tryingSession = null;
    },
  };
}

function gathered(pc) {
  if (pc.iceGatheringState === 'complete') return Promise.resolve();
  return new Promise((done) => {
    const t = setTimeout(done, gatherIn);
    pc.onicegatheringstatechange = () => { if (pc.iceGatheringState === 'complete') { clearTimeout(t); done(); } };
  });
}
