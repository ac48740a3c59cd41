package v4l2

import (
	"context"
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"anchord/hal"
	"anchord/internal/media"
)

// within fails the test if f takes longer; f's error is checked by want.
func within(t *testing.T, what string, limit time.Duration, want error, f func() error) {
	t.Helper()
	begun := time.Now()
	err := f()
	if d := time.Since(begun); d > limit {
		t.Errorf("%s took %v", what, d)
	}
	if !errors.Is(err, want) {
		t.Errorf("%s: error %v, want %v", what, err, want)
	}
}

func (b *bench) fails(limit time.Duration, want error) {
	b.t.Helper()
	within(b.t.(*testing.T), "encode", limit, want, func() error {
		p, err := b.try(false)
		if p != nil {
			p.Release()
		}
		return err
	})
}

// sticks codes pictures until one is not coded any more.
func (b *bench) sticks() {
	b.t.Helper()
	for begun := time.Now(); ; {
		if _, err := b.try(false); err != nil {
			if !errors.Is(err, hal.ErrStuck) {
				b.t.Error(err)
			}
			return
		}
		if time.Since(begun) > most {
			b.t.Fatal("no error")
		}
	}
}

// awaitBack lets the requests that hang return, and waits until nothing is left of them.
func awaitBack(t *testing.T, c *chip, s *Encoders) {
	t.Helper()
	c.set(func() { clear(c.hangs) })
	close(c.release)
	soon(t, "back", func() bool { _, now := s.WrittenOff(); return now == 0 })
}

// most is generous: the deadline of these tests is 200 ms, and the machine may be busy.
const most = 3 * time.Second

func TestEncoderSticks(t *testing.T) {
	t.Run("amid pictures", func(t *testing.T) {
		b := newChip().bench(t, small)
		b.run("kdd")
		b.chip.set(func() { b.chip.stuck = true })
		b.fails(most, hal.ErrStuck)
		b.chip.set(func() { b.chip.stuck = false })
	})
	t.Run("from the first", func(t *testing.T) {
		c := newChip()
		c.stuck = true
		b := c.bench(t, small)
		b.sticks()
	})
	t.Run("taking pictures and giving nothing", func(t *testing.T) {
		b := newChip().bench(t, small)
		b.run("kdd")
		b.chip.set(func() { b.chip.shy = 1 << 20 })
		b.sticks()
	})
	t.Run("with a drain that never ends", func(t *testing.T) {
		c := newChip()
		c.lacks[cidForceKey], c.endless, c.holds = true, true, 1
		b := c.bench(t, small)
		b.run(".kd")
		b.next(true, '.') // opened anew instead
		b.run("kd")
		if f := b.enc.Faults(); f.Reopened != 1 {
			t.Errorf("%+v", f)
		}
	})
}

// Each request to the driver may never return, and everything goes on.
func TestEncoderRequestsThatNeverReturn(t *testing.T) {
	for _, name := range []string{"queue", "dequeue", "poll"} {
		t.Run(name, func(t *testing.T) {
			c := newChip()
			s := encoders(t, c)
			e, _, err := s.Open(t.Context(), small)
			if err != nil {
				t.Fatal(err)
			}
			b := &bench{t: t, chip: c, enc: e.(*encoder), input: small.Input, pool: media.NewFrames(small.Input, 2)}
			b.run("kd")
			c.set(func() { c.hangs[name] = true })
			b.fails(most, hal.ErrStuck)
			if b.pool.Out() != 0 {
				t.Error("the frame is kept")
			}
			b.fails(time.Second, hal.ErrStuck) // at once
			within(t, "set rate", time.Second, hal.ErrStuck, func() error { _, err := e.SetRate(5e5, media.FPS(30)); return err })
			if all, now := s.WrittenOff(); all != 1 || now != 1 {
				t.Errorf("written off: %d, %d", all, now)
			}
			// Nobody may touch the device as long as it hangs.
			opens := c.get(func() int { return c.opens })
			within(t, "open", time.Second, hal.ErrStuck, func() error { _, _, err := s.Open(t.Context(), small); return err })
			if n := c.get(func() int { return c.opens }); n != opens {
				t.Error("a device that hangs was opened")
			}
			within(t, "close", time.Second, hal.ErrStuck, e.Close)
			awaitBack(t, c, s)
			e, _, err = s.Open(t.Context(), small)
			if err != nil {
				t.Fatal(err)
			}
			e.Close()
		})
	}
	for _, name := range []string{"streamoff", "close"} {
		t.Run(name+" while it is closed", func(t *testing.T) {
			c := newChip()
			s := encoders(t, c)
			e, _, err := s.Open(t.Context(), small)
			if err != nil {
				t.Fatal(err)
			}
			c.set(func() { c.hangs[name] = true })
			within(t, "close", 2*time.Second, hal.ErrStuck, e.Close)
			if all, now := s.WrittenOff(); all != 1 || now != 1 {
				t.Errorf("written off: %d, %d", all, now)
			}
			if err := e.Close(); err != nil { // a second time
				t.Error(err)
			}
			awaitBack(t, c, s)
		})
	}
	t.Run("setControl", func(t *testing.T) {
		c := newChip()
		s := encoders(t, c)
		e, _, err := s.Open(t.Context(), small)
		if err != nil {
			t.Fatal(err)
		}
		c.set(func() { c.hangs["setControl"] = true })
		within(t, "set rate", most, hal.ErrStuck, func() error { _, err := e.SetRate(5e5, media.FPS(30)); return err })
		within(t, "close", time.Second, hal.ErrStuck, e.Close)
		awaitBack(t, c, s)
	})
	for _, name := range []string{"open", "capability", "setFormat", "streamon"} {
		t.Run(name+" while it is opened", func(t *testing.T) {
			c := newChip()
			s := encoders(t, c)
			if _, err := s.List(t.Context()); err != nil {
				t.Fatal(err)
			}
			c.hangs[name] = true
			within(t, "open", 5*time.Second, hal.ErrStuck, func() error { _, _, err := s.Open(t.Context(), small); return err })
			awaitBack(t, c, s)
		})
	}
	t.Run("open while it is looked at", func(t *testing.T) {
		c := newChip()
		s := encoders(t, c)
		c.hangs["open"] = true
		within(t, "list", 4*time.Second, nil, func() error {
			ds, err := s.List(t.Context())
			if len(ds) != 0 {
				t.Error(ds)
			}
			return err
		})
		within(t, "open", time.Second, hal.ErrStuck, func() error { _, _, err := s.Open(t.Context(), small); return err })
		awaitBack(t, c, s)
		if ds, err := s.List(t.Context()); len(ds) != 1 || err != nil {
			t.Error(ds, err)
		}
	})
	t.Run("context", func(t *testing.T) {
		c := newChip()
		s := encoders(t, c)
		if _, err := s.List(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.hangs["setFormat"] = true
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		within(t, "open", 2*time.Second, context.DeadlineExceeded, func() error { _, _, err := s.Open(ctx, small); return err })
		if all, now := s.WrittenOff(); all != 0 || now != 1 {
			t.Errorf("written off: %d, %d", all, now)
		}
		awaitBack(t, c, s)
	})
}

// dma makes frames that say they are DMA buffers, which the chip believes.
func dma(c hal.VideoConfig, n int) (hal.VideoConfig, []*media.Frame) {
	c.Memory, c.Stride = media.DMABUF, [3]int{c.Input.Size.W, c.Input.Size.W}
	frames := make([]*media.Frame, n)
	for i := range frames {
		f := media.NewFrame(nil)
		w, h := c.Input.Size.W, c.Input.Size.H
		b := make([]byte, w*h*3/2)
		f.Format, f.Planes, f.Stride = c.Input, [3][]byte{b[:w*h], b[w*h:]}, c.Stride
		f.Memory, f.FD = media.DMABUF, 100+i
		frames[i] = f
	}
	return c, frames
}

func TestEncoderImports(t *testing.T) {
	run := func(t *testing.T, c *chip, cfg hal.VideoConfig, frames []*media.Frame) hal.EncoderFaults {
		t.Helper()
		b := c.bench(t, cfg)
		for n := range 12 {
			f := frames[n%len(frames)]
			home := make(chan struct{}, 1)
			g := media.NewFrame(func(*media.Frame) { home <- struct{}{} })
			g.Format, g.Planes, g.Stride, g.Memory, g.FD, g.Offset = f.Format, f.Planes, f.Stride, f.Memory, f.FD, f.Offset
			g.Marks[media.Captured] = b.time(n)
			p, err := b.enc.Encode(g.Lend(), false)
			g.Release()
			if err != nil || p == nil {
				t.Fatal(p, err)
			}
			p.Release()
			select {
			case <-home:
			case <-time.After(5 * time.Second):
				t.Fatal("the frame is kept")
			}
		}
		return b.enc.Faults()
	}
	cfg, frames := dma(small, 3)
	t.Run("where they lie", func(t *testing.T) {
		c := newChip()
		if f := run(t, c, cfg, frames); f.Imported != 12 || f.Copied != 0 || f.Reopened != 0 {
			t.Errorf("%+v", f)
		}
	})
	t.Run("not expected", func(t *testing.T) {
		if f := run(t, newChip(), small, frames); f.Imported != 12 || f.Copied != 0 || f.Reopened != 1 {
			t.Errorf("%+v", f)
		}
	})
	for name, prepare := range map[string]func(c *chip){
		"refused":          func(c *chip) { c.noDMA = true },
		"refused later":    func(c *chip) { c.farDMA = true },
		"other lines":      func(c *chip) { c.stride = 512 },
		"more lines":       func(c *chip) { c.align = 64 },
		"planes of memory": func(c *chip) { c.raws = []uint32{fourccNM12} },
		"other format":     func(c *chip) { c.raws = []uint32{uint32(media.YU12)} },
	} {
		t.Run(name, func(t *testing.T) {
			c := newChip()
			prepare(c)
			if f := run(t, c, cfg, frames); f.Imported != 0 || f.Copied != 12 || f.Reopened > 1 {
				t.Errorf("%+v", f)
			}
		})
	}
	t.Run("planes far apart", func(t *testing.T) {
		_, odd := dma(small, 1)
		odd[0].Planes[1] = make([]byte, len(odd[0].Planes[1]))
		if f := run(t, newChip(), cfg, odd); f.Imported != 0 || f.Copied != 12 {
			t.Errorf("%+v", f)
		}
	})
	t.Run("memory changes", func(t *testing.T) {
		b := newChip().bench(t, cfg)
		b.run("kdd") // bytes, not DMA buffers
		if f := b.enc.Faults(); f.Copied != 3 || f.Reopened != 1 {
			t.Errorf("%+v", f)
		}
	})
	t.Run("a frame that the driver keeps comes home", func(t *testing.T) {
		for _, hang := range []bool{false, true} {
			c := newChip()
			s := encoders(t, c)
			e, _, err := s.Open(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			home := make(chan struct{})
			f := media.NewFrame(func(*media.Frame) { close(home) })
			f.Format, f.Planes, f.Stride, f.Memory, f.FD = frames[0].Format, frames[0].Planes, frames[0].Stride, media.DMABUF, 100
			c.set(func() { c.stuck = true; c.hangs["poll"] = hang })
			p, err := e.Encode(f.Lend(), true)
			f.Release()
			if p != nil || hang != errors.Is(err, hal.ErrStuck) {
				t.Error(p, err)
			}
			select {
			case <-home:
			case <-time.After(5 * time.Second):
				t.Error("the frame is kept")
			}
			c.set(func() { c.stuck = false })
			if hang {
				e.Close()
				awaitBack(t, c, s)
			} else if err := e.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestEncoderIsClosedClean(t *testing.T) {
	c := newChip()
	var last *seat
	s := encoders(t, c)
	s.node = func(p string) (coder, error) {
		x, err := c.openSeat(p)
		if err == nil {
			last = x.(*seat)
		}
		return x, err
	}
	for _, fail := range []string{"", "setFormat", "request", "query", "mmap", "queue", "streamon", "streamoff"} {
		if fail != "" {
			c.set(func() { c.fails[fail] = unix.EINVAL })
		}
		e, _, err := s.Open(t.Context(), small)
		if (err == nil) != (fail == "" || fail == "streamoff") {
			t.Errorf("%s: %v", fail, err)
		}
		if err == nil {
			err := e.Close()
			if (err == nil) != (fail == "") {
				t.Errorf("%s: close: %v", fail, err)
			}
		}
		if last.mapped != 0 || !last.closed {
			t.Errorf("%s: %d mappings are left, closed %v", fail, last.mapped, last.closed)
		}
		c.set(func() { clear(c.fails) })
	}
}
