// What every browser program here needs: arguments, Chromium, the viewer page, one line of JSON at the end.

import { chromium } from 'playwright-core';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

// args reads --name value and --flag from the command line; numbers stay text.
export function args(defaults) {
  const out = { ...defaults };
  const list = process.argv.slice(2);
  for (let i = 0; i < list.length; i++) {
    if (!list[i].startsWith('--')) throw new Error(`unexpected argument ${list[i]}`);
    const name = list[i].slice(2);
    if (!(name in out)) throw new Error(`unknown argument --${name}; known: ${Object.keys(defaults).join(' ')}`);
    if (i + 1 < list.length && !list[i + 1].startsWith('--')) out[name] = list[++i];
    else out[name] = true;
  }
  return out;
}

// run calls the program and prints its result as one line of JSON: exit status 0 when result.ok, else 1. Whatever
// happens the browser is closed, also on SIGTERM.
export async function run(program) {
  let browser, sink, ended; // promises
  // Chromium's profile and sockets too go to a folder that is taken away at the end.
  const scratch = mkdtempSync(join(tmpdir(), 'anchord-browser-'));
  process.env.TMPDIR = scratch;
  const launch = async (more = {}) => {
    if (more.sound) sink = speaker();
    const env = (await sink)?.env;
    if (ended) throw new Error('ended');
    return (browser = open({ ...more, env }));
  };
  // What is still being started is waited for, or it would outlive us.
  const end = async () => {
    await (await browser?.catch(() => null))?.close().catch(() => {});
    await (await sink?.catch(() => null))?.close();
    rmSync(scratch, { recursive: true, force: true, maxRetries: 5 });
  };
  const close = () => (ended ??= end());
  for (const s of ['SIGTERM', 'SIGINT']) process.on(s, () => close().finally(() => process.exit(1)));
  let result;
  try {
    result = await program(launch);
  } catch (e) {
    result = { ok: false, error: String(e.stack || e).replace(/\u001b\[[0-9;]*m/g, '') };
  }
  await close();
  process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(result.ok ? 0 : 1));
}

// speaker starts a sound server of the browser's own with a sink that goes nowhere. Without one Chromium plays into a
// stand-in that loses time whenever the machine is busy, so that the sound falls behind the picture by itself.
async function speaker() {
  const dir = mkdtempSync(join(tmpdir(), 'speaker-'));
  const socket = join(dir, 'native');
  const env = { ...process.env, HOME: dir, XDG_RUNTIME_DIR: dir, XDG_CONFIG_HOME: dir, PULSE_SERVER: `unix:${socket}`, PULSE_RUNTIME_PATH: dir };
  const child = spawn('pulseaudio', [
    '-n', '--daemonize=no', '--use-pid-file=no', '--exit-idle-time=-1', '--disallow-exit', '--log-level=error', '--high-priority=yes',
    '-L', 'module-null-sink sink_name=nowhere', '-L', `module-native-protocol-unix socket=${socket} auth-anonymous=1`,
  ], { env, stdio: ['ignore', 'ignore', 'ignore'] });
  const gone = new Promise((done) => { child.once('exit', done); child.once('error', done); });
  const close = async () => {
    child.kill();
    await gone;
    rmSync(dir, { recursive: true, force: true });
  };
  for (let n = 0; !existsSync(socket); n++) {
    if (n > 200 || child.exitCode !== null || child.pid === undefined) {
      await close();
      throw new Error('the sound server for the browser did not start: apt-get install pulseaudio');
    }
    await new Promise((r) => setTimeout(r, 25));
  }
  return { env, close };
}

async function open({ autoplay = true, extra = [], env } = {}) {
  const path = process.env.CHROMIUM || '/usr/bin/chromium';
  if (!existsSync(path)) throw new Error(`${path} is missing: apt-get install chromium, or set CHROMIUM`);
  return chromium.launch({
    executablePath: path, env,
    handleSIGINT: false, handleSIGTERM: false, handleSIGHUP: false,
    args: [
      '--headless', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync', ...(env ? [] : ['--mute-audio']),
      '--disable-background-timer-throttling', '--disable-renderer-backgrounding', '--disable-backgrounding-occluded-windows',
      ...(process.getuid?.() === 0 ? ['--no-sandbox'] : []),
      autoplay ? '--autoplay-policy=no-user-gesture-required' : '--autoplay-policy=document-user-activation-required',
      ...extra,
    ],
  });
}

// viewer opens the page of a room and collects what the page should never do: errors on the console, violations of
// its own content policy, requests to other servers. The policy is obeyed unless bypassCSP is true.
export async function viewer(browser, url, { width = 1280, height = 800, bypassCSP = false, lang = 'en-US', dark = true, phone = false } = {}) {
  const context = await browser.newContext({
    viewport: { width: Number(width), height: Number(height) }, bypassCSP, locale: lang,
    colorScheme: dark ? 'dark' : 'light', hasTouch: phone, isMobile: phone, ignoreHTTPSErrors: true,
  });
  const page = await context.newPage();
  const faults = [];
  const host = new URL(url).host;
  page.on('pageerror', (e) => faults.push(`error: ${e.message}`));
  page.on('console', (m) => {
    // A refused connection is said by Chromium itself while the server is away.
    if (m.type() === 'error' && !/Failed to load resource|net::ERR_/.test(m.text())) faults.push(`console: ${m.text()}`);
  });
  page.on('request', (r) => {
    const u = new URL(r.url());
    if (/^(https?|wss?):$/.test(u.protocol) && u.host !== host) faults.push(`request to ${u.host}`);
  });
  await page.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', (e) => console.error(`content policy: ${e.violatedDirective} ${e.blockedURI}`));
  });
  await page.goto(url, { waitUntil: 'load', timeout: 15000 });
  return { page, context, faults };
}

// firstFrame waits for a decoded frame of user (or of whoever comes first) and returns {user, ms} counted from the call.
export async function firstFrame(page, user, timeout = 15000) {
  const t = Date.now();
  const h = await page.waitForFunction((u) => {
    for (const [name, p] of window.anchord?.peers || []) {
      if ((!u || name === u) && p.pc && p.video.videoWidth > 0 && p.video.readyState >= 2) return name;
    }
    return false;
  }, user || '', { timeout, polling: 50 });
  return { user: await h.jsonValue(), ms: Date.now() - t };
}

// tiles returns the state of every tile: {user: state}.
export const tiles = (page) => page.evaluate(() => Object.fromEntries([...window.anchord.peers].map(([u, p]) => [u, p.state])));

// median of numbers; null of none.
export function median(list) {
  if (!list.length) return null;
  const s = [...list].sort((a, b) => a - b);
  return s.length % 2 ? s[(s.length - 1) / 2] : (s[s.length / 2 - 1] + s[s.length / 2]) / 2;
}

export const round = (v, digits = 1) => (v === null || v === undefined || Number.isNaN(v) ? null : Number(v.toFixed(digits)));
