package v4l2

import (
	"time"

	"anchord/internal/media"
)

// meter measures what an encoder really makes, on the clock of its pictures: that a driver
// took a bit rate does not say that it keeps it.
type meter struct {
	slots [8]struct {
		begun media.Time
		tally
	}
	at    int // the slot that fills
	trial trial
}

// tally counts coded pictures.
type tally struct{ pictures, deltas, bits int }

func (t *tally) add(bytes int, key bool) {
	t.pictures++
	if !key {
		t.deltas++
		t.bits += 8 * bytes
	}
}

// rate gives bits a second as if there had been no key pictures: each counts as one more
// of the others, as an encoder that is asked for one has not overspent by that.
func (t *tally) rate(d time.Duration) int {
	if t.deltas == 0 || d <= 0 {
		return 0
	}
	return int(float64(t.bits) / float64(t.deltas) * float64(t.pictures) / d.Seconds())
}

// trial is a change of the bit rate that is looked at.
type trial struct {
	on       bool
	from, to int // asked for
	before   int // measured before it
	since    media.Time
	tally    // of what came from settling on
}

const (
	slotTime = 250 * time.Millisecond
	settling = 400 * time.Millisecond  // how long a new rate may take to begin
	early    = 1200 * time.Millisecond // when one that is not kept at all shows
	verdict  = 2 * time.Second
)

// add notes a coded picture.
func (m *meter) add(t media.Time, bytes int, key bool) {
	s := &m.slots[m.at]
	if d := t.Sub(s.begun); d >= slotTime || d < 0 {
		m.at = (m.at + 1) % len(m.slots)
		s = &m.slots[m.at]
		s.begun, s.tally = t, tally{}
	}
	s.add(bytes, key)
	if m.trial.on && t.Sub(m.trial.since) >= settling {
		m.trial.add(bytes, key)
	}
}

// lately gives the bit rate of the last one to two seconds; 0 if there was no such time.
func (m *meter) lately(now media.Time) int {
	var sum tally
	end := m.slots[m.at].begun // what fills now is not whole
	first := end
	for i := range m.slots {
		s := &m.slots[i]
		if age := now.Sub(s.begun); s.begun == 0 || i == m.at || age < 0 || age > verdict+slotTime {
			continue
		}
		sum.pictures += s.pictures
		sum.deltas += s.deltas
		sum.bits += s.bits
		first = min(first, s.begun)
	}
	if d := end.Sub(first); d >= time.Second {
		return sum.rate(d)
	}
	return 0
}

// try begins to look at a change from one bit rate to another.
func (m *meter) try(now media.Time, from, to int) {
	before := m.lately(now)
	if before == 0 {
		before = from
	}
	m.trial = trial{on: true, from: from, to: to, before: before, since: now}
}

// outcome is what a trial shows.
type outcome uint8

const (
	undecided outcome = iota // it goes on, or there is none
	kept                     // or nothing speaks against it
	ignored                  // the encoder makes what it made before
)

// judge looks at the trial, after a picture was added.
func (m *meter) judge(now media.Time) outcome {
	o := m.trial.judge(now)
	if o != undecided {
		m.trial.on = false
	}
	return o
}

func (t *trial) judge(now media.Time) outcome {
	d := now.Sub(t.since)
	switch {
	case !t.on || d < 0 && d > -verdict:
		return undecided
	case d < 0:
		return kept // the pictures' clock went back
	case d < early:
		return undecided
	}
	got := t.rate(d - settling)
	if t.to < t.from {
		switch over := got > t.to*5/4; {
		case over && (d >= verdict || got-t.to > (t.before-t.to)*6/10): // nearer to what it was
			return ignored
		case d >= verdict:
			return kept
		}
		return undecided
	}
	if d < verdict {
		return undecided
	}
	// As much as before, when before it was the bit rate that held it down.
	if t.to > t.from*13/10 && t.before > t.from*8/10 && got < t.before*23/20 && got < t.to*3/4 {
		return ignored
	}
	return kept
}
