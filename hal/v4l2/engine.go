package v4l2

import (
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"anchord/hal"
	"anchord/internal/media"
)

// engine codes pictures on an encoder's thread, and on nothing else, through as many
// sessions as it takes.
type engine struct {
	t        *thread
	log      *slog.Logger
	name     string // of the device, for messages
	open     func() (coder, error)
	quirk    *quirk
	stream   uint32 // fourcc of what it makes: H.264
	read     func(s *media.ParameterSets, dst, piece []byte) ([]byte, kind)
	deadline time.Duration
	limits   limits
	counts   counts

	owner  *media.Frame    // of the picture that is being coded; see encode
	want   hal.VideoConfig // as asked for
	size   uint32          // bytes of a buffer for the stream
	copies bool            // it cannot read pictures where they lie
	s      *session        // nil: not open

	// The pictures that the driver has, or has answered lately.
	sent     [64]picture
	n        uint64                    // pictures sent in this session; picture k is in sent[k%64]
	answered uint64                    // all before this one were answered, or never will be
	stamp    int64                     // milliseconds: the last picture's time stamp
	captured media.Time                // the last picture's capture time
	took     time.Duration             // that it takes to answer, lately
	due      media.Time                // when the picture that is being coded is overdue
	begun    media.Time                // when this session got its first picture
	heard    media.Time                // when the driver last gave a buffer back
	spoke    media.Time                // when that was a piece of stream
	hold     uint64                    // how many pictures it keeps back before it answers
	lates    int                       // pictures in a row that were answered only after the next was sent
	prompts  int                       // that were answered before
	held     [mostBuffers]*media.Frame // by buffer; guarded by t.mu

	sets    media.ParameterSets
	packets *media.Pool[*media.Packet]
	ready   []*media.Packet // coded and not handed out yet
	keyed   bool            // this session has given a key picture
	owed    bool            // a key picture is wanted
	asked   uint64          // pictures sent before the key picture was asked of the driver; 0: not asked
	deltas  bool            // a picture that should have been it was no key picture
	way     keyWay
	damaged int // pieces of stream in a row

	fill   filler
	meter  meter
	bits   int        // a second, that the driver was last told
	target int        // bits a second that are wanted, and that it would grant
	deaf   bool       // it ignores bit rates while it streams
	lied   bool       // it does not keep what it was opened with either
	rerate bool       // it has to be opened anew for another frame rate
	moved  media.Time // when it was last opened for another rate, by the pictures' clock
}

// picture is one that was sent to the driver.
type picture struct {
	stamp    int64      // microseconds, as the driver was told
	at       media.Time // when it was sent
	captured media.Time
	marks    media.Marks
	turn     media.Turn
	raw      int  // its buffer
	back     bool // the driver has given the buffer back
}

// keyWay is how a key picture is had.
type keyWay uint8

const (
	byControl keyWay = iota
	byRestart
	byReopen
)

// counts is hal.EncoderFaults, counted on one goroutine and read on others.
type counts struct {
	copied, imported, skipped, late, damaged, stamps, resets, reopened, ignored atomic.Uint64
}

func (c *counts) faults() hal.EncoderFaults {
	return hal.EncoderFaults{Copied: c.copied.Load(), Imported: c.imported.Load(), Skipped: c.skipped.Load(), Late: c.late.Load(),
		Damaged: c.damaged.Load(), Stamps: c.stamps.Load(), Resets: c.resets.Load(), Reopened: c.reopened.Load(), Ignored: c.ignored.Load()}
}

// limits are how long things may take that are done seldom.
type limits struct{ probe, open, close time.Duration }

// usualLimits suit real hardware: Close has to be back within a second, and a first opening
// may load firmware.
func usualLimits() limits { return limits{time.Second, 3 * time.Second, 900 * time.Millisecond} }

// drainLimit is how long an encoder may take to finish what it has.
const drainLimit = 200 * time.Millisecond

// begin opens a session for what is wanted; dma says that its pictures are DMA buffers.
func (g *engine) begin(dma bool) error {
	c, err := g.open()
	if err != nil {
		return err
	}
	s := &session{c: c, log: g.log, name: g.name, quirk: g.quirk, stream: g.stream}
	p := plan{VideoConfig: g.want, size: g.size, dma: dma}
	p.Bitrate = g.quirk.bits(g.target, g.want.Input.Size)
	err = s.setUp(p)
	if dma && (err != nil || !s.layout.sameLines(p.Stride)) {
		// It cannot take DMA buffers, or would look for lines where there are none.
		g.copies = true
		if err := s.close(); err != nil {
			return err
		}
		return g.begin(false)
	}
	if err != nil {
		return errors.Join(err, s.close())
	}
	g.s, g.n, g.answered, g.asked, g.keyed, g.deltas = s, 0, 0, 0, false, false
	g.lates, g.prompts, g.begun = 0, 0, 0
	g.sets = media.ParameterSets{}
	g.bits, g.target, g.rerate = s.bits, s.bits, false
	return nil
}

// end closes the session, after it has finished what it has.
func (g *engine) end() error {
	s := g.s
	if s == nil {
		return nil
	}
	g.s = nil
	var errs []error
	if s.rawOut() > 0 && !s.ended && g.keyed {
		// What comes now is too late for anybody, but some firmware does not survive being
		// stopped amid a picture (https://github.com/raspberrypi/firmware/issues/1464).
		if err := s.drain(drainLimit, s.giveCoded); err != nil {
			errs = append(errs, err)
		}
	}
	errs = append(errs, s.close())
	g.release()
	return errors.Join(errs...)
}

// reopen closes the session and opens another, which begins with a key picture.
func (g *engine) reopen(why string, dma bool) error {
	g.counts.reopened.Add(1)
	g.log.Info("encoder is opened anew", "device", g.name, "why", why)
	g.t.extend(g.limits.open + g.limits.close)
	if err := g.end(); err != nil {
		g.log.Debug("encoder closed badly", "device", g.name, "err", err)
	}
	if err := g.begin(dma); err != nil {
		return fmt.Errorf("open it anew (%s): %w", why, err)
	}
	g.t.extend(g.deadline)
	return nil
}

// release gives all frames back that the driver reads, or did.
func (g *engine) release() {
	g.t.mu.Lock()
	held := g.held
	clear(g.held[:])
	g.t.mu.Unlock()
	for _, f := range held {
		if f != nil {
			f.Release()
		}
	}
}

// keep retains the picture's frame for as long as the driver has buffer i; false when nobody
// waits for it any more, and it may be gone.
func (g *engine) keep(i int) bool {
	g.t.mu.Lock()
	defer g.t.mu.Unlock()
	if g.t.lost {
		return false
	}
	g.held[i] = g.owner.Retain()
	return true
}

// home notes that the driver has given buffer i back.
func (g *engine) home(i int) {
	g.t.mu.Lock()
	f := g.held[i]
	g.held[i] = nil
	g.t.mu.Unlock()
	if f != nil {
		f.Release()
	}
	for k := g.answered; k < g.n; k++ {
		if p := g.at(k); p.raw == i {
			p.back = true
		}
	}
}

func (g *engine) at(k uint64) *picture { return &g.sent[k%uint64(len(g.sent))] }

// forceKey asks the driver for a key picture in the next best way that it has not failed in.
func (g *engine) forceKey() error {
	s := g.s
	if g.way == byControl {
		if err := s.c.setControl(cidForceKey, 1); err == nil {
			g.asked = g.n
			return nil
		}
		g.way = byRestart
	}
	if g.way == byRestart {
		err := g.restart()
		if err == nil {
			g.counts.resets.Add(1)
			g.asked = g.n
			return nil
		}
		g.log.Debug("encoder cannot start its stream anew", "device", g.name, "err", err)
		g.way = byReopen
	}
	return g.reopen("a key picture is wanted", s.memory == memoryDMABUF)
}

// restart starts the stream anew, after the pictures that the driver still has.
func (g *engine) restart() error {
	if err := g.drain(); err != nil {
		return err
	}
	return g.s.restart()
}

// drain lets the driver finish the pictures that it may have.
func (g *engine) drain() error {
	if g.answered == g.n && g.s.rawOut() == 0 {
		return nil
	}
	g.t.extend(drainLimit + g.deadline)
	g.due = g.due.Add(drainLimit)
	return g.s.drain(drainLimit, g.take)
}

// unkept is called when a key picture that was asked for did not come.
func (g *engine) unkept() {
	if g.way < byReopen {
		g.way++
	}
	g.asked, g.deltas = 0, false
	g.log.Info("encoder gives no key picture when asked, another way is taken", "device", g.name, "way", g.way)
}

// String implements fmt.Stringer.
func (w keyWay) String() string {
	return [...]string{"by its control", "by starting the stream anew", "by opening it anew"}[w]
}

// mends tells whether opening the encoder anew may help.
func mends(err error) bool {
	return errors.Is(err, errOther) || errors.Is(err, errDamaged) || errors.Is(err, unix.EIO) || errors.Is(err, unix.EPIPE) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EPROTO)
}
