package v4l2

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	v4l "github.com/vladimirvivien/go4vl/v4l2"
	"golang.org/x/sys/unix"

	"anchord/hal"
	"anchord/internal/media"
)

// errStarted says that Start was called on a camera that streams.
var errStarted = errors.New("it streams already")

// Start sets format and rate, reads both back, and begins to stream. The granted rate is
// zero when the driver does not say. After an error the camera is as it was, and may be
// started in another mode.
func (c *camera) Start(ctx context.Context, m hal.Mode) (hal.Mode, error) {
	if c.slots != nil {
		return hal.Mode{}, fmt.Errorf("start camera %s: %w", c.device.Node, errStarted)
	}
	err := ctx.Err()
	if err != nil {
		err = fmt.Errorf("%w: %w", hal.ErrStopped, err)
	} else if err = c.start(ctx, m); err != nil {
		err = errors.Join(err, c.stop())
	}
	if err != nil {
		return hal.Mode{}, c.wrap(fmt.Sprintf("start %s %s on", m.Pixel, m.Size), err)
	}
	return c.granted, nil
}

func (c *camera) start(ctx context.Context, m hal.Mode) error {
	size, err := c.setFormat(m)
	if err != nil {
		return err
	}
	c.granted = hal.Mode{Pixel: c.layout.format.Pixel, Size: c.layout.format.Size}
	if c.granted.Rate, err = c.setRate(m.Rate); err != nil {
		return err
	}
	if err := c.mapBuffers(size); err != nil {
		return err
	}
	return c.run(ctx)
}

// setFormat gives the size of the image that the driver will write.
func (c *camera) setFormat(m hal.Mode) (int, error) {
	err := c.node.setPixFormat(v4l.PixFormat{
		Width: uint32(m.Size.W), Height: uint32(m.Size.H),
		PixelFormat: uint32(m.Pixel), Field: v4l.FieldNone,
	})
	if err != nil {
		return 0, fmt.Errorf("set the format: %w", err)
	}
	f, err := c.node.pixFormat()
	if err != nil {
		return 0, fmt.Errorf("read the format back: %w", err)
	}
	if c.layout, err = layoutOf(f); err != nil {
		return 0, err
	}
	return int(f.SizeImage), nil
}

// setRate asks for a rate and says what was granted. Many bridges know nothing of
// rates, which is no fault.
func (c *camera) setRate(want media.Rate) (media.Rate, error) {
	if want.Num > 0 && want.Den > 0 {
		p := v4l.StreamParam{Type: v4l.BufTypeVideoCapture}
		p.Capture.TimePerFrame = v4l.Fract{Numerator: uint32(want.Den), Denominator: uint32(want.Num)}
		if err := c.node.setParam(p); err != nil && !c.node.alive() {
			return media.Rate{}, fmt.Errorf("set the rate: %w", err)
		}
	}
	p, err := c.node.param()
	if err != nil {
		if !c.node.alive() {
			return media.Rate{}, fmt.Errorf("read the rate back: %w", err)
		}
		return media.Rate{}, nil
	}
	return rate(p.Capture.TimePerFrame), nil
}

func (c *camera) mapBuffers(size int) error {
	n, err := c.node.request(uint32(c.buffers))
	if err != nil {
		return fmt.Errorf("get buffers: %w", err)
	}
	c.slots = make([]slot, 0, min(n, 32)) // from here on stop has something to give back
	if n < 2 || n > 32 {
		return fmt.Errorf("get buffers: the driver has %d, 2 are needed to stream: %w", n, hal.ErrUnsupported)
	}
	for i := range n {
		var b buffer
		b.reset(i)
		if err := c.node.query(&b); err != nil {
			return fmt.Errorf("look at a buffer: %w", err)
		}
		if b.length > mostBytes || int(b.length) < max(c.layout.need, size) {
			return fmt.Errorf("the driver's buffers have %d bytes, %s needs %d: %w",
				b.length, c.layout.format, max(c.layout.need, size), hal.ErrUnsupported)
		}
		bytes, err := c.node.mmap(b.offset(), int(b.length))
		if err != nil {
			return fmt.Errorf("map a buffer: %w", err)
		}
		c.slots = append(c.slots, slot{bytes, media.NewFrame(func(*media.Frame) { c.back(int(i)) }), true})
	}
	return nil
}

// run queues the buffers and starts the stream. From then on the runtime's poller waits
// for frames, and the end of ctx ends the waiting.
func (c *camera) run(ctx context.Context) error {
	c.mu.Lock()
	c.on, c.atHome, c.refused = true, 0, 0
	for i := range c.slots {
		c.requeue(i)
	}
	refused := c.refused
	c.mu.Unlock()
	if refused != 0 {
		return fmt.Errorf("queue a buffer: %w", refused)
	}
	if err := c.node.stream(true); err != nil {
		return fmt.Errorf("start the stream: %w", err)
	}
	// A file that the poller knows cannot be started again after an error from here on,
	// and nothing that follows fails on a file that can be polled.
	f := c.node.file()
	var err error
	if c.wait, err = f.SyscallConn(); err != nil {
		return fmt.Errorf("wait for frames: %w", err)
	}
	c.alarm.f, c.ctx = f, ctx
	c.limit = max(2*time.Second, 4*c.granted.Rate.Interval())
	c.clock = clock{}
	c.last = media.Now()
	if err := c.arm(c.last); err != nil {
		return fmt.Errorf("wait for frames: %w", err)
	}
	c.try = func(uintptr) bool {
		for {
			c.deq.reset(0)
			if c.deqErrno = c.node.dequeue(&c.deq); c.deqErrno != unix.EINTR {
				return c.deqErrno != unix.EAGAIN
			}
		}
	}

	var ending sync.WaitGroup
	ending.Add(1)
	stop := context.AfterFunc(ctx, func() {
		defer ending.Done()
		c.alarm.end()
	})
	c.unhook = func() {
		if stop() {
			ending.Done()
			c.alarm.end()
		}
		ending.Wait()
	}
	return nil
}
