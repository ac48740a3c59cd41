package v4l2

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"anchord/hal"
	"anchord/hal/haltest"
	"anchord/internal/media"
)

// encoders makes the finder of a machine whose only video node is the chip.
func encoders(t testing.TB, c *chip) *Encoders {
	t.Helper()
	m := newMachine(t)
	m.platform(t, "video0", "81:0", "fake-enc")
	s := NewEncoders(EncodersConfig{Dev: m.dev, Sys: m.sys, Deadline: 200 * time.Millisecond})
	s.limits = limits{300 * time.Millisecond, 400 * time.Millisecond, 300 * time.Millisecond}
	s.node = c.openSeat
	s.stat = func(string) (uint64, error) { return unix.Mkdev(videoMajor, 0), nil }
	t.Cleanup(func() {
		if n := c.get(func() int { return c.open }); n != 0 {
			t.Errorf("%d openings are left", n)
		}
	})
	return s
}

// bench is an opened encoder and pictures for it.
type bench struct {
	t     testing.TB
	chip  *chip
	enc   *encoder
	input media.Format
	n     int
	pool  *media.Pool[*media.Frame]
}

func config(pixel media.PixelFormat, size media.Size, bitrate int) hal.VideoConfig {
	f := media.Format{Pixel: pixel, Size: size}
	f.Colour = f.Colour.Guess(size)
	return hal.VideoConfig{Input: f, Rate: media.FPS(30), Bitrate: bitrate}
}

func (c *chip) bench(t testing.TB, cfg hal.VideoConfig) *bench {
	t.Helper()
	e, _, err := encoders(t, c).Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, chip: c, enc: e.(*encoder), input: cfg.Input, pool: media.NewFrames(cfg.Input, 3)}
	t.Cleanup(func() {
		if !b.enc.closed {
			if err := b.enc.Close(); err != nil {
				t.Error(err)
			}
		}
		if n := b.pool.Out(); n != 0 {
			t.Errorf("%d frames are kept", n)
		}
		if n := b.enc.g.packets.Out(); n != 0 {
			t.Errorf("%d packets are kept", n)
		}
	})
	return b
}

var small = config(media.NV12, media.Size{W: 320, H: 240}, 1e6)

func (b *bench) time(n int) media.Time {
	return media.Time(time.Hour).Add(time.Duration(n) * time.Second / 30)
}

// try codes the next picture.
func (b *bench) try(key bool) (*media.Packet, error) {
	f := b.pool.Get()
	f.Marks[media.Captured] = b.time(b.n)
	b.n++
	p, err := b.enc.Encode(f, key)
	f.Release()
	return p, err
}

// next codes the next picture, which must give what is told: 'k' a key picture, 'd'
// another, '.' nothing.
func (b *bench) next(key bool, want byte) {
	b.t.Helper()
	p, err := b.try(key)
	if err != nil {
		b.t.Fatalf("picture %d: %v", b.n-1, err)
	}
	got := byte('.')
	if p != nil {
		got = 'd'
		if p.Key {
			got = 'k'
			b.sound(p)
		}
		if p.Key != media.IsKey(p.Data) {
			b.t.Errorf("picture %d: key %v", b.n-1, p.Key)
		}
		p.Release()
	}
	if got != want {
		b.t.Errorf("picture %d gave %c, want %c", b.n-1, got, want)
	}
}

// sound checks that a key picture has its parameter sets in front.
func (b *bench) sound(p *media.Packet) {
	b.t.Helper()
	nal, rest := media.NextNAL(p.Data)
	second, _ := media.NextNAL(rest)
	if media.TypeOf(nal) != media.NALSPS || media.TypeOf(second) != media.NALPPS {
		b.t.Errorf("a key picture begins with NAL types %d %d", media.TypeOf(nal), media.TypeOf(second))
	}
	if s, err := media.ParseSPS(nal); err != nil || s.Size != b.input.Size {
		b.t.Errorf("SPS: %+v %v", s, err)
	}
}

// run codes pictures as a pattern says.
func (b *bench) run(pattern string) {
	b.t.Helper()
	for _, want := range []byte(pattern) {
		b.next(false, want)
	}
}

func TestEncoderConforms(t *testing.T) {
	for name, prepare := range map[string]func(c *chip){
		"ordinary":            func(*chip) {},
		"planes apart, NV12":  func(c *chip) { c.raws = []uint32{fourccNM12} },
		"planes apart, YU12":  func(c *chip) { c.raws = []uint32{fourccYM12} },
		"NV12 only":           func(c *chip) { c.raws = []uint32{uint32(media.NV12)} },
		"YU12 only":           func(c *chip) { c.raws = []uint32{uint32(media.YU12)} },
		"wide lines":          func(c *chip) { c.stride = 512 },
		"large blocks":        func(c *chip) { c.align = 64 },
		"headers once":        func(c *chip) { c.once = true },
		"headers apart, once": func(c *chip) { c.once, c.apart = true, true },
		"mangled stamps":      func(c *chip) { c.mangles = true },
		"no force control":    func(c *chip) { c.lacks[cidForceKey] = true },
		"no restart either": func(c *chip) {
			c.lacks[cidForceKey] = true
			c.fails["command"] = unix.ENOTTY
			c.keyless["restart"] = false
		},
		"deaf":                 func(c *chip) { c.deaf = true },
		"busy with a bit rate": func(c *chip) { c.busyRate = true },
	} {
		t.Run(name, func(t *testing.T) {
			c := newChip()
			prepare(c)
			haltest.Encoder(t, haltest.EncoderRig{Make: encoders(t, c), Paint: func(*media.Frame, int) {}, Obeys: true})
		})
	}
}

func TestEncoderGivesKeysWhenAsked(t *testing.T) {
	t.Run("by its control", func(t *testing.T) {
		b := newChip().bench(t, small)
		b.run("kdd")
		b.next(true, 'k')
		b.run("dd")
		if f := b.enc.Faults(); f.Resets != 0 || f.Reopened != 0 {
			t.Errorf("%+v", f)
		}
	})
	t.Run("by starting its stream anew", func(t *testing.T) {
		c := newChip()
		c.lacks[cidForceKey] = true
		b := c.bench(t, small)
		b.run("kdd")
		b.next(true, 'k')
		b.run("dd")
		if f := b.enc.Faults(); f.Resets != 1 || f.Reopened != 0 {
			t.Errorf("%+v", f)
		}
	})
	t.Run("the control lies", func(t *testing.T) {
		c := newChip()
		c.keyless["control"] = true
		b := c.bench(t, small)
		b.run("kdd")
		b.next(true, 'd')
		b.run("kdd") // the next one, by another way
		b.next(true, 'k')
		if f := b.enc.Faults(); f.Resets != 2 || f.Reopened != 0 {
			t.Errorf("%+v", f)
		}
	})
	t.Run("nothing but opening it anew helps", func(t *testing.T) {
		c := newChip()
		c.lacks[cidForceKey], c.keyless["restart"] = true, true
		b := c.bench(t, small)
		b.run("kdd")
		b.next(true, 'd')
		b.run("kdd")
		b.next(true, 'k')
		if f := b.enc.Faults(); f.Reopened != 2 {
			t.Errorf("%+v", f)
		}
	})
}

func TestEncoderAnswers(t *testing.T) {
	t.Run("fewer pictures than it is given", func(t *testing.T) {
		c := newChip()
		c.skips = 3
		b := c.bench(t, small)
		b.run("kd.dd.dd.")
		b.next(true, 'k')
		if f := b.enc.Faults(); f.Skipped < 2 || f.Stamps != 0 {
			t.Errorf("%+v", f)
		}
	})
	t.Run("with the right picture's time", func(t *testing.T) {
		for _, mangled := range []bool{false, true} {
			c := newChip()
			c.skips, c.mangles = 4, mangled
			b := c.bench(t, small)
			for n := range 40 {
				p, err := b.try(false)
				if err != nil {
					t.Fatal(err)
				}
				if p == nil {
					continue
				}
				if at := p.Marks[media.Captured]; at != b.time(n) {
					t.Errorf("mangled %v: picture %d has the time of %v", mangled, n, float64(at.Sub(b.time(0)))/float64(time.Second)*30)
				}
				p.Release()
			}
			if f := b.enc.Faults(); mangled != (f.Stamps > 0) {
				t.Errorf("%+v", f)
			}
		}
	})
	for _, raw := range []bool{false, true} {
		t.Run("late", func(t *testing.T) {
			c := newChip()
			c.holds, c.holdsRaw, c.least = 2, raw, 4
			b := c.bench(t, small)
			last := -1
			got := 0
			for n := range 30 {
				p, err := b.try(false)
				if err != nil {
					t.Fatal(err)
				}
				if p == nil {
					if n > 10 {
						t.Errorf("picture %d gave nothing", n)
					}
					continue
				}
				got++
				k := int(p.Marks[media.Captured].Sub(b.time(0)).Seconds()*30 + 0.5)
				if k != last+1 || n-k > 2 {
					t.Errorf("with picture %d came %d, after %d", n, k, last)
				}
				last = k
				p.Release()
			}
			if got < 25 {
				t.Errorf("%d of 30", got)
			}
			begun := time.Now()
			for range 20 {
				p, err := b.try(false)
				if err != nil || p == nil {
					t.Fatal(p, err)
				}
				p.Release()
			}
			if d := time.Since(begun); d > 2*time.Second { // it is not waited for each time
				t.Errorf("20 pictures in %v", d)
			}
		})
	}
	t.Run("after rubbish", func(t *testing.T) {
		c := newChip()
		c.garbage = true
		b := c.bench(t, small)
		b.run("kddd")
		if f := b.enc.Faults(); f.Damaged != 1 || f.Reopened != 0 {
			t.Errorf("%+v", f)
		}
	})
	t.Run("without memory of its own for the packet", func(t *testing.T) {
		b := newChip().bench(t, small)
		var kept []*media.Packet
		for {
			p, err := b.try(false)
			if err != nil {
				t.Fatal(err)
			}
			if p == nil {
				break
			}
			kept = append(kept, p)
		}
		before := bytes.Clone(kept[3].Data)
		b.run("..")
		for _, p := range kept[4:] {
			p.Release()
		}
		b.run("dd")
		if !bytes.Equal(before, kept[3].Data) {
			t.Error("a packet changed while it was out")
		}
		for _, p := range kept[:4] {
			p.Release()
		}
	})
}

func TestEncoderDamage(t *testing.T) {
	t.Run("one picture", func(t *testing.T) {
		b := newChip().bench(t, small)
		b.run("kdd")
		b.chip.set(func() { b.chip.broken = 1 })
		b.run(".kdd") // what follows a damaged picture cannot be decoded
		if f := b.enc.Faults(); f.Damaged != 1 || f.Reopened != 0 {
			t.Errorf("%+v", f)
		}
	})
	t.Run("three in a row double its buffers", func(t *testing.T) {
		b := newChip().bench(t, small)
		b.run("kdd")
		size := b.enc.g.size
		b.chip.set(func() { b.chip.broken = 3 })
		b.run("..kdd") // the third is coded again
		if f := b.enc.Faults(); f.Damaged != 3 || f.Reopened != 1 || b.enc.g.size != 2*size {
			t.Errorf("%+v, %d bytes", f, b.enc.g.size)
		}
	})
	t.Run("pictures in two pieces", func(t *testing.T) {
		c := newChip()
		c.split = 8000
		b := c.bench(t, small)
		p, err := b.try(false)
		if err != nil {
			t.Fatal(err)
		}
		if p != nil {
			p.Release()
		}
		b.chip.set(func() { b.chip.split = 0 })
		for range 4 {
			if p, err = b.try(false); err != nil {
				t.Fatal(err)
			}
			if p != nil {
				p.Release()
			}
		}
		if f := b.enc.Faults(); f.Damaged == 0 && f.Stamps == 0 {
			t.Errorf("%+v", f)
		}
	})
	t.Run("for ever", func(t *testing.T) {
		c := newChip()
		c.broken = 1 << 20
		b := c.bench(t, small)
		for range 100 {
			if _, err := b.try(false); err != nil {
				if !errors.Is(err, hal.ErrStuck) {
					t.Error(err)
				}
				return
			}
		}
		t.Error("100 damaged pictures and no error")
	})
	t.Run("requests fail, once", func(t *testing.T) {
		for _, name := range []string{"queue", "dequeue", "poll"} {
			b := newChip().bench(t, small)
			b.run("kdd")
			opens := b.chip.opens
			b.chip.set(func() { b.chip.fails[name] = unix.EIO })
			heal := b.enc.g.open
			b.enc.g.open = func() (coder, error) {
				b.chip.set(func() { clear(b.chip.fails) })
				return heal()
			}
			b.run("kdd")
			if f := b.enc.Faults(); f.Reopened != 1 || b.chip.opens != opens+1 {
				t.Errorf("%s: %+v", name, f)
			}
		}
	})
	t.Run("requests fail, always", func(t *testing.T) {
		b := newChip().bench(t, small)
		b.run("kdd")
		b.chip.set(func() { b.chip.fails["queue"] = unix.EIO })
		if _, err := b.try(false); !errors.Is(err, unix.EIO) {
			t.Error(err)
		}
		b.chip.set(func() { clear(b.chip.fails) })
		b.run("kd") // and it may be tried again
	})
	t.Run("it ends its stream by itself", func(t *testing.T) {
		c := newChip()
		c.ends = 3
		b := c.bench(t, small)
		b.run("kdd")
		got := ""
		for range 4 {
			p, err := b.try(false)
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case p == nil:
				got += "."
				continue
			case p.Key:
				got += "k"
			default:
				got += "d"
			}
			p.Release()
		}
		if got != ".kdd" && got != "kddd" {
			t.Error(got)
		}
	})
	t.Run("it goes away", func(t *testing.T) {
		b := newChip().bench(t, small)
		b.run("kdd")
		b.chip.set(func() {
			for _, n := range []string{"queue", "dequeue", "poll", "open", "streamoff"} {
				b.chip.fails[n] = unix.ENODEV
			}
		})
		if _, err := b.try(false); !errors.Is(err, hal.ErrGone) {
			t.Error(err)
		}
	})
}
