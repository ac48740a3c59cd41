package v4l2

import (
	"errors"
	"fmt"
	"os"
	"time"

	v4l "github.com/vladimirvivien/go4vl/v4l2"
	"golang.org/x/sys/unix"

	"anchord/hal"
	"anchord/internal/media"
	"anchord/internal/run"
)

// errNotStarted says that Next was called before Start.
var errNotStarted = errors.New("it was not started")

// Next waits for a good frame, and requeues the bad ones.
func (c *camera) Next() (*media.Frame, error) {
	if c.wait == nil || c.slots == nil {
		return nil, fmt.Errorf("read camera %s: %w", c.device.Node, errNotStarted)
	}
	for {
		if err := c.dequeue(); err != nil {
			return nil, fmt.Errorf("read camera %s: %w", c.device.Node, err)
		}
		now := media.Now()
		if f := c.take(now); f != nil {
			c.last = now
			return f, nil
		}
		// A camera that sends nothing but rubbish is as stuck as a silent one.
		if now.Sub(c.last) > c.limit {
			return nil, fmt.Errorf("read camera %s: %w: only broken frames for %v", c.device.Node, hal.ErrStuck, c.limit)
		}
	}
}

// dequeue waits until deq is a filled buffer.
func (c *camera) dequeue() error {
	for {
		err := c.wait.Read(c.try)
		switch {
		case err == nil:
		case c.alarm.over():
			return hal.ErrStopped
		case errors.Is(err, os.ErrDeadlineExceeded):
			if c.try(0) {
				break // it had gone off before anybody asked for a frame
			}
			if err := c.rung(); err != nil {
				return err
			}
			continue
		default:
			// The poller saw an error and nothing else: the driver knows which.
			if !c.try(0) {
				c.deqErrno = unix.EIO
			}
		}
		if c.deqErrno != 0 {
			return c.failed("take a frame", c.deqErrno)
		}
		return nil
	}
}

// rung finds out why the alarm went off.
func (c *camera) rung() error {
	c.mu.Lock()
	refused, atHome := c.refused, c.atHome
	c.mu.Unlock()
	if refused != 0 {
		return c.failed("give a buffer back", refused)
	}
	now := media.Now()
	if atHome == 0 {
		c.last = now // it is the readers who keep the camera from going on
	}
	if now.Sub(c.last) >= c.limit {
		return fmt.Errorf("%w for %v", hal.ErrStuck, c.limit)
	}
	return c.arm(c.last)
}

// arm sets the alarm to the time at which the camera is stuck if its last frame came
// at t.
func (c *camera) arm(t media.Time) error {
	now := media.Now()
	c.armed = now
	err := c.alarm.set(time.Now().Add(t.Add(c.limit).Sub(now) + time.Millisecond))
	c.mu.Lock()
	refused := c.refused
	c.mu.Unlock()
	if refused != 0 {
		c.alarm.ring() // again: this may have been set over it
	}
	return err
}

// failed says what an errno means. A camera that is pulled shows it in many ways (EINVAL
// since the stream has ended, EIO, ENODEV) and some of them before it is marked as gone,
// so it gets a moment to be.
func (c *camera) failed(what string, e unix.Errno) error {
	err := fmt.Errorf("%s: %w", what, e)
	wait := run.Backoff{Base: 50 * time.Millisecond, Max: 50 * time.Millisecond}
	for try := range 6 {
		if e == unix.ENODEV || e == unix.ENXIO || !c.node.alive() {
			return fmt.Errorf("%w: %w", hal.ErrGone, err)
		}
		if wait.Wait(c.ctx, try, nil) != nil {
			return hal.ErrStopped
		}
	}
	return explain(err)
}

// taken notes that buffer i came from the driver; false when the driver did not have it: its
// frame may be in a reader's hands.
func (c *camera) taken(i uint32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if uint64(i) >= uint64(len(c.slots)) || c.slots[i].here {
		return false
	}
	c.slots[i].here = true
	c.atHome--
	return true
}

// take makes a frame of the buffer in deq; nil when it was not fit, and is with the
// driver again.
func (c *camera) take(now media.Time) *media.Frame {
	b := &c.deq
	if !c.taken(b.index) {
		c.broken.Add(1) // a driver that counts wrong; there is nothing to give back
		return nil
	}
	num, lost := c.clock.number(b.sequence)
	c.lost.Add(lost)
	s := &c.slots[b.index]
	fit := false
	switch {
	case b.flags&v4l.BufFlagError != 0 || uint64(b.bytesused) > uint64(len(s.bytes)):
		c.broken.Add(1)
	case !c.layout.fill(s.frame, s.bytes[:b.bytesused]):
		c.short.Add(1)
	default:
		fit = true
	}

	c.mu.Lock()
	if fit {
		c.out++
	} else {
		c.requeue(int(b.index))
	}
	c.mu.Unlock()
	if !fit {
		return nil
	}

	f := s.frame
	f.Seq, f.Turn, f.Marks = num, media.Turn{}, media.Marks{}
	stamp, ok := c.clock.captured(b, now)
	if !ok {
		c.stale.Add(1)
	}
	f.Marks[media.Captured], f.Marks[media.Arrived] = stamp, now
	if now.Sub(c.armed) > c.limit/2 {
		_ = c.arm(now) // on a file that was polled a moment ago; the alarm that is set stays
	}
	return f.Lend()
}
