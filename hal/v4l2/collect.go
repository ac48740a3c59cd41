package v4l2

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"anchord/hal"
	"anchord/internal/media"
)

// maxPackets is how many may be out at a time: some seconds of a queue, what is resent
// and a recorder's.
const maxPackets = 128

// errDamaged says that too many pieces of stream in a row were damaged.
var errDamaged = errors.New("the driver's stream is damaged, or its buffers are too small")

// collect takes everything that the driver has done.
func (g *engine) collect() error {
	s := g.s
	for g.answered < g.n {
		i, e := s.takeCoded()
		if e == unix.EAGAIN {
			break
		}
		if e == unix.EPIPE {
			if err := g.resume(); err != nil {
				return err
			}
			break
		}
		if e != 0 {
			return fmt.Errorf("take a piece of stream: %w", e)
		}
		if err := g.take(i); err != nil {
			return err
		}
	}
	for s.rawOut() > 0 {
		i, e := s.takeRaw()
		if e == unix.EAGAIN {
			break
		}
		if e != 0 {
			return fmt.Errorf("take a picture's buffer back: %w", e)
		}
		g.heard = media.Now()
		g.home(i)
	}
	return nil
}

// resume starts a stream again that the driver has ended by itself.
func (g *engine) resume() error {
	g.counts.resets.Add(1)
	g.log.Info("encoder has ended its stream, it is started again", "device", g.name)
	if err := g.s.restart(); err != nil {
		return err
	}
	g.owed, g.asked = true, max(g.answered, 1) // it begins with a key picture
	return nil
}

// take reads what is in buffer i of the stream and gives it back to the driver.
func (g *engine) take(i int) error {
	s := g.s
	flags, stamp, data := s.arg.flags, s.arg.stamp, s.data()
	now := media.Now()
	g.heard = now
	var err error
	switch {
	case flags&flagError != 0:
		err = g.damage(stamp, now)
	case len(data) > 0: // else it has nothing to say but flagLast
		g.spoke = now
		err = g.piece(stamp, data, now)
	}
	return errors.Join(err, s.giveCoded(i))
}

// kind is what a piece of stream is.
type kind uint8

const (
	rubbish kind = iota
	headers      // parameter sets and such, no picture
	delta        // a picture that builds on others
	key          // one that does not, with parameter sets in front
	bare         // a key picture whose parameter sets were never seen
)

// h264 appends a piece of an H.264 stream to dst, as it is to be sent, and says what it is,
// by its NAL units: drivers' flags are wrong for some streams (wave5 flags HEVC's key
// pictures alone, https://github.com/torvalds/linux/blob/master/drivers/media/platform/chips-media/wave5/wave5-vpu-enc.c).
func h264(s *media.ParameterSets, dst, piece []byte) ([]byte, kind) {
	if len(piece) < 5 || piece[0] != 0 || piece[1] != 0 || piece[2] != 1 && (piece[2] != 0 || piece[3] != 1) {
		return dst, rubbish
	}
	switch out, isKey, usable := s.Append(dst, piece); {
	case isKey && usable:
		return out, key
	case isKey:
		return out, bare
	case usable:
		return out, delta
	}
	return dst, headers
}

// piece makes a packet of a piece of stream.
func (g *engine) piece(stamp int64, data []byte, now media.Time) error {
	p := g.packets.Get()
	if p == nil || len(g.ready) == cap(g.ready) {
		if p != nil {
			p.Release()
		}
		g.owed = true
		g.answer(g.find(stamp), now)
		return nil
	}
	var is kind
	p.Data, is = g.read(&g.sets, p.Data, data)
	p.Key = is == key
	switch {
	case is == headers:
		p.Release() // they are kept
		return nil
	case is == rubbish && !g.keyed:
		// Some drivers begin with a buffer that they have not filled
		// (https://github.com/pikvm/ustreamer/blob/master/src/ustreamer/m2m.c).
		g.counts.damaged.Add(1)
		p.Release()
		return nil
	case is == rubbish, is == bare, is == delta && !g.keyed, g.answered == g.n:
		// The last is one too many: the rest of one that did not fit into its buffer.
		p.Release()
		return g.damage(stamp, now)
	}
	k := g.find(stamp)
	from := g.at(k)
	p.Size, p.Turn, p.Marks = g.want.Input.Size, from.turn, from.marks
	p.Marks[media.Encoded] = now
	g.meter.add(from.captured, len(p.Data), p.Key)
	g.answer(k, now)
	if p.Key {
		if !g.keyed {
			g.inspect()
		}
		g.keyed, g.owed, g.asked, g.deltas = true, false, 0, false
	} else if g.owed && g.asked > 0 && k >= g.asked {
		g.deltas = true
	}
	g.damaged = 0
	g.ready = append(g.ready, p)
	return nil
}

// damage notes that a picture was not coded well: what follows builds on what the
// receivers do not have.
func (g *engine) damage(stamp int64, now media.Time) error {
	g.counts.damaged.Add(1)
	g.owed = true
	if g.answered < g.n {
		g.answer(g.find(stamp), now)
	}
	if g.damaged++; g.damaged < mostDamaged {
		return nil
	}
	g.damaged = 0
	if g.size >= mostCodedSize {
		return fmt.Errorf("%w: %s, also when they have %d bytes", hal.ErrStuck, errDamaged.Error(), g.size)
	}
	return errDamaged
}

// find finds the picture that a piece of stream with that time stamp answers. A stamp that
// is no picture's answers the newest that can be answered by now.
func (g *engine) find(stamp int64) uint64 {
	for k := g.answered; k < g.n; k++ {
		if d := g.at(k).stamp - stamp; d > -500 && d < 500 {
			return k
		}
	}
	g.counts.stamps.Add(1)
	return max(g.answered, g.n-min(g.n, 1+g.hold))
}

// answer notes that picture k was answered, and so that those before it never will be.
func (g *engine) answer(k uint64, now media.Time) {
	if k >= g.n {
		return
	}
	g.skip(k)
	took := now.Sub(g.at(k).at)
	if k+1+g.hold < g.n {
		if g.lates++; g.lates >= 3 && g.hold < mostHold {
			g.hold, g.lates = g.hold+1, 0
		}
	} else {
		g.lates = 0
		g.took += (took - g.took) / 8
		if g.took == 0 || took > 2*g.took {
			g.took = min(took, 200*time.Millisecond)
		}
	}
	g.answered = k + 1
}

// skip notes that pictures before k get no answer.
func (g *engine) skip(k uint64) {
	if k > g.answered {
		g.counts.skipped.Add(k - g.answered)
		g.answered = k
	}
}

// inspect compares what the stream says of itself with what was asked for.
func (g *engine) inspect() {
	s, err := media.ParseSPS(g.sets.SPS())
	if err != nil {
		return // not H.264, or beyond us
	}
	g.log.Debug("encoder's stream", "device", g.name, "profile", s.Profile, "constraints", s.Constraints, "level", s.Level, "size", s.Size)
	if s.Size != g.want.Input.Size {
		g.log.Warn("encoder's stream has another size than its pictures", "device", g.name, "size", g.want.Input.Size, "stream", s.Size)
	}
	if s.Profile != 66 && s.Constraints&0x80 == 0 {
		g.log.Warn("encoder's stream is not of the baseline profile, some receivers may not show it", "device", g.name, "profile", s.Profile)
	}
}

// idle is done between two pictures: a frame whose memory the driver reads is given back
// as soon as it can be, since its camera may wait for it.
func (g *engine) idle() (more bool) {
	s := g.s
	if s == nil || s.memory != memoryDMABUF || s.rawOut() == 0 {
		return false
	}
	if media.Now().Sub(g.at(g.n-1).at) >= g.deadline {
		// The memory stays the kernel's for as long as the driver has it, and what it
		// makes of other pixels is of no use to anybody.
		g.release()
		return false
	}
	if _, err := s.ready(unix.POLLOUT, 20*time.Millisecond); err != nil {
		return false // the next picture will see it
	}
	return g.collect() == nil
}
