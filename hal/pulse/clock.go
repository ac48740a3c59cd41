package pulse

import (
	"time"

	"anchord/internal/media"
)

// The loop's constants: it follows a step in about slewTime without overshoot (damping 1),
// and never bends time by more than maxBend, so that sound and its time stamps stay steady
// while a microphone's crystal, good for 100 ppm, is followed.
const (
	slewTime = 8.0                    // s
	maxBend  = 1000e-6                // s/s
	maxDrift = 500e-6                 // s/s
	stepAt   = 10 * time.Millisecond  // samples were lost; less is slewed
	backAt   = 100 * time.Millisecond // samples are never won: what looks so was measured badly
	steps    = 3                      // measurements that agree before a step
)

// clock says when the nth sample since the start of the stream was captured. The time of
// samples runs as evenly as they were sampled; what the server measures bends it slowly.
// The zero clock knows nothing before step.
type clock struct {
	rate  float64 // samples a second
	n     uint64  // at sample n
	t     float64 // it is t, in ns
	drift float64 // ns of this machine for 1 ns of the microphone, less 1
	bend  float64 // drift and correction together, in force now
	last  media.Time
	off   time.Duration // of the last measurement, when it was far off
	doubt int           // how many in a row were, by the same
}

// at is the time of sample n as the clock goes now.
func (c *clock) at(n uint64) media.Time {
	return media.Time(c.t + float64(int64(n-c.n))*1e9/c.rate*(1+c.bend))
}

// stamp is at for stamps that are given out: they never go back.
func (c *clock) stamp(n uint64) media.Time {
	t := max(c.at(n), c.last+1)
	c.last = t
	return t
}

// step sets the clock: sample n was captured at t.
func (c *clock) step(n uint64, t media.Time) {
	c.n, c.t, c.bend, c.doubt = n, float64(t), c.drift, 0
}

// bound says that the samples before n have arrived at t, so they were captured before: a
// clock that says otherwise was set by a bad measurement.
func (c *clock) bound(n uint64, t media.Time) {
	if late := c.at(n).Sub(t); late > 0 {
		c.t -= float64(late)
	}
}

// steer takes a measurement: sample n was captured at t. A busy server measures badly, so
// the clock steps only when some in a row agree by how much it is off. It tells whether
// the next measurement should come soon.
func (c *clock) steer(n uint64, t media.Time) (soon bool) {
	now := c.at(n)
	off := t.Sub(now)
	if off > stepAt || off < -backAt {
		if c.doubt > 0 && (off-c.off).Abs() > stepAt {
			c.doubt = 0
		}
		c.off = off
		if c.doubt++; c.doubt == steps {
			c.step(n, t)
		}
		return c.doubt > 0
	}
	c.doubt = 0
	off = max(off, -stepAt)
	passed := float64(int64(n-c.n)) / c.rate
	c.n, c.t = n, float64(now)
	e := off.Seconds() / slewTime
	c.drift = within(c.drift+e*min(passed, slewTime)/(4*slewTime), maxDrift)
	c.bend = within(c.drift+e, maxBend)
	return false
}

func within(x, limit float64) float64 { return max(-limit, min(limit, x)) }
