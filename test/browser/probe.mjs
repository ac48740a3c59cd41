// probe runs inside the viewer page and writes down what is shown and played there. It is sent to the page as text, so
// it uses nothing from outside itself.
//
// The test picture, W×H: 40 cells across the top twelfth; cells 4 to 35 are 32 bits, the highest first, white is 1:
// 16 bits of frame counter, 16 bits of the capture clock in ms. The corners are W/10×H/12 of red, green (top), blue and
// yellow (bottom). A square of W/8×H/8 in the middle is white in the first 100 ms of each full second of the clock.
export async function probe({ user, sound }) {
  const peer = () => window.anchord.peers.get(user);
  const canvas = document.createElement('canvas');
  const g = canvas.getContext('2d', { willReadFrequently: true });
  const log = { frames: [], counters: [], chunks: [], stamps: [], corners: null, rate: 0, origin: performance.timeOrigin, video: null, unreadable: 0, sync: [] };
  const size = (w, h) => { if (canvas.width !== w) canvas.width = w; if (canvas.height !== h) canvas.height = h; };

  // read returns the 32 bits and the flash of the picture now on the screen, or null if the blocks are not readable.
  function read(v) {
    const w = v.videoWidth, h = v.videoHeight;
    if (!w) return null;
    size(w, 4);
    const top = Math.round(h / 24);
    g.drawImage(v, 0, top, w, 2, 0, 0, w, 2);
    g.drawImage(v, w / 2 - 4, h / 2 - 4, 8, 8, 0, 2, 2, 2);
    const d = g.getImageData(0, 0, w, 4).data;
    let bits = 0, bad = false;
    for (let k = 0; k < 32; k++) {
      const y = d[4 * Math.floor(((4.5 + k) * w) / 40) + 1];
      if (y > 100 && y < 156) bad = true;
      bits = bits * 2 + (y >= 128 ? 1 : 0);
    }
    return bad ? null : { counter: Math.floor(bits / 65536), clock: bits % 65536, flash: d[4 * (w * 2) + 1] > 140 };
  }

  function corners(v) {
    const w = v.videoWidth, h = v.videoHeight;
    size(w, h);
    g.drawImage(v, 0, 0);
    const at = (x, y) => [...g.getImageData(Math.round(x * w), Math.round(y * h), 1, 1).data].slice(0, 3);
    return { topLeft: at(0.05, 1 / 24), topRight: at(0.95, 1 / 24), bottomLeft: at(0.05, 23 / 24), bottomRight: at(0.95, 23 / 24) };
  }

  const onframe = (now, m) => {
    const p = peer();
    if (!p) return;
    const r = read(p.video);
    log.frames.push([now, m.expectedDisplayTime, m.presentedFrames, m.rtpTimestamp ?? -1, r ? r.counter : -1, r ? r.clock : -1, r && r.flash ? 1 : 0, m.receiveTime ?? -1]);
    p.video.requestVideoFrameCallback(onframe);
  };
  peer().video.requestVideoFrameCallback(onframe);

  setInterval(() => {
    const p = peer();
    const r = p && read(p.video);
    if (r) log.counters.push([performance.now(), r.counter]); else log.unreadable++;
  }, 100);

  let ctx;
  if (sound) {
    ctx = new AudioContext({ latencyHint: 'interactive', sampleRate: 48000 });
    await ctx.resume();
    log.rate = ctx.sampleRate;
    const code = `registerProcessor('tap', class extends AudioWorkletProcessor {
      constructor() { super(); this.buf = new Float32Array(4096); this.n = 0; this.at = 0; }
      process([input]) {
        if (this.n === 0) this.at = currentFrame;
        const c = input[0];
        if (c) this.buf.set(c, this.n); else this.buf.fill(0, this.n, this.n + 128);
        this.n += 128;
        if (this.n === 4096) { this.port.postMessage([this.at, this.buf]); this.n = 0; }
        return true;
      } });`;
    await ctx.audioWorklet.addModule(URL.createObjectURL(new Blob([code], { type: 'text/javascript' })));
    const tap = new AudioWorkletNode(ctx, 'tap', { numberOfOutputs: 1 });
    tap.port.onmessage = (e) => log.chunks.push(e.data);
    const silent = new GainNode(ctx, { gain: 0 });
    let source = null, from = null;
    const bind = () => {
      const s = peer()?.video.srcObject;
      if (!s || s === from || !s.getAudioTracks().length) return;
      source?.disconnect();
      from = s;
      (source = ctx.createMediaStreamSource(s)).connect(tap);
    };
    tap.connect(silent).connect(ctx.destination);
    bind();
    setInterval(() => {
      bind();
      const t = ctx.getOutputTimestamp();
      if (t.performanceTime > 0) log.stamps.push([t.contextTime, t.performanceTime]);
    }, 100);
  }

  window.probe = {
    // second reads the counters of the connection, once a second.
    async second() {
      const p = peer();
      if (!p || !p.pc) return { state: p ? p.state : 'gone' };
      const out = { state: p.state, t: performance.now() };
      const est = {};
      for (const s of (await p.pc.getStats()).values()) {
        if (s.type !== 'inbound-rtp') continue;
        est[s.kind] = s.estimatedPlayoutTimestamp;
        out[s.kind] = {
          id: s.ssrc, bytes: s.bytesReceived, packets: s.packetsReceived, lost: s.packetsLost, decoded: s.framesDecoded, dropped: s.framesDropped,
          key: s.keyFramesDecoded, freezes: s.freezeCount, frozen: s.totalFreezesDuration, nack: s.nackCount, pli: s.pliCount,
          buffer: s.jitterBufferDelay, target: s.jitterBufferTargetDelay, emitted: s.jitterBufferEmittedCount, concealed: s.concealedSamples, samples: s.totalSamplesReceived,
        };
      }
      if (est.audio && est.video) log.sync.push((out.sync = est.video - est.audio));
      return out;
    },
    // finish returns the whole log; sound as base64 of 16-bit samples, gaps filled with silence.
    finish() {
      log.corners = corners(peer().video);
      log.video = [peer().video.videoWidth, peer().video.videoHeight];
      const { chunks, ...rest } = log;
      if (!chunks.length) return { ...rest, first: 0, pcm: '' };
      const first = chunks[0][0], end = chunks[chunks.length - 1][0] + 4096;
      const pcm = new Int16Array(end - first);
      for (const [at, buf] of chunks) for (let i = 0; i < 4096; i++) pcm[at - first + i] = Math.max(-32768, Math.min(32767, Math.round(buf[i] * 32767)));
      const bytes = new Uint8Array(pcm.buffer);
      let s = '';
      for (let i = 0; i < bytes.length; i += 32768) s += String.fromCharCode(...bytes.subarray(i, i + 32768));
      return { ...rest, first, pcm: btoa(s), latency: [ctx.baseLatency, ctx.outputLatency] };
    },
  };
}
