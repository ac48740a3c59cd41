package v4l2

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"anchord/hal"
	"anchord/internal/media"
)

// An encoder that has to be opened anew for another bit rate gives a key picture each
// time, so small changes are left out and others wait.
const (
	lowerWait = time.Second
	raiseWait = 1500 * time.Millisecond
)

// setRate tells the driver of other rates, and gives the bit rate that it grants.
func (g *engine) setRate(bits int, r media.Rate) (int, error) {
	if g.s == nil {
		return g.bits, fmt.Errorf("it is closed: %w", hal.ErrStuck)
	}
	if r.Float() > 0 && r != g.want.Rate {
		g.want.Rate = r
		q := g.quirk.rate(r)
		if _, _, err := g.s.c.setInterval(uint32(q.Den), uint32(q.Num)); err != nil {
			g.rerate = true
		}
	}
	bits = g.clip(bits)
	g.want.Bitrate = bits
	if bits == g.target {
		return g.target, nil
	}
	from := g.bits
	if g.deaf {
		g.target = bits // see tune
		return bits, nil
	}
	granted, err := g.tell(bits)
	if errors.Is(err, unix.EBUSY) {
		granted, err = g.tellAtRest(bits)
	}
	if errors.Is(err, unix.EBUSY) {
		g.deaf, g.target = true, bits
		return bits, nil
	}
	if err != nil {
		return g.bits, fmt.Errorf("set the bit rate: %w: %w", hal.ErrUnsupported, err)
	}
	g.bits, g.target = granted, granted
	if !g.lied {
		g.meter.try(g.captured, from, granted)
	}
	return granted, nil
}

// clip brings a bit rate into what driver and level allow.
func (g *engine) clip(bits int) int {
	return min(g.quirk.bits(bits, g.want.Input.Size), g.s.mostBits)
}

func (g *engine) tell(bits int) (int, error) {
	r, err := g.s.c.controlRange(cidBitrate)
	if err != nil {
		return 0, err
	}
	v := r.clamp(int32(min(bits, 1<<31-1)))
	if err := g.s.c.setControl(cidBitrate, v); err != nil {
		return 0, err
	}
	if got, err := g.s.c.control(cidBitrate); err == nil {
		v = got
	}
	return int(v), nil
}

// tellAtRest tells a driver that takes no bit rate while it streams.
func (g *engine) tellAtRest(bits int) (granted int, err error) {
	g.counts.resets.Add(1)
	if err := g.drain(); err != nil {
		return 0, err
	}
	if err := g.s.stopSide(codedSide); err != nil {
		return 0, err
	}
	granted, err = g.tell(bits)
	return granted, errors.Join(err, g.s.restart())
}

// tune looks at what became of the last change, and opens an encoder anew that has to be
// for another rate. now is the time of the picture that comes.
func (g *engine) tune(now media.Time) error {
	if t := g.meter.trial; g.meter.judge(now) == ignored {
		g.counts.ignored.Add(1)
		if g.deaf {
			g.lied = true
			g.log.Warn("encoder does not keep its bit rate, also after it was opened anew", "device", g.name, "wanted", t.to, "before", t.before)
			return nil
		}
		g.deaf, g.bits = true, t.from
		g.log.Warn("encoder ignores bit rates while it streams, it is opened anew for each", "device", g.name, "wanted", t.to, "before", t.before)
	}
	if !g.rerate && (!g.deaf || g.lied || !g.worth(now)) {
		return nil
	}
	if g.moved != 0 && now > g.moved && now.Sub(g.moved) < lowerWait {
		return nil
	}
	from := g.bits
	g.moved = now
	if err := g.reopen("it takes other rates only then", g.s.memory == memoryDMABUF); err != nil {
		return err
	}
	if !g.lied {
		g.meter.try(now, from, g.target)
	}
	return nil
}

// worth tells whether it is worth a key picture to go from bits to target now.
func (g *engine) worth(now media.Time) bool {
	since := now.Sub(g.moved)
	if g.moved == 0 || since < 0 {
		since = raiseWait
	}
	switch {
	case g.target < g.bits:
		return g.target < g.bits*9/10 && since >= lowerWait
	case g.target > g.bits:
		return g.target > g.bits*115/100 && since >= raiseWait
	}
	return false
}
