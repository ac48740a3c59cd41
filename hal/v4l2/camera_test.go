package v4l2

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v4l "github.com/vladimirvivien/go4vl/v4l2"
	"golang.org/x/sys/unix"

	"anchord/hal"
	"anchord/internal/media"
)

func next(t *testing.T, c hal.Camera) *media.Frame {
	t.Helper()
	f, err := c.Next()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFramesAreLentAndComeBack(t *testing.T) {
	d := newDriver()
	c, granted := started(t, d, yuyv)
	if granted != yuyv || c.limit != 2*time.Second {
		t.Errorf("granted %v, limit %v", granted, c.limit)
	}
	for i := range 20 {
		d.deliver(t, func(_ *buffer, b []byte) { b[0] = byte(i) })
		f := next(t, c)
		if f.Planes[0][0] != byte(i) || f.Seq != uint32(i) || f.Stride[0] != 128 || len(f.Planes[0]) != 128*48 {
			t.Fatalf("frame %d: seq %d, stride %v, %d bytes", i, f.Seq, f.Stride, len(f.Planes[0]))
		}
		if a, b := f.Marks[media.Captured], f.Marks[media.Arrived]; a == 0 || a > b {
			t.Fatalf("captured %d, arrived %d", a, b)
		}
		if len(d.queued) != 3 {
			t.Fatalf("%d buffers with the driver while one is lent", len(d.queued))
		}
		f.Release()
	}
	if len(d.queued) != 4 || c.Faults() != (hal.Faults{}) {
		t.Errorf("%d buffers with the driver, %+v", len(d.queued), c.Faults())
	}
}

func TestBadFramesAreCountedAndComeBack(t *testing.T) {
	jpeg := func(b *buffer, bytes []byte) { bytes[0], bytes[1], b.bytesused = 0xff, 0xd8, 500 }
	for _, tt := range []struct {
		name string
		mode hal.Mode
		good func(*buffer, []byte)
		bad  func(*buffer, []byte)
		want hal.Faults
	}{
		{"marked as broken", yuyv, nil, func(b *buffer, _ []byte) { b.flags |= v4l.BufFlagError }, hal.Faults{Broken: 1}},
		{"more than the buffer holds", yuyv, nil, func(b *buffer, _ []byte) { b.bytesused = 1 << 30 }, hal.Faults{Broken: 1}},
		{"more than there is", yuyv, nil, func(b *buffer, _ []byte) { b.bytesused = 1<<32 - 1 }, hal.Faults{Broken: 1}},
		{"a line is missing", yuyv, nil, func(b *buffer, _ []byte) { b.bytesused -= 128 }, hal.Faults{Short: 1}},
		{"empty", yuyv, nil, func(b *buffer, _ []byte) { b.bytesused = 0 }, hal.Faults{Short: 1}},
		{"no start of image", mjpg, jpeg, func(b *buffer, p []byte) { b.bytesused, p[0] = 500, 0 }, hal.Faults{Short: 1}},
		{"a stub", mjpg, jpeg, func(b *buffer, p []byte) { jpeg(b, p); b.bytesused = 127 }, hal.Faults{Short: 1}},
		{"gap", yuyv, nil, func(b *buffer, _ []byte) { b.flags |= v4l.BufFlagError; b.sequence += 3 }, hal.Faults{Lost: 3, Broken: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDriver()
			c, _ := started(t, d, tt.mode)
			d.deliver(t, tt.good)
			next(t, c).Release()
			d.deliver(t, tt.bad)
			if tt.want.Lost > 0 {
				d.sequence += 3
			}
			d.deliver(t, tt.good)
			next(t, c).Release()
			if diff := cmp.Diff(tt.want, c.Faults()); diff != "" {
				t.Error(diff)
			}
			if len(d.queued) != 4 {
				t.Errorf("%d of 4 buffers with the driver", len(d.queued))
			}
		})
	}
}

func TestAnotherIndexThanThereAre(t *testing.T) {
	d := newDriver()
	c, _ := started(t, d, yuyv)
	for _, i := range []uint32{99, 1 << 31, 1<<32 - 1} {
		d.deliver(t, func(b *buffer, _ []byte) { b.index = i })
	}
	d.deliver(t, nil)
	next(t, c).Release()
	if c.Faults().Broken != 3 {
		t.Errorf("%+v", c.Faults())
	}
}

// A driver that gives a buffer which it does not have: a reader looks at it.
func TestBufferThatIsOut(t *testing.T) {
	d := newDriver()
	c, _ := started(t, d, yuyv)
	d.deliver(t, func(_ *buffer, b []byte) { b[0] = 7 })
	f := next(t, c)
	for range 2 {
		d.deliver(t, func(b *buffer, _ []byte) { b.index, b.bytesused = 0, 1 })
	}
	d.deliver(t, nil)
	next(t, c).Release()
	if c.Faults() != (hal.Faults{Lost: 2, Broken: 2}) || f.Planes[0][0] != 7 || len(f.Planes[0]) != 128*48 {
		t.Errorf("%+v, the frame has %d bytes", c.Faults(), len(f.Planes[0]))
	}
	f.Release()
	if len(d.queued) != 2 {
		t.Errorf("%d buffers with the driver", len(d.queued))
	}
}

func TestErrorsOfNext(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault func(d *driver)
		want  error
		not   error
	}{
		{"ENODEV", func(d *driver) { d.set("dequeue", unix.ENODEV) }, hal.ErrGone, nil},
		{"ENXIO", func(d *driver) { d.set("dequeue", unix.ENXIO) }, hal.ErrGone, nil},
		{"EINVAL and gone", func(d *driver) { d.set("dequeue", unix.EINVAL); d.set("alive", unix.ENODEV) }, hal.ErrGone, nil},
		{"EIO and gone", func(d *driver) { d.set("dequeue", unix.EIO); d.set("alive", unix.ENODEV) }, hal.ErrGone, nil},
		{"EPIPE and gone", func(d *driver) { d.set("dequeue", unix.EPIPE); d.set("alive", unix.ENODEV) }, hal.ErrGone, nil},
		{"EINVAL, gone a little later", func(d *driver) {
			d.set("dequeue", unix.EINVAL)
			time.AfterFunc(30*time.Millisecond, func() { d.set("alive", unix.ENODEV) })
		}, hal.ErrGone, nil},
		{"EIO and there", func(d *driver) { d.set("dequeue", unix.EIO) }, unix.EIO, hal.ErrGone},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDriver()
			c, _ := started(t, d, yuyv)
			d.deliver(t, nil)
			kept := next(t, c)
			tt.fault(d)
			d.wake()
			_, err := c.Next()
			if errors.Is(err, unix.EIO) && !errors.Is(err, hal.ErrGone) && !strings.Contains(err.Error(), "cable") {
				t.Errorf("no word of what to do: %v", err)
			}
			if !errors.Is(err, tt.want) || tt.not != nil && errors.Is(err, tt.not) {
				t.Errorf("error %v", err)
			}
			kept.Release() // after the unplug
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			if d.mapped != 0 || d.closed != 1 {
				t.Errorf("%d mappings, closed %d times", d.mapped, d.closed)
			}
		})
	}
}

// The poller tells of an error without saying which: a hang-up of the pipe does it too.
func TestPollerErrorAsksTheDriver(t *testing.T) {
	d := newDriver()
	c, _ := started(t, d, yuyv)
	d.set("dequeue", unix.EINVAL)
	d.set("alive", unix.ENODEV)
	d.wr.Close()
	if _, err := c.Next(); !errors.Is(err, hal.ErrGone) {
		t.Error(err)
	}
}

func TestRefusedBufferWakesNext(t *testing.T) {
	d := newDriver()
	c, _ := started(t, d, yuyv)
	d.deliver(t, nil)
	f := next(t, c)
	got := make(chan error)
	go func() {
		_, err := c.Next()
		got <- err
	}()
	d.set("queue", unix.ENODEV)
	f.Release()
	if err := <-got; !errors.Is(err, hal.ErrGone) {
		t.Error(err)
	}
}

func TestStuck(t *testing.T) {
	for name, rubbish := range map[string]bool{"silent": false, "rubbish": true} {
		t.Run(name, func(t *testing.T) {
			d := newDriver()
			c, _ := started(t, d, yuyv)
			c.limit = 60 * time.Millisecond
			c.arm(c.last)
			if rubbish {
				for range 4 {
					d.deliver(t, func(b *buffer, _ []byte) { b.flags |= v4l.BufFlagError })
				}
				c.last -= media.Time(time.Second)
			}
			begun := time.Now()
			if _, err := c.Next(); !errors.Is(err, hal.ErrStuck) {
				t.Error(err)
			}
			if d := time.Since(begun); !rubbish && (d < 50*time.Millisecond || d > time.Second) {
				t.Errorf("noticed after %v", d)
			}
		})
	}
}

// A late frame moves the alarm, so that no camera is called stuck that is only slow.
func TestNotStuckBeforeItsTime(t *testing.T) {
	d := newDriver()
	c, _ := started(t, d, yuyv)
	c.limit = 500 * time.Millisecond // far from the frames' interval: the machine may be busy
	c.arm(c.last)
	for range 4 {
		time.AfterFunc(150*time.Millisecond, func() { d.deliver(t, nil) })
		next(t, c).Release()
	}
}

// Readers who hold every buffer do not make the camera stuck.
func TestReadersWithAllBuffersAreNotTheCamerasFault(t *testing.T) {
	d := newDriver()
	c, _ := started(t, d, yuyv)
	c.limit = 30 * time.Millisecond
	c.arm(c.last)
	var kept []*media.Frame
	for range 4 {
		d.deliver(t, nil)
		kept = append(kept, next(t, c))
	}
	time.AfterFunc(120*time.Millisecond, func() {
		for _, f := range kept {
			f.Release()
		}
		d.deliver(t, nil)
	})
	next(t, c).Release()
}

// Frames and errors that were there when Next was called late are not hidden by the alarm
// that went off in between.
func TestLateReader(t *testing.T) {
	d := newDriver()
	c, _ := started(t, d, yuyv)
	c.limit = 10 * time.Millisecond
	c.arm(c.last)
	d.deliver(t, nil)
	d.deliver(t, nil)
	time.Sleep(30 * time.Millisecond)
	next(t, c).Release()
	next(t, c).Release()
	d.set("dequeue", unix.ENODEV)
	time.Sleep(30 * time.Millisecond)
	if _, err := c.Next(); !errors.Is(err, hal.ErrGone) {
		t.Error(err)
	}
}

func TestContextEndsTheStream(t *testing.T) {
	d := newDriver()
	c := &camera{node: d, log: New(Config{}).log, buffers: 4}
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := c.Start(ctx, yuyv); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(20*time.Millisecond, cancel)
	for range 2 { // and it stays so
		if _, err := c.Next(); !errors.Is(err, hal.ErrStopped) {
			t.Error(err)
		}
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func TestCloseWaitsForFrames(t *testing.T) {
	d := newDriver()
	c, _ := started(t, d, yuyv)
	d.deliver(t, nil)
	f := next(t, c)
	g := f.Retain()
	closed := make(chan error)
	go func() { closed <- c.Close() }()
	soon(t, "stopped", func() bool { d.mu.Lock(); defer d.mu.Unlock(); return !d.streams })
	f.Release()
	select {
	case <-closed:
		t.Fatal("closed under a reader")
	case <-time.After(20 * time.Millisecond):
	}
	if d.mapped != 4 {
		t.Error("unmapped under a reader")
	}
	g.Release()
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if d.mapped != 0 || d.closed != 1 || len(d.bufs) != 0 || len(d.queued) != 0 {
		t.Errorf("%d mappings, closed %d times, %d buffers, %d queued", d.mapped, d.closed, len(d.bufs), len(d.queued))
	}
}

func TestErrorsOfStart(t *testing.T) {
	for _, tt := range []struct {
		at   string
		err  error
		want error
		says string
	}{
		{"setPixFormat", unix.EBUSY, hal.ErrBusy, "close the other program"},
		{"setPixFormat", v4l.ErrorBadArgument, v4l.ErrorBadArgument, "set the format"},
		{"pixFormat", v4l.ErrorSystem, v4l.ErrorSystem, "read the format back"},
		{"request", unix.EBUSY, hal.ErrBusy, "get buffers"},
		{"query", unix.EINVAL, unix.EINVAL, "look at a buffer"},
		{"mmap", unix.ENOMEM, unix.ENOMEM, "map a buffer"},
		{"queue", unix.EIO, unix.EIO, "queue a buffer"},
		{"stream", unix.ENOSPC, unix.ENOSPC, "the USB bus has no room"},
		{"stream", unix.EBUSY, hal.ErrBusy, "start the stream"},
		{"stream", unix.ENODEV, hal.ErrGone, "start the stream"},
		{"stream", unix.EPROTO, unix.EPROTO, "start the stream"},
	} {
		t.Run(tt.at+" "+tt.err.Error(), func(t *testing.T) {
			d := newDriver()
			d.errs[tt.at] = tt.err
			c := &camera{node: d, log: New(Config{}).log, device: hal.Device{Node: "/dev/video0"}, buffers: 4}
			_, err := c.Start(t.Context(), yuyv)
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.says) ||
				!strings.HasPrefix(err.Error(), "start YUYV 64x48 on camera /dev/video0: ") {
				t.Errorf("error %v", err)
			}
			if d.mapped != 0 || len(d.bufs) != 0 || d.streams {
				t.Errorf("%d mappings, %d buffers left", d.mapped, len(d.bufs))
			}
			if tt.want == hal.ErrGone {
				return
			}
			delete(d.errs, tt.at)
			d.queued = nil
			if _, err := c.Start(t.Context(), yuyv); err != nil {
				t.Errorf("second try: %v", err)
			}
			if err := c.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestStartTwiceAndNextBefore(t *testing.T) {
	d := newDriver()
	c := &camera{node: d, log: New(Config{}).log, buffers: 4}
	if _, err := c.Next(); !errors.Is(err, errNotStarted) {
		t.Error(err)
	}
	if err := (&camera{node: newDriver()}).Close(); err != nil {
		t.Error("close without start:", err)
	}
	if _, err := c.Start(t.Context(), yuyv); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Start(t.Context(), yuyv); !errors.Is(err, errStarted) {
		t.Error(err)
	}
	if !d.streams || d.mapped != 4 {
		t.Error("the second start hurt the first")
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func TestDriverThatKnowsNoRates(t *testing.T) {
	d := newDriver()
	d.errs["param"], d.errs["setParam"] = v4l.ErrorUnsupported, v4l.ErrorUnsupported
	d.errs["alive"] = nil
	_, granted := started(t, d, yuyv)
	if granted.Rate != (media.Rate{}) {
		t.Errorf("granted %v", granted.Rate)
	}
}

func TestDriverWithTooFewBuffers(t *testing.T) {
	d := newDriver()
	d.count = 1
	c := &camera{node: d, log: New(Config{}).log, buffers: 4}
	if _, err := c.Start(t.Context(), yuyv); !errors.Is(err, hal.ErrUnsupported) {
		t.Error(err)
	}
	c.Close()
}

func TestNextAllocatesNothing(t *testing.T) {
	d := newDriver()
	c, _ := started(t, d, yuyv)
	d.calls = make([]string, 0, 1<<16)
	d.done, d.queued = make([]buffer, 0, 1<<12), append(make([]uint32, 0, 1<<16), d.queued...)
	n := testing.AllocsPerRun(500, func() {
		d.done = d.done[:0:cap(d.done)]
		d.deliver(t, nil)
		next(t, c).Release()
	})
	if n > 0 {
		t.Errorf("%v allocations a frame", n)
	}
}
