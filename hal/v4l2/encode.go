package v4l2

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"anchord/hal"
	"anchord/internal/media"
)

// How an engine waits for a picture.
const (
	// primeWait is how long the first pictures are waited for: an encoder may want more of
	// them before it gives anything, or load its firmware first.
	primeWait = 150 * time.Millisecond
	// mostHold is how many pictures an encoder may keep back.
	mostHold = 4
	// mostDamaged pieces of stream in a row mean that its buffers are too small, which
	// looks the same as damage.
	mostDamaged   = 3
	mostCodedSize = 16 << 20
	mostReady     = 8
)

// encode codes f and gives what is ready; nil if there is nothing. An engine that can be
// mended by being opened anew is, once for a picture.
//
// owner is the picture's frame, and f what it says: owner may be gone, unless somebody waits.
func (g *engine) encode(owner, f *media.Frame, key bool) (*media.Packet, error) {
	g.owner = owner
	g.owed = g.owed || key
	g.due = media.Now().Add(g.deadline)
	for try := 0; ; try++ {
		p, err := g.code(f)
		if err == nil || try > 0 || !mends(err) {
			return p, err
		}
		g.owed = true
		if errors.Is(err, errDamaged) {
			g.size = min(2*g.size, mostCodedSize)
		}
		if err := g.reopen(err.Error(), g.imports(f)); err != nil {
			return nil, err
		}
	}
}

func (g *engine) code(f *media.Frame) (*media.Packet, error) {
	if g.s == nil { // an earlier try to open it anew failed
		if err := g.reopen("it is closed", g.imports(f)); err != nil {
			return nil, err
		}
	}
	now := f.Marks[media.Captured]
	if now == 0 {
		now = media.Now()
	}
	if err := g.tune(now); err != nil {
		return nil, err
	}
	if dma := g.imports(f); dma != (g.s.memory == memoryDMABUF) {
		if err := g.reopen("pictures lie in other memory", dma); err != nil {
			return nil, err
		}
	}
	if err := g.collect(); err != nil {
		return nil, err
	}
	if uint64(len(g.ready)) > g.hold {
		// It has fallen behind, and each picture more would be as late.
		g.counts.late.Add(1)
		return g.next(), nil
	}
	if g.packets.Out() >= maxPackets-mostHold {
		g.counts.skipped.Add(1) // as if there were no bits for it
		return g.next(), nil
	}
	begins := !g.keyed && g.answered == 0 // with a key picture
	if g.owed && !begins && (g.asked == 0 || g.answered > g.asked) {
		if g.deltas {
			g.unkept()
		}
		if err := g.forceKey(); err != nil {
			return nil, err
		}
	}
	g.prompt()
	if err := g.send(f, now); err != nil {
		return nil, err
	}
	if err := g.await(); err != nil {
		return nil, err
	}
	return g.next(), nil
}

// prompt finds out that an encoder does not keep pictures back any more.
func (g *engine) prompt() {
	switch {
	case g.hold == 0:
	case g.answered < g.n:
		g.prompts = 0
	default:
		if g.prompts++; g.prompts >= 8 {
			g.hold--
			g.prompts = 0
		}
	}
}

// imports tells whether the driver shall read f's picture where it lies.
func (g *engine) imports(f *media.Frame) bool {
	if g.copies || f.Memory != media.DMABUF || f.FD < 0 {
		return false
	}
	if s := g.s; s != nil && s.memory == memoryDMABUF {
		if s.layout.importable(f) {
			return true
		}
		g.copies = true
		return false
	}
	g.want.Memory, g.want.Stride = f.Memory, f.Stride
	return true
}

// send gives the driver a picture.
func (g *engine) send(f *media.Frame, now media.Time) error {
	s := g.s
	i, ok := s.freeRaw(f.FD)
	for ; !ok; i, ok = s.freeRaw(f.FD) {
		left := g.due.Sub(media.Now())
		if left <= 0 {
			return fmt.Errorf("%w: the driver keeps all its buffers for %v", hal.ErrStuck, g.deadline)
		}
		if _, err := s.ready(unix.POLLIN|unix.POLLOUT, left); err != nil {
			return err
		}
		if err := g.collect(); err != nil {
			return err
		}
	}
	if s.memory == memoryDMABUF {
		if !g.keep(i) {
			return errLost
		}
	} else if err := g.copy(i, f); err != nil {
		return err
	}
	g.tick(now)
	if e := s.giveRaw(i, f.FD, g.stamp*1000); e != 0 {
		g.home(i)
		if s.memory == memoryDMABUF {
			g.copies = true // the encoder cannot reach this memory
			g.log.Info("encoder cannot read pictures where they lie, they are copied", "device", g.name, "err", e)
			return fmt.Errorf("queue a picture: %w: %w", errOther, e)
		}
		return fmt.Errorf("queue a picture: %w", e)
	}
	if s.memory == memoryDMABUF {
		g.counts.imported.Add(1)
	} else {
		g.counts.copied.Add(1)
	}
	if g.n-g.answered >= uint64(len(g.sent)) {
		g.skip(g.answered + 1)
	}
	at := media.Now()
	*g.at(g.n) = picture{stamp: g.stamp * 1000, at: at, captured: now, marks: f.Marks, turn: f.Turn, raw: i}
	if g.n == 0 {
		g.begun, g.heard = at, at
	}
	g.n++
	return nil
}

// errOther says that it may work with other memory or other buffers.
var errOther = errors.New("it has to be opened otherwise")

// errLost ends a job that nobody waits for.
var errLost = errors.New("nobody waits for the picture")

// copy copies f's picture into buffer i, as long as somebody waits for it.
func (g *engine) copy(i int, f *media.Frame) error {
	g.t.mu.Lock()
	defer g.t.mu.Unlock()
	if g.t.lost {
		return errLost
	}
	return g.fill.fill(&g.s.layout, g.s.raw[i].pieces, f)
}

// tick makes the picture's time stamp: milliseconds that rise as capture times do. It is
// how a piece of stream finds its picture again, so it is coarse enough to survive
// a driver's own clock, and true enough for one that budgets its bits by it.
func (g *engine) tick(now media.Time) {
	gap := now.Sub(g.captured)
	if g.captured == 0 || gap <= 0 || gap > 10*time.Second {
		gap = g.want.Rate.Interval()
	}
	g.captured = now
	g.stamp += max(gap.Milliseconds(), 1)
}

// await waits until the driver has answered the picture that was sent last, less those
// that it keeps back, or until it is clear that it gives nothing for it.
func (g *engine) await() error {
	wait := min(max(3*g.took, 10*time.Millisecond), g.patience())
	for begun := media.Now(); g.answered+g.hold < g.n; {
		since := media.Now().Sub(begun)
		if left := wait - since; left > 0 {
			// Buffers of pictures are not waited for at first: each would wake us once more.
			events := int16(unix.POLLIN)
			if since >= g.patience()/2 {
				events |= unix.POLLOUT
			}
			if _, err := g.s.ready(events, left); err != nil {
				return err
			}
			if err := g.collect(); err != nil {
				return err
			}
			continue
		}
		if err := g.collect(); err != nil {
			return err
		}
		more, err := g.impatient(since)
		if err != nil || more <= 0 {
			return err
		}
		wait = since + more
	}
	return nil
}

// patience is how long a picture is waited for that the driver has taken and given back.
func (g *engine) patience() time.Duration {
	return min(max(4*g.took, g.want.Rate.Interval(), 30*time.Millisecond), g.deadline)
}

// impatient decides what to do when nothing has come for since: wait more, go on without,
// or give the encoder up.
func (g *engine) impatient(since time.Duration) (more time.Duration, err error) {
	now := media.Now()
	silent := now.Sub(g.heard)
	if !g.keyed {
		all := now.Sub(g.begun)
		switch {
		case all >= 4*g.deadline, all >= 2*g.deadline && silent >= all:
			return 0, fmt.Errorf("%w: no picture for %v after it was opened", hal.ErrStuck, all.Round(time.Millisecond))
		case since < primeWait:
			return primeWait - since, nil
		}
		return 0, nil // it wants more
	}
	if last := g.at(g.n - 1); !last.back && g.hold == 0 {
		left := g.due.Sub(now)
		switch {
		case g.heard > last.at && since >= g.patience():
			// It lives, and does not even give the picture back: it keeps some.
			g.hold = min(g.n-g.answered, mostHold)
			return 0, nil
		case left <= 0:
			return 0, fmt.Errorf("%w for %v: the driver has a picture and does not code it", hal.ErrStuck, g.deadline)
		}
		return left, nil
	}
	if now.Sub(g.spoke) >= 2*g.deadline && g.n-g.answered > 2+g.hold {
		return 0, fmt.Errorf("%w for %v: the driver takes pictures and gives nothing", hal.ErrStuck, now.Sub(g.spoke).Round(time.Millisecond))
	}
	if p := g.patience(); since < p {
		return p - since, nil
	}
	return 0, nil // it skipped the picture, or keeps it back
}

// next hands the oldest packet out; nil if there is none.
func (g *engine) next() *media.Packet {
	if len(g.ready) == 0 {
		return nil
	}
	p := g.ready[0]
	copy(g.ready, g.ready[1:])
	g.ready = g.ready[:len(g.ready)-1]
	return p
}
