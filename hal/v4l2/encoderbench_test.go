package v4l2

import (
	"testing"

	"anchord/hal"
	"anchord/internal/media"
)

// canned makes an encoder whose pictures cost nothing, and frames for it.
func canned(t testing.TB, cfg hal.VideoConfig, prepare func(c *chip)) (*bench, []*media.Frame) {
	c := newChip()
	c.canned = append([]byte{0, 0, 0, 1, 0x41}, make([]byte, 6000)...)
	for i := range c.canned[5:] {
		c.canned[5+i] = byte(i) | 1
	}
	prepare(c)
	_, frames := dma(cfg, 4)
	if cfg.Memory == media.Bytes {
		pool := media.NewFrames(cfg.Input, len(frames))
		for i := range frames {
			frames[i] = pool.Get()
		}
	} else {
		for _, f := range frames {
			f.Lend()
		}
	}
	return c.bench(t, cfg), frames
}

func (b *bench) code(f *media.Frame) {
	f.Marks[media.Captured] = b.time(b.n)
	b.n++
	p, err := b.enc.Encode(f, false)
	if err != nil || p == nil {
		b.t.Fatal(p, err)
	}
	p.Release()
}

// paths are the ways in which a picture gets to an encoder.
func paths(size media.Size) map[string]struct {
	cfg     hal.VideoConfig
	prepare func(c *chip)
} {
	nv12, yu12 := config(media.NV12, size, 2e6), config(media.YU12, size, 2e6)
	imported, _ := dma(nv12, 0)
	return map[string]struct {
		cfg     hal.VideoConfig
		prepare func(c *chip)
	}{
		"copy":          {nv12, func(*chip) {}},
		"copy by lines": {nv12, func(c *chip) { c.stride = 4096 }},
		"convert":       {yu12, func(c *chip) { c.raws = c.raws[:1] }},
		"import":        {imported, func(c *chip) { c.align = 2 }},
	}
}

func TestEncoderAllocatesNothing(t *testing.T) {
	for name, x := range paths(media.Size{W: 320, H: 240}) {
		t.Run(name, func(t *testing.T) {
			b, frames := canned(t, x.cfg, x.prepare)
			for range 20 {
				b.code(frames[b.n%4])
			}
			if n := testing.AllocsPerRun(100, func() { b.code(frames[b.n%4]) }); n != 0 {
				t.Errorf("%v allocations a picture", n)
			}
		})
	}
}

// What a picture costs beside the driver's own work.
func BenchmarkEncoder(b *testing.B) {
	for name, x := range paths(media.Size{W: 1280, H: 720}) {
		b.Run(name, func(b *testing.B) {
			e, frames := canned(b, x.cfg, x.prepare)
			b.ReportAllocs()
			for b.Loop() {
				e.code(frames[e.n%4])
			}
			f := e.enc.Faults()
			b.ReportMetric(float64(f.Copied)/float64(f.Copied+f.Imported), "copies/op")
		})
	}
}
