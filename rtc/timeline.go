package rtc

import (
	"time"

	"anchord/internal/media"
)

// timeline maps capture times to RTP time stamps of one track.
type timeline struct {
	rate   int64  // ticks a second
	offset uint32 // random (RFC 3550 5.1)

	began   bool
	last    uint32 // newest time stamp
	samples int    // length of the newest block of sound
	drift   int64  // of the sound's time stamps behind the clock, in 1/64 ticks
}

// ticks gives t on the track's clock before drift.
func (l *timeline) ticks(t media.Time) uint32 {
	s, ns := int64(t)/int64(time.Second), int64(t)%int64(time.Second)
	return l.offset + uint32(s*l.rate) + uint32(ns*l.rate/int64(time.Second))
}

// at gives the time stamp that something captured at t would have: what a sender
// report says.
func (l *timeline) at(t media.Time) uint32 { return l.ticks(t) - uint32(l.drift>>6) }

// stepBack is how far capture times may go back before the new ones are believed. (The
// difference of time stamps is also negative after hours without a picture.)
const stepBack = 10 // seconds

// picture gives the time stamp of a picture captured at t. A clock that stands still
// or goes back a little still gives each picture a time stamp of its own: two pictures
// with one would be taken for one.
func (l *timeline) picture(t media.Time) uint32 {
	ts := l.ticks(t)
	if d := int64(int32(ts - l.last)); l.began && d <= 0 && d > -stepBack*l.rate {
		ts = l.last + 1
	}
	l.began, l.last = true, ts
	return ts
}

// sound gives the time stamp of a block of n samples at 48 kHz whose first was
// captured at t, and whether blocks are missing in front of it. Time stamps count
// samples, as receivers' jitter buffers expect (a tick too many is a click); capture
// times tell only how the card's clock drifts against ours, which sender reports pass
// on, and whether there was a gap (silence not sent, a block lost).
func (l *timeline) sound(t media.Time, n int) (ts uint32, gap bool) {
	want := l.ticks(t)
	if !l.began || n <= 0 {
		l.began, l.last, l.samples = true, want, n
		return want, true
	}
	ts = l.last + uint32(l.samples)
	err := int64(int32(want - uint32(l.drift>>6) - ts))
	size := int64(n)
	if k := (err + size/4) / size; k > 0 { // a quarter of a block early is jitter
		ts += uint32(k * size)
		err -= k * size
		gap = true
	}
	if err < -size || err > size {
		l.drift += 64 * err // the clock stepped: time stamps cannot go back, so the mapping does
	} else {
		l.drift += err // a sixty-fourth of it: jitter of capture times does not get through
	}
	l.last, l.samples = ts, n
	return ts, gap
}
