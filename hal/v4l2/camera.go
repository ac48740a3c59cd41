package v4l2

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	v4l "github.com/vladimirvivien/go4vl/v4l2"
	"golang.org/x/sys/unix"

	"anchord/hal"
	"anchord/internal/media"
)

// camera is hal.Camera on one opened node.
type camera struct {
	node    node
	log     *slog.Logger
	device  hal.Device
	buffers int

	// Set by Start.
	granted hal.Mode
	layout  layout
	slots   []slot
	wait    syscall.RawConn
	alarm   alarm
	limit   time.Duration   // ErrStuck after so long without a frame
	ctx     context.Context // of Start: the life of the stream
	unhook  func()          // undoes what Start asked of ctx

	// Used by Next only.
	try      func(fd uintptr) bool // dequeues into deq; kept so that it is allocated once
	deq      buffer
	deqErrno unix.Errno
	clock    clock
	last     media.Time // when the last good frame came
	armed    media.Time // when the alarm was last set

	lost, broken, short, stale atomic.Uint64

	mu      sync.Mutex
	on      bool   // the driver takes buffers
	out     int    // frames with readers
	atHome  int    // buffers with the driver
	enq     buffer // argument of QBUF
	refused unix.Errno
	home    chan struct{} // closed when the last frame is home; nil until Close waits
}

// slot is one of the driver's buffers, mapped, and the frame that shows it.
type slot struct {
	bytes []byte
	frame *media.Frame
	here  bool // and not with the driver
}

// Faults counts frames that were lost, broken or too short, and those whose time
// stamp was replaced. It may be called at any time from any goroutine.
func (c *camera) Faults() hal.Faults {
	return hal.Faults{Lost: c.lost.Load(), Broken: c.broken.Load(), Short: c.short.Load(), Stale: c.stale.Load()}
}

// Close stops the stream, waits until all frames are home, and gives everything back:
// buffers that stay mapped keep the node's number in use after an unplug, so that
// the camera comes back under another.
func (c *camera) Close() error {
	err := c.stop()
	if e := c.node.close(); e != nil {
		err = errors.Join(err, e)
	}
	if err != nil {
		return fmt.Errorf("close camera %s: %w", c.device.Node, err)
	}
	return nil
}

// stop undoes Start as far as it came.
func (c *camera) stop() error {
	if c.unhook != nil {
		c.unhook()
		c.unhook = nil
	}
	c.mu.Lock()
	was := c.on
	c.on = false
	c.mu.Unlock()
	var errs []error
	if was {
		if err := c.node.stream(false); err != nil && c.node.alive() {
			errs = append(errs, fmt.Errorf("stop the stream: %w", err))
		}
	}
	c.awaitFrames()
	for _, s := range c.slots {
		if err := c.node.munmap(s.bytes); err != nil {
			errs = append(errs, fmt.Errorf("unmap a buffer: %w", err))
		}
	}
	if c.slots != nil {
		c.slots = nil
		if _, err := c.node.request(0); err != nil && c.node.alive() {
			errs = append(errs, fmt.Errorf("give the buffers back: %w", err))
		}
	}
	return errors.Join(errs...)
}

// awaitFrames waits until every reader has released its frames.
func (c *camera) awaitFrames() {
	c.mu.Lock()
	n := c.out
	home := make(chan struct{})
	if n > 0 {
		c.home = home
	}
	c.mu.Unlock()
	if n == 0 {
		return
	}
	t := time.NewTimer(2 * time.Second)
	defer t.Stop()
	select {
	case <-home:
	case <-t.C:
		c.log.Warn("camera cannot be closed: readers keep its frames", "node", c.device.Node, "frames", n)
		<-home
	}
}

// back takes a frame that its last reader has released, on that reader's goroutine, and
// queues its buffer again.
func (c *camera) back(i int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out--
	if c.on {
		c.requeue(i)
	}
	if c.out == 0 && c.home != nil {
		close(c.home)
		c.home = nil
	}
}

// requeue gives buffer i to the driver; mu is held. A driver that refuses it has lost
// its device or its mind: Next is woken to say so.
func (c *camera) requeue(i int) {
	c.enq.reset(uint32(i))
	if e := c.node.queue(&c.enq); e != 0 {
		c.refused = e
		c.alarm.ring()
		return
	}
	c.slots[i].here = false
	c.atHome++
}

// wrap names the camera in an error, after having found out whether it is gone: an
// unplugged camera gives all sorts of errors.
func (c *camera) wrap(verb string, err error) error {
	if errors.Is(err, v4l.ErrorSystem) || errors.Is(err, unix.EIO) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EPIPE) {
		if !c.node.alive() {
			err = fmt.Errorf("%w: %w", hal.ErrGone, err)
		}
	}
	return fmt.Errorf("%s camera %s: %w", verb, c.device.Node, explain(err))
}
