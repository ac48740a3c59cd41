package v4l2

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"anchord/hal"
	"anchord/internal/media"
)

// measure codes pictures for so many seconds of their own time and gives the bits of one.
func (b *bench) measure(seconds float64) int {
	b.t.Helper()
	bytes := 0
	n := int(30 * seconds)
	for range n {
		p, err := b.try(false)
		if err != nil {
			b.t.Fatal(err)
		}
		if p != nil {
			bytes += len(p.Data)
			p.Release()
		}
	}
	return 8 * bytes * 30 / n
}

func near(got, want int) bool { return got > want*85/100 && got < want*115/100 }

// A bit rate is right two seconds after it was asked for, on encoders that take it while they
// stream and on those that do not.
func TestEncoderFollowsBitrate(t *testing.T) {
	for name, x := range map[string]struct {
		prepare func(c *chip)
		want    hal.EncoderFaults // Ignored and Reopened
	}{
		"obeys":          {func(*chip) {}, hal.EncoderFaults{}},
		"ignores":        {func(c *chip) { c.deaf = true }, hal.EncoderFaults{Ignored: 1, Reopened: 2}},
		"known to":       {func(c *chip) { c.deaf, c.driver = true, "wave5-enc" }, hal.EncoderFaults{Reopened: 2}},
		"takes it later": {func(c *chip) { c.busyRate = true }, hal.EncoderFaults{}},
	} {
		t.Run(name, func(t *testing.T) {
			c := newChip()
			x.prepare(c)
			cfg := config(media.NV12, media.Size{W: 640, H: 360}, 1.5e6)
			b := c.bench(t, cfg)
			b.measure(3)
			for _, want := range []int{4e5, 1e6} {
				if g, err := b.enc.SetRate(want, media.FPS(30)); err != nil || g != want {
					t.Fatalf("granted %d: %v", g, err)
				}
				b.measure(2)
				if got := b.measure(2); !near(got, want) {
					t.Errorf("%d bit/s after two seconds, want %d", got, want)
				}
			}
			f := b.enc.Faults()
			if f.Ignored != x.want.Ignored || f.Reopened != x.want.Reopened {
				t.Errorf("%+v", f)
			}
		})
	}
}

func TestEncoderThatKeepsNoBitrate(t *testing.T) {
	c := newChip()
	c.liar = 3e6
	b := c.bench(t, config(media.NV12, media.Size{W: 640, H: 360}, 1.5e6))
	b.measure(3)
	for range 4 {
		for _, want := range []int{4e5, 1e6} {
			if _, err := b.enc.SetRate(want, media.FPS(30)); err != nil {
				t.Fatal(err)
			}
			b.measure(4)
		}
	}
	// It was opened anew once, which showed that it does not help.
	if f := b.enc.Faults(); f.Ignored != 2 || f.Reopened > 2 {
		t.Errorf("%+v", f)
	}
}

// A network whose estimate changes all the time costs no key pictures.
func TestEncoderAndManySmallSteps(t *testing.T) {
	for _, deaf := range []bool{false, true} {
		c := newChip()
		c.deaf = deaf
		b := c.bench(t, config(media.NV12, media.Size{W: 640, H: 360}, 1e6))
		b.measure(2)
		for k := range 100 {
			if _, err := b.enc.SetRate(1e6+k%7*8e3, media.FPS(30)); err != nil {
				t.Fatal(err)
			}
			b.measure(0.1)
		}
		if f := b.enc.Faults(); f.Reopened != 0 || f.Ignored != 0 {
			t.Errorf("deaf %v: %+v", deaf, f)
		}
		// Down in small steps and fast.
		for bits := int(1e6); bits > 2e5; bits -= 4e4 {
			if _, err := b.enc.SetRate(bits, media.FPS(30)); err != nil {
				t.Fatal(err)
			}
			b.measure(0.2)
		}
		b.measure(2)
		if got := b.measure(2); got > 3.2e5 {
			t.Errorf("deaf %v: %d bit/s in the end", deaf, got)
		}
		if f := b.enc.Faults(); f.Reopened > 5 {
			t.Errorf("deaf %v: %+v", deaf, f)
		}
	}
}

func TestEncoderFrameRate(t *testing.T) {
	c := newChip()
	b := c.bench(t, small)
	b.run("kdd")
	if _, err := b.enc.SetRate(1e6, media.FPS(15)); err != nil {
		t.Fatal(err)
	}
	b.run("dd")
	if f := b.enc.Faults(); f.Reopened != 0 {
		t.Errorf("%+v", f)
	}
	c.set(func() { c.fails["setInterval"] = unix.EBUSY })
	if _, err := b.enc.SetRate(1e6, media.FPS(30)); err != nil {
		t.Fatal(err)
	}
	c.set(func() { clear(c.fails) })
	b.run("kdd") // opened anew: its budget for a picture was twice what it may be
	if f := b.enc.Faults(); f.Reopened != 1 {
		t.Errorf("%+v", f)
	}
}

func TestEncoderWithoutBitrate(t *testing.T) {
	c := newChip()
	c.lacks[cidBitrate] = true
	b := c.bench(t, small)
	b.run("kd")
	if _, err := b.enc.SetRate(5e5, media.FPS(30)); !errors.Is(err, hal.ErrUnsupported) {
		t.Error(err)
	}
	b.run("dd")
}

func TestQuirks(t *testing.T) {
	open := func(t *testing.T, c *chip, cfg hal.VideoConfig) (hal.VideoConfig, *seat) {
		t.Helper()
		s := encoders(t, c)
		var last *seat
		s.node = func(p string) (coder, error) {
			x, err := c.openSeat(p)
			if err == nil {
				last = x.(*seat)
			}
			return x, err
		}
		e, g, err := s.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { e.Close() })
		for _, bits := range []int{1, 1e9} {
			got, err := e.SetRate(bits, media.FPS(30))
			if err != nil {
				t.Fatal(err)
			}
			switch q := quirkOf(c.driver); {
			case bits == 1 && q.leastBits != nil && got != q.leastBits(cfg.Input.Size),
				bits > 1 && q.mostBits > 0 && got > q.mostBits:
				t.Errorf("%s: asked for %d, granted %d", c.driver, bits, got)
			}
		}
		return g, last
	}
	for _, q := range quirks {
		if q.why == "" || q.driver == "" {
			t.Errorf("%+v says nothing of itself", q)
		}
		c := newChip()
		c.driver = q.driver
		cfg := config(media.NV12, media.Size{W: 640, H: 480}, 1000)
		cfg.Rate = media.FPS(5)
		g, s := open(t, c, cfg)
		if q.leastBits != nil && g.Bitrate != q.leastBits(cfg.Input.Size) {
			t.Errorf("%s: granted %d bit/s", q.driver, g.Bitrate)
		}
		if s.formats[codedSide].size[0] < q.leastSize {
			t.Errorf("%s: buffers of %d bytes", q.driver, s.formats[codedSide].size[0])
		}
		if fps := float64(s.den) / float64(s.num); fps < float64(q.leastFPS) {
			t.Errorf("%s: %v pictures a second", q.driver, fps)
		}
		if q.minQP > 0 && s.controls[cidMinQP] != q.minQP {
			t.Errorf("%s: QP %d", q.driver, s.controls[cidMinQP])
		}
	}
	t.Run("a level that is too low", func(t *testing.T) {
		c := newChip()
		c.minLevel = 11 // 4.0, for what needs 3.1
		b := c.bench(t, config(media.NV12, media.Size{W: 1280, H: 720}, 2e6))
		b.run("kd")
		if l := b.enc.g.s.level; l != 40 {
			t.Errorf("level %d", l)
		}
	})
	t.Run("no level is high enough", func(t *testing.T) {
		c := newChip()
		c.minLevel = 99
		if _, _, err := encoders(t, c).Open(t.Context(), small); !errors.Is(err, unix.ESRCH) {
			t.Error(err)
		}
	})
	t.Run("no memory", func(t *testing.T) {
		c := newChip()
		c.fails["request"] = unix.ENOMEM
		_, _, err := encoders(t, c).Open(t.Context(), small)
		if !errors.Is(err, unix.ENOMEM) || !errors.Is(err, hal.ErrBusy) {
			t.Error(err)
		}
	})
	t.Run("few buffers", func(t *testing.T) {
		c := newChip()
		c.most = 1
		c.bench(t, small).run("kdddd")
	})
	t.Run("many buffers", func(t *testing.T) {
		c := newChip()
		c.least = 6
		b := c.bench(t, small)
		b.run("kdd")
		if n := len(b.enc.g.s.raw); n < 7 {
			t.Errorf("%d buffers", n)
		}
	})
	t.Run("hardly any control", func(t *testing.T) {
		c := newChip()
		for _, id := range []uint32{cidRateControl, cidBitrateMode, cidBFrames, cidGOPSize, cidProfile, cidLevel, cidHeaderMode,
			cidRepeatHeader, cidPrependSets, cidMinQP, cidMaxQP, cidDelimiter, cidEntropy, cidTransform8x8, cidForceKey} {
			c.lacks[id] = true
		}
		b := c.bench(t, small)
		b.run("kdd")
		b.next(true, 'k')
	})
	t.Run("no crop", func(t *testing.T) {
		c := newChip()
		c.cropless, c.align = true, 16
		c.bench(t, config(media.NV12, media.Size{W: 320, H: 240}, 1e6)).run("kd") // nothing to crop
	})
}

func TestEncoderFindsAndRefuses(t *testing.T) {
	t.Run("ID", func(t *testing.T) {
		c := newChip()
		ds, err := encoders(t, c).List(t.Context())
		want := hal.Device{ID: "fake-enc-Fake_Encoder@platform-vivid.0", Name: "Fake Encoder", Port: "platform-vivid.0"}
		if err != nil || len(ds) != 1 {
			t.Fatal(ds, err)
		}
		want.Node = ds[0].Node
		if ds[0] != want {
			t.Errorf("%+v", ds[0])
		}
	})
	t.Run("not twice", func(t *testing.T) {
		c := newChip()
		s := encoders(t, c)
		for range 3 {
			if _, err := s.List(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if c.opens != 1 {
			t.Errorf("opened %d times", c.opens)
		}
	})
	for name, x := range map[string]struct {
		prepare func(c *chip, s *Encoders)
		want    error
	}{
		"a decoder":     {func(c *chip, _ *Encoders) { c.fourcc = uint32(media.NV12); c.raws = []uint32{uint32(media.H264)} }, hal.ErrUnsupported},
		"odd formats":   {func(c *chip, _ *Encoders) { c.raws = []uint32{1, 2, 3} }, hal.ErrUnsupported},
		"in use":        {func(c *chip, _ *Encoders) { c.fails["open"] = unix.EBUSY }, hal.ErrBusy},
		"not permitted": {func(c *chip, _ *Encoders) { c.fails["open"] = unix.EACCES }, hal.ErrDenied},
		"another one":   {func(_ *chip, s *Encoders) { s.device = "other" }, hal.ErrUnsupported},
		"no node":       {func(_ *chip, s *Encoders) { s.sys = t.TempDir() }, hal.ErrUnsupported},
		"another node":  {func(_ *chip, s *Encoders) { s.stat = func(string) (uint64, error) { return 7, nil } }, hal.ErrGone},
	} {
		t.Run(name, func(t *testing.T) {
			c := newChip()
			s := encoders(t, c)
			x.prepare(c, s)
			if _, _, err := s.Open(t.Context(), small); !errors.Is(err, x.want) {
				t.Error(err)
			}
		})
	}
	t.Run("by its ID", func(t *testing.T) {
		s := encoders(t, newChip())
		s.device = "fake-enc-Fake_Encoder@platform-vivid.0"
		e, _, err := s.Open(t.Context(), small)
		if err != nil {
			t.Fatal(err)
		}
		e.Close()
	})
}
