// watch.mjs --url URL --seconds N [--user U] [--no-sound] [--min-fps F] [--settle S] [--timeout S]
//   [--screenshot FILE] [--width W] [--height H]
//
// Opens the viewer page, waits for the first decoded frame, watches for N seconds and prints what was seen and heard as
// one line of JSON. ok (and exit status 0) says that frames came, the counter never went back, the page logged no error
// and, with --min-fps, that every whole second but the first decoded at least F frames; everything else is for the
// caller to judge.
//
// Sound against picture (skew, ms; positive: the sound is late). The test source beeps in the first 100 ms of each full
// second of its capture clock, and each picture carries the same clock.
//   picture: each frame's expectedDisplayTime − its capture time, the capture time taken from the frame's RTP timestamp
//            and the burnt-in clock together; the median over the frames within 0.5 s of the beep. A median over 30
//            frames has no 33 ms steps.
//   sound:   an AudioWorklet on the page's own MediaStream writes down the samples; a beep's first sample above the
//            threshold gives its place to about 1 ms, getOutputTimestamp its time at the loudspeaker.
//   skew   = (time of the beep − its full second) − (time of the picture − its capture time).
// Chromium needs some seconds to bring the two together, the more the busier the machine is while its loudspeaker opens
// (up to a second of sound piles up and is played out at most some per cent faster): beeps in the first --settle seconds
// are listed apart, as settlingMs.
// Error: Web Audio plays through a stream of its own, whose buffers (bufferMs: its own and the loudspeaker's, both in
// the figure) differ from the <video> element's, so that the sound seems 10 to 30 ms later than the element plays it.
// byStatsMs is Chromium's own figure (difference of estimatedPlayoutTimestamp; positive: the sound is late), which
// leaves Web Audio out. phase says where full seconds were taken
// from: "host" when the capture clock is this machine's monotonic clock (exact; latencyMs, capture to display, is known
// then too), else "flash": from the white square, to phaseErrorMs.

import { args, firstFrame, median, round, run, viewer } from './lib.mjs';
import { probe } from './probe.mjs';
import { level, loudest, onsets } from './signal.mjs';

const o = args({ url: '', seconds: '10', user: '', 'no-sound': false, 'min-fps': '0', settle: '0', timeout: '20', screenshot: '', width: '1280', height: '800' });

run(async (launch) => {
  const browser = await launch({ sound: !o['no-sound'], extra: [`--unsafely-treat-insecure-origin-as-secure=${new URL(o.url).origin}`] });
  const { page, faults } = await viewer(browser, o.url, { width: o.width, height: o.height, bypassCSP: true });
  const { user, ms } = await firstFrame(page, o.user, o.timeout * 1000);
  await page.evaluate(probe, { user, sound: !o['no-sound'] });

  const seconds = [await page.evaluate(() => window.probe.second())];
  const start = Date.now();
  for (let n = 1; n <= Number(o.seconds); n++) {
    await page.waitForTimeout(Math.max(0, start + n * 1000 - Date.now()));
    seconds.push(await page.evaluate(() => window.probe.second()));
  }
  const log = await page.evaluate(() => window.probe.finish());
  const mono = Number(process.hrtime.bigint()) / 1e6 - Date.now() + log.origin; // page time → this machine's monotonic ms
  if (o.screenshot) await page.screenshot({ path: o.screenshot });

  const fps = decoded(seconds);
  const counter = steps(log);
  const frames = log.frames.map(([now, display, presented, rtp, count, clock, flash, received]) => ({ now, display, presented, rtp, count, clock, flash, received }));
  const gaps = frames.slice(1).map((f, i) => f.display - frames[i].display);
  const last = seconds[seconds.length - 1];
  const result = {
    user, firstFrameMs: ms, seconds: Number(o.seconds), width: log.video[0], height: log.video[1],
    fps: { perSecond: fps, min: Math.min(...fps), mean: round(fps.reduce((a, b) => a + b, 0) / fps.length) },
    longestGapMs: round(Math.max(0, ...gaps)),
    counter, corners: log.corners, cornersOk: colours(log.corners),
    connections: new Set(seconds.map((s) => s.video?.id).filter(Boolean)).size, state: last.state,
    delays: delays(seconds), video: last.video, audio: last.audio, faults,
  };
  if (!o['no-sound']) Object.assign(result, heard(log, frames, mono));
  const enough = fps.slice(1).every((f) => f >= Number(o['min-fps']));
  return { ok: counter.samples > 0 && counter.backwards === 0 && enough && faults.length === 0, ...result };
});

// decoded gives frames decoded in each second; a new connection counts from 0.
function decoded(list) {
  return list.slice(1).map((s, i) => {
    const a = list[i], b = s;
    if (!b.video) return 0;
    const same = a.video && a.video.id === b.video.id && b.video.decoded >= a.video.decoded;
    const n = b.video.decoded - (same ? a.video.decoded : 0);
    return round(same ? (n * 1000) / (b.t - a.t) : n);
  });
}

// delays gives the mean time (ms) that sound and picture waited in Chromium's buffers in each second, and byStats then.
function delays(list) {
  const mean = (a, b) => (a && b && a.id === b.id && b.emitted > a.emitted ? round((1000 * (b.buffer - a.buffer)) / (b.emitted - a.emitted), 0) : null);
  const per = (kind) => list.slice(1).map((s, i) => mean(list[i][kind], s[kind]));
  return { audioMs: per('audio'), videoMs: per('video'), syncMs: list.slice(1).map((s) => round(s.sync, 0)) };
}

// steps says how the counter on the canvas moved between readings 0.1 s apart, and where it went back.
function steps({ counters, unreadable }) {
  const moves = counters.slice(1).map(([t, c], i) => {
    const d = (c - counters[i][1] + 65536) % 65536;
    return { t, d: d > 32768 ? d - 65536 : d, from: counters[i][1], to: c };
  });
  const back = moves.filter((m) => m.d < 0);
  const d = moves.map((m) => m.d);
  return {
    samples: counters.length, unreadable, min: d.length ? Math.min(...d) : null, max: d.length ? Math.max(...d) : null, backwards: back.length,
    jumps: back.slice(0, 10).map((m) => [m.from, m.to]), first: counters[0]?.[1] ?? null, last: counters[counters.length - 1]?.[1] ?? null,
  };
}

// colours: each corner within 60 of its own colour, which no other corner's colour is.
function colours(c) {
  const want = { topLeft: [255, 0, 0], topRight: [0, 255, 0], bottomLeft: [0, 0, 255], bottomRight: [255, 255, 0] };
  return Object.entries(want).every(([k, w]) => w.every((v, i) => Math.abs(v - c[k][i]) <= 60));
}

function heard(log, frames, mono) {
  const raw = Buffer.from(log.pcm, 'base64');
  const x = Float32Array.from({ length: raw.length / 2 }, (_, i) => raw.readInt16LE(2 * i) / 32767);
  const rate = log.rate;
  const beeps = onsets(x, rate);
  const part = (from, s) => x.subarray(Math.round(from), Math.round(from + s * rate));
  const whole = (p, s) => p.length >= Math.floor(s * rate);
  // Between two beeps there is room for 32768 samples of the tone alone.
  const still = beeps.map((b) => part(b + 0.15 * rate, 0.68)).filter((p) => whole(p, 0.68));
  const tones = still.length ? still : [part(x.length / 2, 0.68)];
  const high = beeps.map((b) => part(b + 0.02 * rate, 0.06)).filter((p) => whole(p, 0.06));
  const sound = {
    rate, seconds: round(x.length / rate), beeps: beeps.length,
    toneHz: round(median(tones.map((p) => loudest(p, rate)).filter((v) => v !== null)), 2),
    beepHz: round(median(high.map((p) => loudest(p, rate)).filter((v) => v !== null)), 1),
    toneDb: round(median(tones.map(level).filter((v) => v !== null))),
    beepDb: round(median(high.map(level).filter((v) => v !== null))),
  };

  const pictures = stamped(frames);
  const phase = pictures.length ? fullSeconds(pictures, mono) : null;
  if (!phase || !beeps.length) return { sound, skew: { n: 0, medianMs: null, listMs: [], byStatsMs: round(median(log.sync)) } };
  const list = [], settling = [];
  const settled = (log.stamps[0]?.[1] ?? 0) + o.settle * 1000;
  for (const b of beeps) {
    const at = (log.first + b) / rate; // context time
    const near = log.stamps.filter(([c]) => Math.abs(c - at) < 3).map(([c, p]) => p - c * 1000);
    if (!near.length) continue;
    const played = at * 1000 + median(near);
    const delays = pictures.filter((p) => Math.abs(p.display - played) < 500).map((p) => p.display - p.clock);
    if (delays.length < 3) continue;
    const delay = median(delays);
    // The full second nearest to what the picture shows when the beep is heard.
    const seen = played - delay - phase.offset;
    (played < settled ? settling : list).push(seen - Math.round(seen / 1000) * 1000);
  }
  const skew = {
    n: list.length, medianMs: round(median(list)), minMs: round(list.length ? Math.min(...list) : null), maxMs: round(list.length ? Math.max(...list) : null),
    listMs: list.map((v) => round(v)), settlingMs: settling.map((v) => round(v)), phase: phase.from, phaseErrorMs: phase.error, byStatsMs: round(median(log.sync)),
    bufferMs: log.latency.map((v) => round(v * 1000)),
  };
  const out = { sound, skew };
  if (phase.from === 'host') {
    const l = pictures.map((p) => p.display + mono - p.clock - phase.wraps).sort((a, b) => a - b);
    out.latencyMs = { median: round(median(l)), p95: round(l[Math.floor(l.length * 0.95)]) };
  }
  return out;
}

// stamped gives each frame its capture time in ms, unwrapped. The RTP timestamp belongs to the very frame that the
// callback is about; the picture on the canvas may by then be the next, so the clock only says how the two relate.
function stamped(frames) {
  const good = frames.filter((f) => f.clock >= 0 && f.rtp >= 0);
  if (!good.length) return [];
  let turns = 0, base = good[0].rtp;
  const list = good.map((f, i) => {
    if (i && good[i - 1].rtp - f.rtp > 2 ** 31) turns++;
    return { ...f, media: (f.rtp + turns * 2 ** 32 - base) / 90 };
  });
  const wrap = (v) => ((v % 65536) + 65536) % 65536;
  const anchor = wrap(list[0].clock - list[0].media);
  const diffs = list.map((f) => { const d = wrap(f.clock - f.media - anchor); return d > 32768 ? d - 65536 : d; });
  const start = anchor + median(diffs);
  return list.map((f) => ({ display: f.display, clock: start + f.media, flash: f.flash, shown: f.clock }));
}

// fullSeconds finds where the clock's full seconds lie: offset (ms) so that (clock − offset) is a multiple of 1000 there.
function fullSeconds(pictures, mono) {
  const wrongs = (offset) => pictures.filter((p) => {
    const t = (((p.clock - offset) % 1000) + 1000) % 1000;
    if (Math.min(Math.abs(t - 100), t, 1000 - t) < 4) return false; // an edge: either is right
    return (t < 100) !== !!p.flash;
  }).length;
  // This machine's clock: a frame is shown less than a minute after its capture.
  const p0 = pictures[0];
  const wraps = Math.floor((p0.display + mono - p0.clock) / 65536) * 65536;
  const late = p0.display + mono - p0.clock - wraps;
  if (late < 5000 && wrongs(-wraps % 1000) <= pictures.length * 0.05) return { from: 'host', offset: -wraps % 1000, error: 0, wraps };
  let least = Infinity, fits = [];
  for (let o = 0; o < 1000; o += 2) {
    const w = wrongs(o);
    if (w < least) { least = w; fits = []; }
    if (w === least) fits.push(o);
  }
  if (least > pictures.length * 0.1) return null; // no flash to be seen
  // The fits lie together on a circle; its middle is taken.
  const [x, y] = fits.reduce(([a, b], f) => [a + Math.cos((f * Math.PI) / 500), b + Math.sin((f * Math.PI) / 500)], [0, 0]);
  return { from: 'flash', offset: (Math.atan2(y, x) * 500) / Math.PI, error: fits.length, wraps: 0 };
}
