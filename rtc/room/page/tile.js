// tile is one anchor on the wall: picture, sound, name, words over the picture, facts on demand.

import { words } from './words.js';

const form = document.getElementById('tile');

export function tile({ user, onplay, onbig }) {
  const root = form.content.firstElementChild.cloneNode(true);
  const $ = (q) => root.querySelector(q);
  const video = $('video'), last = $('.last'), face = $('.face'), box = $('.words'), text = $('.words p'), facts = $('.facts');
  const more = $('.more'), big = $('.big');
  let shown = false; // a frame of the present stream is on the screen
  let voice = 0, told = '';

  $('.name b').textContent = user;
  face.textContent = [...user][0];
  video.setAttribute('aria-label', user);
  more.setAttribute('aria-label', words.detailsOf(user));
  more.title = words.details;
  big.setAttribute('aria-label', words.bigger(user));
  big.title = words.full;
  more.onclick = () => { facts.hidden = !facts.hidden; more.setAttribute('aria-expanded', String(!facts.hidden)); };
  big.onclick = () => onbig();
  root.ondblclick = (e) => { if (!e.target.closest('button, dl')) onbig(); };

  // keep paints the picture as it is now on the canvas above the video, where it stays while the stream is changed.
  function keep() {
    if (!shown || !video.videoWidth || !last.hidden) return;
    last.width = video.videoWidth; last.height = video.videoHeight;
    last.getContext('2d').drawImage(video, 0, 0);
    last.hidden = false;
    root.classList.add('kept');
  }

  function forget() {
    last.hidden = true;
    last.width = last.height = 0; // gives the memory back
    root.classList.remove('kept');
  }

  function fresh() {
    shown = true;
    forget();
    root.classList.remove('blank');
  }

  function whenFresh(stream) {
    const mine = () => { if (video.srcObject === stream) fresh(); };
    if (video.requestVideoFrameCallback) video.requestVideoFrameCallback(mine);
    else video.addEventListener('timeupdate', mine, { once: true });
  }

  root.classList.add('blank');
  return {
    root, video, more,
    keep,
    get shown() { return shown; },
    show(stream) {
      keep();
      video.srcObject = stream;
      whenFresh(stream);
      onplay(video);
    },
    // say puts words over the picture: {text, short (without time), dim, busy}, or null for none; camera and mic say
    // what is on.
    say(what, camera, mic) {
      const t = what ? what.text : '';
      box.hidden = !t;
      if (t !== text.textContent) text.textContent = t;
      box.classList.toggle('still', !(what && what.busy));
      root.classList.toggle('dim', !!(what && what.dim));
      root.classList.toggle('quiet', !mic);
      face.hidden = camera || !!(what && what.dim && shown);
      root.classList.toggle('blank', !shown || (!camera && !(what && what.dim)));
      if (!camera && !(what && what.dim)) forget();
      if (performance.now() > voice) root.classList.remove('speaking');
      // Who listens is not told the seconds as they pass.
      const label = `${user}, ${(what && what.short) || t || words.live}${mic ? '' : ', ' + words.micOff}`;
      if (label !== told) root.setAttribute('aria-label', (told = label));
    },
    // speaks takes a level of 0 (-60 dB and less) to 100, told five times a second while there is sound: from -45 dB on it
    // is taken for a voice, which lasts over the pauses between words.
    speaks(level) {
      if (level > 25) voice = performance.now() + 900;
      else if (performance.now() < voice) return;
      else voice = 0;
      root.classList.toggle('speaking', voice > 0);
    },
    state(name) { root.dataset.state = name; },
    tell(f) {
      if (facts.hidden) return;
      const n = words.fact;
      const rows = [
        [n.size, f.width ? `${f.width} × ${f.height}` : '–'],
        [n.fps, f.fps === undefined ? '–' : words.fps(f.fps)],
        [n.rate, f.rate === undefined ? '–' : f.rate < 1e6 ? `${Math.round(f.rate / 1e3)} kbit/s` : `${(f.rate / 1e6).toFixed(1)} Mbit/s`],
        [n.loss, f.loss === undefined ? '–' : `${f.loss.toFixed(1)} %`],
        [n.rtt, f.rtt === undefined ? '–' : `${Math.round(f.rtt * 1000)} ms`],
        [n.delay, f.delay == null ? '–' : `${Math.round(f.delay)} ms`],
        [n.drop, String(f.drop ?? '–')],
        [n.freeze, String(f.freeze ?? '–')],
        [n.codec, f.codecs || '–'],
      ];
      facts.replaceChildren(...rows.flatMap(([k, v]) => [make('dt', k), make('dd', v)]));
    },
    close() { video.srcObject = null; root.remove(); },
  };
}

function make(tag, text) {
  const e = document.createElement(tag);
  e.textContent = text;
  return e;
}
