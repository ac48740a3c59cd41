// Sound analysis: plain functions on Float32Array samples, tested by signal.test.mjs.

// fft transforms re and im in place; the length is a power of two.
export function fft(re, im) {
  const n = re.length;
  for (let i = 1, j = 0; i < n; i++) {
    let bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) { [re[i], re[j]] = [re[j], re[i]]; [im[i], im[j]] = [im[j], im[i]]; }
  }
  for (let len = 2; len <= n; len <<= 1) {
    const a = (-2 * Math.PI) / len;
    for (let k = 0; k < len / 2; k++) {
      const wr = Math.cos(a * k), wi = Math.sin(a * k);
      for (let i = k; i < n; i += len) {
        const j = i + len / 2;
        const xr = re[j] * wr - im[j] * wi, xi = re[j] * wi + im[j] * wr;
        re[j] = re[i] - xr; im[j] = im[i] - xi;
        re[i] += xr; im[i] += xi;
      }
    }
  }
}

// loudest returns the frequency (Hz) of the strongest tone in x: Hann window, at least 32768 points, and a parabola
// through the logarithms of the three highest bins, which finds a steady tone within a small part of a bin (1.5 Hz).
export function loudest(x, rate) {
  let n = 32768;
  while (n < x.length) n *= 2;
  const re = new Float64Array(n), im = new Float64Array(n);
  for (let i = 0; i < x.length; i++) re[i] = x[i] * (0.5 - 0.5 * Math.cos((2 * Math.PI * i) / x.length));
  fft(re, im);
  const power = (k) => re[k] * re[k] + im[k] * im[k] + 1e-30;
  let best = 0;
  for (let k = Math.ceil((40 * n) / rate); k < n / 2 - 1; k++) if (!best || power(k) > power(best)) best = k;
  if (power(best) < 1e-12) return null; // silence
  const [a, b, c] = [power(best - 1), power(best), power(best + 1)].map(Math.log);
  return ((best + (0.5 * (a - c)) / (a - 2 * b + c)) * rate) / n;
}

// level returns dBFS of x, 0 dB being a full-scale sine.
export function level(x) {
  let s = 0;
  for (const v of x) s += v * v;
  return x.length && s > 0 ? 10 * Math.log10((2 * s) / x.length) : null;
}

// onsets returns the sample numbers at which a loud short sound begins over a quieter steady one: the first sample
// above a threshold between the two after at least quiet seconds below it.
export function onsets(x, rate, quiet = 0.3) {
  const block = Math.round(rate / 100);
  const peaks = [];
  for (let i = 0; i + block <= x.length; i += block) {
    let p = 0;
    for (let j = i; j < i + block; j++) p = Math.max(p, Math.abs(x[j]));
    peaks.push(p);
  }
  if (!peaks.length) return [];
  const sorted = [...peaks].sort((a, b) => a - b);
  const base = sorted[Math.floor(sorted.length * 0.5)], top = sorted[Math.floor(sorted.length * 0.97)];
  if (top < 0.01 || top < base * 2) return [];
  const limit = base + 0.35 * (top - base);
  const found = [];
  let below = 0;
  for (let i = 0; i < x.length; i++) {
    if (Math.abs(x[i]) < limit) { below++; continue; }
    if (below >= quiet * rate) found.push(i);
    below = 0;
  }
  return found;
}
