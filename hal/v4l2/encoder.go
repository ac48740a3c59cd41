package v4l2

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"anchord/hal"
	"anchord/internal/media"
)

// encoder is hal.VideoEncoder on a device: it hands everything to a thread, and never waits
// longer for it than it said.
type encoder struct {
	make     *Encoders
	device   found
	t        *thread
	g        *engine // the thread's; here only what is safe
	input    media.Format
	deadline time.Duration
	closed   bool

	// A job's arguments and results: the thread's while it has the job.
	job struct {
		frame  *media.Frame // to be touched only under t.mu, while somebody waits
		shot   *media.Frame // what it says
		key    bool
		packet *media.Packet
		bits   int
		rate   media.Rate
		err    error
	}
	encode, setRate, end func()
}

// newEncoder makes the encoder of a device and its thread, and opens nothing.
func (s *Encoders) newEncoder(d found, c hal.VideoConfig) *encoder {
	e := &encoder{make: s, device: d, t: newThread(), input: c.Input, deadline: s.deadline}
	e.g = &engine{
		t: e.t, log: s.log, name: d.ID, quirk: &d.quirk, stream: s.stream, read: s.read,
		open:     func() (coder, error) { return s.openCoder(d) },
		limits:   s.limits,
		deadline: s.deadline * 9 / 10, // so that it is the one who says what is wrong
		want:     c, target: c.Bitrate, copies: s.copies,
		size: max(d.quirk.leastSize, 256<<10, uint32(c.Input.Size.Area()*3/4)),
		deaf: d.quirk.deaf, fill: newFiller(),
		packets: media.NewPackets(max(c.Input.Size.Area()/16, 4096), maxPackets),
		ready:   make([]*media.Packet, 0, mostReady),
	}
	j, g := &e.job, e.g
	j.shot = media.NewFrame(nil)
	e.encode = func() { j.packet, j.err = g.encode(j.frame, j.shot, j.key) }
	e.setRate = func() { j.bits, j.err = g.setRate(j.bits, j.rate) }
	e.end = func() { j.err = g.close() }
	e.t.after = g.idle
	e.t.bury = func() {
		// It came back after all. The job's packet is nobody's.
		if j.packet != nil {
			j.packet.Release()
		}
		if err := g.close(); err != nil {
			s.log.Debug("encoder that came back late closed badly", "device", d.ID, "err", err)
		}
		s.log.Info("encoder that had hung came back, and is closed", "device", d.ID)
	}
	return e
}

// close ends the engine for good.
func (g *engine) close() error {
	err := g.end()
	for p := g.next(); p != nil; p = g.next() {
		p.Release()
	}
	g.fill.conv.Close()
	return err
}

// start opens the device. After an error nothing is left of e.
func (e *encoder) start(ctx context.Context) error {
	j := &e.job
	lost := e.t.do(ctx, e.make.limits.open, func() { j.err = e.g.begin(e.g.want.Memory == media.DMABUF && !e.g.copies) })
	if lost != nil {
		e.lose(lost)
		return lost
	}
	if err := j.err; err != nil {
		return errors.Join(err, e.Close())
	}
	return nil
}

// Encode codes a picture; see hal.VideoEncoder. Errors wrap hal.ErrStuck when the device
// gave nothing for the deadline, hal.ErrGone when its driver went away.
func (e *encoder) Encode(f *media.Frame, key bool) (*media.Packet, error) {
	if e.closed {
		return nil, fmt.Errorf("encode picture: %s is closed: %w", e.device.ID, hal.ErrStopped)
	}
	if err := checkFrame(f, e.input); err != nil {
		return nil, fmt.Errorf("encode picture: %w", err)
	}
	j := &e.job
	if e.t.isLost() { // the job is not ours
		return nil, fmt.Errorf("encode picture on %s: %w", e.device.ID, errWrittenOff)
	}
	j.frame, j.key, j.packet, j.err = f, key, nil, nil
	j.shot.Format, j.shot.Planes, j.shot.Stride = f.Format, f.Planes, f.Stride
	j.shot.Memory, j.shot.FD, j.shot.Offset = f.Memory, f.FD, f.Offset
	j.shot.Turn, j.shot.Marks = f.Turn, f.Marks
	if err := e.t.do(context.Background(), e.deadline, e.encode); err != nil {
		e.lose(err)
		return nil, fmt.Errorf("encode picture on %s: %w", e.device.ID, err)
	}
	p, err := j.packet, j.err
	j.packet = nil
	if err != nil {
		return nil, fmt.Errorf("encode picture on %s: %w", e.device.ID, explainCoder(err))
	}
	return p, nil
}

// errWrittenOff is what follows the first request that never came back.
var errWrittenOff = fmt.Errorf("%w: a request to its driver never came back", hal.ErrStuck)

// SetRate changes bit rate and frame rate; see hal.VideoEncoder. That the driver keeps the
// bit rate is looked for in the stream; one that does not is opened anew for each that
// differs much, within the same stream.
func (e *encoder) SetRate(bitrate int, r media.Rate) (granted int, err error) {
	switch {
	case e.closed:
		return 0, fmt.Errorf("set bit rate: %s is closed: %w", e.device.ID, hal.ErrStopped)
	case bitrate <= 0:
		return 0, fmt.Errorf("set bit rate: %d is not positive", bitrate)
	case e.t.isLost():
		return 0, fmt.Errorf("set bit rate of %s: %w", e.device.ID, errWrittenOff)
	}
	j := &e.job
	j.bits, j.rate, j.err = bitrate, r, nil
	if err := e.t.do(context.Background(), e.deadline, e.setRate); err != nil {
		e.lose(err)
		return 0, fmt.Errorf("set bit rate of %s: %w", e.device.ID, err)
	}
	if j.err != nil {
		return j.bits, fmt.Errorf("set bit rate of %s to %d: %w", e.device.ID, bitrate, explainCoder(j.err))
	}
	return j.bits, nil
}

// Faults counts what the encoder did beside giving a picture for a picture.
func (e *encoder) Faults() hal.EncoderFaults { return e.g.counts.faults() }

// Close gives everything back within a second. A device whose driver does not let go is
// written off: the thread that hangs in it stays behind, and the error wraps hal.ErrStuck.
func (e *encoder) Close() error {
	if e.closed {
		return nil
	}
	e.closed = true
	if e.t.isLost() {
		return fmt.Errorf("close encoder %s: %w", e.device.ID, errWrittenOff)
	}
	j := &e.job
	if err := e.t.do(context.Background(), e.make.limits.close, e.end); err != nil {
		e.lose(err)
		return fmt.Errorf("close encoder %s: %w", e.device.ID, err)
	}
	e.t.end()
	if j.err != nil {
		return fmt.Errorf("close encoder %s: %w", e.device.ID, j.err)
	}
	return nil
}

// lose writes the thread off: nothing of the engine is touched any more but the frames that
// the driver reads, whose owners may wait for them.
func (e *encoder) lose(why error) {
	e.g.release()
	e.make.lose(e.device, e.t, why)
}

// explainCoder says what an encoder's error means.
func explainCoder(err error) error {
	err, done := explainAs("encoder", err)
	if !done && errors.Is(err, unix.ENOMEM) {
		return fmt.Errorf("%w: %w (the kernel has no contiguous memory left for it: give it more with cma= on its command line)", hal.ErrBusy, err)
	}
	return err
}
