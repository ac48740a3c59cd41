// follow keeps the room's event stream open for ever: Server-Sent Events read with fetch, because EventSource can
// neither send a token nor be told when to try again.

const openIn = 3000; // ms until an answer is given up

export const jitter = (low, high) => low + Math.random() * (high - low);

// pause resolves after ms, or earlier when wake is called on the returned promise.
export function pause(ms) {
  let wake;
  const p = new Promise((done) => {
    const t = setTimeout(done, ms);
    wake = () => { clearTimeout(t); done(); };
  });
  p.wake = wake;
  return p;
}

// retryAfter reads the header in seconds or as a date; ms, at most 30 s, 0 without one.
export function retryAfter(res) {
  const h = res.headers.get('Retry-After');
  if (!h) return 0;
  const ms = /^\d+$/.test(h) ? h * 1000 : Date.parse(h) - Date.now();
  return Math.max(0, Math.min(30000, ms || 0));
}

// follow({url, headers, onopen, onclose(status), onevent(name, data)}) starts at once and returns {again, age, stop}:
// again() drops what is there and connects now, age() is how long (ms) nothing was heard.
export function follow({ url, headers, onopen, onclose, onevent }) {
  let ended = false;
  let abort = new AbortController();
  let waiting = null;
  let now = false; // connect again without a pause
  let heard = performance.now();
  let beats = false; // the server sends comments when nothing happens, so silence means something

  async function once() {
    abort = new AbortController();
    const late = setTimeout(() => abort.abort(), openIn);
    const res = await fetch(url, { headers: { ...headers, Accept: 'text/event-stream' }, signal: abort.signal, cache: 'no-store' })
      .finally(() => clearTimeout(late));
    if (!res.ok || !res.body) {
      res.body?.cancel();
      return { status: res.status, wait: retryAfter(res) };
    }
    heard = performance.now();
    onopen();
    const reader = res.body.getReader();
    const text = new TextDecoder();
    const deaf = setInterval(() => { if (beats && performance.now() - heard > 40000) abort.abort(); }, 2000);
    let rest = '', name = '', data = [];
    try {
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return { status: 0, wait: 0 };
        heard = performance.now();
        const lines = (rest + text.decode(value, { stream: true })).split(/\r\n|\n|\r/);
        rest = lines.pop();
        if (rest.length > 1 << 20) throw new Error('line too long');
        for (const line of lines) {
          if (line === '') {
            if (data.length) give(name || 'message', data.join('\n'));
            name = ''; data = [];
          } else if (line[0] === ':') beats = true;
          else if (line.startsWith('event:')) name = line.slice(6).trim();
          else if (line.startsWith('data:')) data.push(line.slice(5).replace(/^ /, ''));
        }
      }
    } finally {
      clearInterval(deaf);
    }
  }

  function give(name, data) {
    let v;
    try { v = JSON.parse(data); } catch { return; } // not ours
    if (v && typeof v === 'object') onevent(name, v);
  }

  // A server that does not answer is tried about twice a second, so that the picture is back within a second of it;
  // one that answers with a refusal is spared.
  async function run() {
    for (let fails = 0; !ended; ) {
      let end;
      try { end = await once(); } catch { end = { status: -1, wait: 0 }; }
      if (ended) return;
      onclose(end.status);
      fails = end.status > 0 ? fails + 1 : 0;
      const high = end.status >= 400 && end.status !== 404 ? Math.min(15000, 800 * 2 ** Math.min(fails, 5)) : end.status === 404 ? 1000 : 500;
      if (!now) await (waiting = pause(Math.max(end.wait, jitter(Math.min(200, high), high))));
      now = false;
    }
  }
  run();

  return {
    again() { if (waiting) waiting.wake(); now = true; abort.abort(); },
    age: () => performance.now() - heard,
    stop() { ended = true; abort.abort(); if (waiting) waiting.wake(); },
  };
}
