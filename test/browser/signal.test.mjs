import assert from 'node:assert/strict';
import test from 'node:test';
import { level, loudest, onsets } from './signal.mjs';

const rate = 48000;
const tone = (hz, amp, s) => Float32Array.from({ length: s * rate }, (_, i) => amp * Math.sin((2 * Math.PI * hz * i) / rate));

test('a tone is told within a tenth of a hertz', () => {
  for (const hz of [100, 430, 440, 440.4, 450, 1000, 7919]) {
    assert.ok(Math.abs(loudest(tone(hz, 0.1, 0.68), rate) - hz) < 0.1, `${hz}`);
  }
});

test('silence has no tone and no level', () => {
  assert.equal(loudest(new Float32Array(32768), rate), null);
  assert.equal(level(new Float32Array(100)), null);
});

test('level is that of a sine', () => assert.ok(Math.abs(level(tone(440, 0.1, 1)) + 20) < 0.01));

test('onsets are found within a millisecond', () => {
  const x = tone(440, 0.1, 5), beep = tone(1000, 0.5, 0.1);
  for (const at of [0.7, 1.7, 2.7, 3.7]) for (let i = 0; i < beep.length; i++) x[Math.round(at * rate) + i] += beep[i];
  const got = onsets(x, rate).map((i) => i / rate);
  assert.equal(got.length, 4);
  got.forEach((t, i) => assert.ok(Math.abs(t - (0.7 + i)) < 0.001, `${t}`));
});

test('a steady tone has no onset', () => assert.deepEqual(onsets(tone(440, 0.1, 3), rate), []));
