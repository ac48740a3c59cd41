// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math"
	"time"
)

// A UVC payload begins with two bytes: their number, and these flags.
const (
	payloadHeader = 2
	flagEnd       = 0x02
	flagError     = 0x40
	flagLast      = 0x80 // no more header
)

// transfer queues a streaming URB.
func (w *webcam) transfer(u *urb, done func([]byte)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if u.ep == audioIn&0x0f {
		w.pa.add(time.Duration(len(u.iso))*time.Millisecond, func() { done(w.sound(u)) })
		return
	}
	if w.fault == "freeze" {
		w.frozen = append(w.frozen, func() { w.transfer(u, done) })
		return
	}
	pv := w.pv
	if len(u.iso) == 0 {
		pv.add(0, func() { w.bulkVideo(pv, u, done) })
		return
	}
	pv.add(time.Duration(len(u.iso))*125*time.Microsecond, func() { done(w.isoVideo(u)) })
}

func (w *webcam) isoVideo(u *urb) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	// Room for the packets' table too, which the link adds.
	r := reply(u.n + len(u.iso)*isoSize)
	for i := range u.iso {
		n := len(r)
		r = w.payload(r, min(int(u.iso[i].length), isoPayload))
		u.iso[i].actual = uint32(len(r) - n)
	}
	return r
}

// bulkVideo ends a bulk transfer as soon as there is a frame to send.
func (w *webcam) bulkVideo(p *pacer, u *urb, done func([]byte)) {
	for {
		w.mu.Lock()
		if w.frame != nil || w.nextFrame() {
			r := w.payload(reply(u.n), min(u.n, bulkPayload))
			w.mu.Unlock()
			done(r)
			return
		}
		d := time.Until(w.due)
		w.mu.Unlock()
		if !p.wait(max(d, time.Millisecond)) {
			return
		}
	}
}

// payload appends the next UVC payload of at most n bytes.
func (w *webcam) payload(r []byte, n int) []byte {
	if w.frame == nil && !w.nextFrame() {
		return append(r, payloadHeader, flagLast|w.fid)
	}
	m := min(n-payloadHeader, len(w.frame)-w.off)
	flags := flagLast | w.fid
	if w.fault == "err" && w.off == 0 {
		flags |= flagError
	}
	data := w.frame[w.off : w.off+m]
	w.off += m
	if w.off >= len(w.frame) || (w.fault == "trunc" && w.off > len(w.frame)/2) {
		flags |= flagEnd
		w.frame = nil
	}
	return append(append(r, payloadHeader, flags), data...)
}

// nextFrame begins a frame if one is due: the rate is the one granted.
func (w *webcam) nextFrame() bool {
	f, z, fps := w.mode(w.commit[:])
	now := time.Now()
	if w.due.IsZero() {
		w.due = now
	}
	if now.Before(w.due) {
		return false
	}
	step := time.Second / time.Duration(fps)
	if w.due = w.due.Add(step); w.due.Before(now.Add(-2 * step)) {
		w.due = now // the machine is too slow: fewer frames, not late ones
	}
	w.n++
	w.begun++
	w.frame, w.off = w.easel.painter(f, z, w.h264).paint(w.n), 0
	w.fid ^= 1
	return true
}

// sound is a 440 Hz tone, one second on, one second off.
func (w *webcam) sound(u *urb) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.hz == 0 {
		w.hz = 48000
	}
	n := w.hz / 1000
	r := reply(len(u.iso) * (2*n + isoSize))
	for i := range u.iso {
		for range n {
			v := 0.0
			if math.Mod(w.phase, 2) < 1 {
				v = 8000 * math.Sin(2*math.Pi*440*w.phase)
			}
			w.phase += 1 / float64(w.hz)
			s := uint16(int16(v))
			r = append(r, byte(s), byte(s>>8))
		}
		u.iso[i].actual = uint32(2 * n)
	}
	return r
}
