package openh264

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"anchord/hal"
	"anchord/hal/openh264/decode"
	"anchord/internal/media"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func config(s media.Size, bitrate int) hal.VideoConfig {
	return hal.VideoConfig{Input: media.Format{Pixel: media.YU12, Size: s}, Rate: media.FPS(30), Bitrate: bitrate}
}

func open(t testing.TB, c hal.VideoConfig) hal.VideoEncoder {
	t.Helper()
	e, _, err := New(Config{}).Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

func decoder(t testing.TB) *decode.Decoder {
	t.Helper()
	d, err := decode.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

// film makes the pictures of a test: shapes that move, with as much noise as is told.
type film struct {
	f     *media.Frame
	k     int
	noise int
	seed  uint32
}

func newFilm(s media.Size, noise int) *film {
	f := media.NewFrame(nil)
	media.Layout(f, media.Format{Pixel: media.YU12, Size: s})
	return &film{f: f, noise: noise, seed: 1}
}

// next draws the next picture, stamped 33 ms after the last.
func (m *film) next() *media.Frame {
	w, h := m.f.Size.W, m.f.Size.H
	for y := range h {
		line := m.f.Planes[0][y*m.f.Stride[0]:][:w]
		for x := range line {
			v := 60 + (x+2*m.k)*100/w + y*60/h
			if abs(x-(20+5*m.k)%w) < w/12 && abs(y-h/2) < h/6 {
				v = 220 - v/2
			}
			if m.noise > 0 {
				m.seed = m.seed*1664525 + 1013904223
				v += int(m.seed>>16)%(2*m.noise+1) - m.noise
			}
			line[x] = byte(min(max(v, 16), 235))
		}
	}
	for i := 1; i < 3; i++ {
		for y := range h / 2 {
			line := m.f.Planes[i][y*m.f.Stride[i]:][:w/2]
			for x := range line {
				line[x] = byte(100 + 50*(x*i+y*(3-i)+m.k)/(w+h))
			}
		}
	}
	m.k++
	m.f.Marks[media.Captured] += media.Time(33333 * time.Microsecond)
	return m.f
}

func abs(n int) int { return max(n, -n) }

// psnr is the likeness of two pictures' luma in dB.
func psnr(a, b *media.Frame) float64 {
	var sum float64
	for y := range a.Size.H {
		for x := range a.Size.W {
			d := float64(a.Planes[0][y*a.Stride[0]+x]) - float64(b.Planes[0][y*b.Stride[0]+x])
			sum += d * d
		}
	}
	return 10 * math.Log10(255*255*float64(a.Size.Area())/max(sum, 1))
}

func types(au []byte) (out []media.NALType) {
	for nal, rest := media.NextNAL(au); len(nal) > 0; nal, rest = media.NextNAL(rest) {
		out = append(out, media.TypeOf(nal))
	}
	return out
}

func TestPicturesComeBack(t *testing.T) {
	for _, s := range []media.Size{
		{W: 16, H: 16}, {W: 18, H: 34}, {W: 64, H: 48}, {W: 128, H: 96}, {W: 176, H: 144}, {W: 320, H: 180},
		{W: 320, H: 240}, {W: 360, H: 640}, {W: 426, H: 240}, {W: 480, H: 270}, {W: 640, H: 360}, {W: 640, H: 480},
		{W: 854, H: 480}, {W: 960, H: 540}, {W: 1280, H: 720}, {W: 1366, H: 768}, {W: 1920, H: 1080}, {W: 1080, H: 1920},
	} {
		t.Run(s.String(), func(t *testing.T) {
			e, d, m := open(t, config(s, 400e3+3*s.Area())), decoder(t), newFilm(s, 0)
			m.f.Turn = media.Turn{Rotation: media.Rotate90}
			out := media.NewFrame(nil)
			for k := range 4 {
				in := m.next()
				p, err := e.Encode(in, false)
				if err != nil || p == nil {
					t.Fatalf("picture %d: %v %v", k, p, err)
				}
				if p.Key != (k == 0) || p.Size != s || p.Turn != in.Turn ||
					p.Marks[media.Captured] != in.Marks[media.Captured] || p.Marks[media.Encoded] == 0 {
					t.Errorf("picture %d says %+v", k, p)
				}
				if !bytes.HasPrefix(p.Data, []byte{0, 0, 0, 1}) {
					t.Errorf("picture %d begins with % x", k, p.Data[:4])
				}
				ok, err := d.Decode(p.Data, out)
				if err != nil || !ok {
					t.Fatalf("picture %d is not decoded: %v", k, err)
				}
				if out.Size != s {
					t.Fatalf("decoded %s", out.Size)
				}
				if q := psnr(in, out); q < 35 {
					t.Errorf("picture %d: %.1f dB", k, q)
				}
				p.Release()
			}
		})
	}
}

func TestThreadsMakeSlices(t *testing.T) {
	for n := 1; n <= 4; n++ {
		c := config(media.Size{W: 640, H: 368}, 1e6)
		c.Threads = n
		e, got, err := New(Config{}).Open(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		d, m, out := decoder(t), newFilm(c.Input.Size, 3), media.NewFrame(nil)
		for range 5 {
			in := m.next()
			p, err := e.Encode(in, false)
			if err != nil || p == nil {
				t.Fatal(p, err)
			}
			slices := 0
			for _, k := range types(p.Data) {
				if k == media.NALSlice || k == media.NALIDR {
					slices++
				}
			}
			if got.Threads != n || slices != n {
				t.Errorf("%d threads: granted %d, %d slices", n, got.Threads, slices)
			}
			if ok, err := d.Decode(p.Data, out); !ok || err != nil || psnr(in, out) < 33 {
				t.Errorf("%d threads: %v %v", n, ok, err)
			}
			p.Release()
		}
	}
}

func TestKeyComesWithTheVeryPicture(t *testing.T) {
	s := media.Size{W: 320, H: 240}
	e, m := open(t, config(s, 300e3)), newFilm(s, 10)
	for k := range 60 {
		key := k == 20 || k == 21 || k == 45
		p, err := e.Encode(m.next(), key)
		if err != nil {
			t.Fatal(err)
		}
		if p == nil {
			if key {
				t.Errorf("key picture %d was skipped", k)
			}
			continue
		}
		want := key || k == 0
		if p.Key != want {
			t.Errorf("picture %d: key is %v", k, p.Key)
		}
		if got := types(p.Data); want && (len(got) != 3 || got[0] != media.NALSPS || got[1] != media.NALPPS || got[2] != media.NALIDR) {
			t.Errorf("key picture %d has %v", k, got)
		}
		if want { // a decoder that joins here sees something
			d := decoder(t)
			if ok, err := d.Decode(p.Data, media.NewFrame(nil)); !ok || err != nil {
				t.Errorf("key picture %d: %v %v", k, ok, err)
			}
		}
		p.Release()
	}
}

func TestBitrateIsFollowedWithinASecond(t *testing.T) {
	s := media.Size{W: 640, H: 360}
	e, m := open(t, config(s, 1e6)), newFilm(s, 6)
	second := func() (bits, skipped int) {
		for range 30 {
			p, err := e.Encode(m.next(), false)
			if err != nil {
				t.Fatal(err)
			}
			if p == nil {
				skipped++
				continue
			}
			bits += 8 * len(p.Data)
			p.Release()
		}
		return bits, skipped
	}
	for _, want := range []int{1000e3, 2500e3, 700e3, 1500e3, 800e3, 3000e3} {
		granted, err := e.SetRate(want, media.FPS(30))
		if err != nil || granted != want {
			t.Fatalf("asked %d, granted %d: %v", want, granted, err)
		}
		first, s1 := second()
		got, s2 := second()
		t.Logf("%d: %d then %d, skipped %d then %d", want, first, got, s1, s2)
		if got < want*7/10 || got > want*12/10 {
			t.Errorf("%d bits in the second after the first, want %d", got, want)
		}
	}
}

func TestRatesAreClipped(t *testing.T) {
	s := media.Size{W: 320, H: 240}
	e := open(t, config(s, 500e3))
	for _, x := range []struct {
		bits, want int
		r          media.Rate
	}{
		{1, minBitrate, media.FPS(30)},
		{1 << 30, 2e6, media.FPS(15)}, // level 1.3
		{300e3, 300e3, media.FPS(1000)},
		{300e3, 300e3, media.Rate{}},
		{300e3, 300e3, media.Rate{Num: 1, Den: 100}},
		{300e3, 300e3, media.Rate{Num: 30000, Den: 1001}},
	} {
		got, err := e.SetRate(x.bits, x.r)
		if err != nil || got != x.want {
			t.Errorf("%+v: %d %v", x, got, err)
		}
	}
	for _, bad := range []int{0, -1} {
		if got, err := e.SetRate(bad, media.FPS(30)); err == nil || got != 300e3 {
			t.Errorf("%d: %d %v", bad, got, err)
		}
	}
	if p, err := e.Encode(newFilm(s, 0).next(), false); err != nil || p == nil {
		t.Errorf("after all that: %v", err)
	}
}

func TestParameterSetSaysWhatWasAsked(t *testing.T) {
	bt709 := media.Colour{Primaries: 1, Transfer: 1, Matrix: 1}
	for _, x := range []struct {
		size          media.Size
		bitrate       int
		colour, want  media.Colour
		level         uint8
		framesASecond int
	}{
		{media.Size{W: 1280, H: 720}, 1500e3, media.Colour{}, bt709, 31, 30},
		{media.Size{W: 1280, H: 720}, 1500e3, media.Colour{}, bt709, 31, 15},
		{media.Size{W: 1280, H: 720}, 1500e3, media.Colour{}, bt709, 32, 60},
		{media.Size{W: 640, H: 360}, 800e3, media.Colour{}, media.Colour{Primaries: 6, Transfer: 6, Matrix: 6}, 30, 30},
		{media.Size{W: 640, H: 360}, 800e3, media.Colour{Primaries: 1, Transfer: 13, Matrix: 5, Full: true},
			media.Colour{Primaries: 1, Transfer: 13, Matrix: 5, Full: true}, 30, 30},
		{media.Size{W: 320, H: 180}, 300e3, media.Colour{Primaries: 99, Transfer: 1, Matrix: 200},
			media.Colour{Primaries: 2, Transfer: 1, Matrix: 2}, 13, 30},
		{media.Size{W: 1920, H: 1080}, 3000e3, bt709, bt709, 40, 30},
		{media.Size{W: 1366, H: 768}, 3000e3, bt709, bt709, 32, 30},
	} {
		c := config(x.size, x.bitrate)
		c.Input.Colour, c.Rate = x.colour, media.FPS(x.framesASecond)
		e := open(t, c)
		p, err := e.Encode(newFilm(x.size, 0).next(), false)
		if err != nil || p == nil {
			t.Fatal(p, err)
		}
		nal, _ := media.NextNAL(p.Data)
		s, err := media.ParseSPS(nal)
		if err != nil {
			t.Fatal(err)
		}
		if s.Profile != 66 || s.Constraints&0x40 == 0 || s.Level != x.level || s.Size != x.size || s.Colour != x.want {
			t.Errorf("%+v\nsays %+v", x, s)
		}
		if s.Bumping > 0 {
			t.Errorf("%s: decoders may hold %d pictures back", x.size, s.Bumping)
		}
		p.Release()
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, x := range []struct {
		want string
		do   func(c *hal.VideoConfig)
	}{
		{"must be even", func(c *hal.VideoConfig) { c.Input.Size.W = 641 }},
		{"must be even", func(c *hal.VideoConfig) { c.Input.Size.H = 361 }},
		{"at least 16x16", func(c *hal.VideoConfig) { c.Input.Size = media.Size{W: 14, H: 16} }},
		{"at least 16x16", func(c *hal.VideoConfig) { c.Input.Size = media.Size{} }},
		{"at least 16x16", func(c *hal.VideoConfig) { c.Input.Size = media.Size{W: -640, H: -360} }},
		{"larger than", func(c *hal.VideoConfig) { c.Input.Size = media.Size{W: 16384, H: 16384} }},
		{"larger than", func(c *hal.VideoConfig) { c.Input.Size = media.Size{W: 1 << 40, H: 1 << 40} }},
		{"larger than", func(c *hal.VideoConfig) { c.Input.Size = media.Size{W: 16384, H: 16} }},
		{"can take YU12 only", func(c *hal.VideoConfig) { c.Input.Pixel = media.NV12 }},
		{"not positive", func(c *hal.VideoConfig) { c.Bitrate = 0 }},
	} {
		c := config(media.Size{W: 640, H: 360}, 1e6)
		x.do(&c)
		e, _, err := New(Config{}).Open(t.Context(), c)
		if err == nil || e != nil || !strings.Contains(err.Error(), x.want) || !errors.Is(err, hal.ErrUnsupported) {
			t.Errorf("%+v: %v, want %q", c, err, x.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := New(Config{}).Open(ctx, config(media.Size{W: 640, H: 360}, 1e6)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// The library's refusal comes back in its words, and nothing goes to standard error.
func TestLibraryErrorsHaveWords(t *testing.T) {
	s := media.Size{W: 320, H: 240}
	e := open(t, config(s, 500e3)).(*encoder)
	got := e.setBitrate(-5)
	if got == nil || !strings.Contains(got.Error(), "openh264 error") || strings.Contains(got.Error(), "no reason given") {
		t.Error(got)
	}
	if p, err := e.Encode(newFilm(s, 0).next(), false); err != nil || p == nil {
		t.Error("after the refusal: ", err)
	}
}

func TestEncodeRefusesOtherPictures(t *testing.T) {
	s := media.Size{W: 320, H: 240}
	e := open(t, config(s, 500e3))
	for name, do := range map[string]func(f *media.Frame){
		"size": func(f *media.Frame) {
			media.Layout(f, media.Format{Pixel: media.YU12, Size: media.Size{W: 160, H: 120}})
		},
		"format": func(f *media.Frame) { f.Pixel = media.NV12 },
		"plane":  func(f *media.Frame) { f.Planes[2] = nil },
		"short":  func(f *media.Frame) { f.Planes[0] = f.Planes[0][:5000] },
		"stride": func(f *media.Frame) { f.Stride[1] = 10 },
	} {
		f := newFilm(s, 0).next()
		do(f)
		if p, err := e.Encode(f, true); err == nil || p != nil {
			t.Errorf("%s: taken", name)
		}
	}
	if p, err := e.Encode(newFilm(s, 0).next(), false); err != nil || p == nil || !p.Key {
		t.Error("after the refusals: ", err)
	}
}

func TestTimeStampsMayDoAnything(t *testing.T) {
	s := media.Size{W: 320, H: 240}
	e, m := open(t, config(s, 500e3)), newFilm(s, 2)
	x := e.(*encoder)
	last, bits := int64(0), 0
	for k := range 120 {
		f := m.next()
		ok := f.Marks[media.Captured]
		switch k % 6 {
		case 1:
			f.Marks[media.Captured] = 0
		case 2:
			f.Marks[media.Captured] = 1
		case 3:
			f.Marks[media.Captured] -= media.Time(time.Hour)
		case 4:
			f.Marks[media.Captured] = math.MaxInt64
		}
		p, err := e.Encode(f, false)
		if err != nil {
			t.Fatal(err)
		}
		if ms := x.stamp.Milliseconds(); ms <= last || ms > last+11000 {
			t.Errorf("picture %d at %d ms, after %d", k, ms, last)
		} else {
			last = ms
		}
		if p != nil {
			bits += len(p.Data) * 8
			p.Release()
		}
		f.Marks[media.Captured] = ok
	}
	if bits < 200e3 || bits > 4e6 {
		t.Errorf("%d bits in 4 s", bits)
	}
}

func TestPacketsOutliveClose(t *testing.T) {
	s := media.Size{W: 320, H: 240}
	e, m, d := open(t, config(s, 500e3)), newFilm(s, 2), decoder(t)
	var packets []*media.Packet
	for range 10 {
		p, err := e.Encode(m.next(), false)
		if err != nil || p == nil {
			t.Fatal(p, err)
		}
		packets = append(packets, p)
	}
	for range 2 {
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for k, p := range packets {
		if ok, err := d.Decode(p.Data, media.NewFrame(nil)); !ok || err != nil {
			t.Errorf("packet %d: %v %v", k, ok, err)
		}
		p.Release()
	}
	if p, err := e.Encode(m.next(), true); p != nil || !errors.Is(err, hal.ErrStopped) {
		t.Error("a closed encoder encodes: ", err)
	}
	if _, err := e.SetRate(1e6, media.FPS(30)); !errors.Is(err, hal.ErrStopped) {
		t.Error("a closed encoder is set: ", err)
	}
}

// When a reader keeps all packets, pictures are skipped, and the stream goes on with what
// is decodable.
func TestPacketsRunOut(t *testing.T) {
	s := media.Size{W: 64, H: 48}
	e, m := open(t, config(s, 200e3)), newFilm(s, 0)
	var kept []*media.Packet
	for range maxPackets {
		p, err := e.Encode(m.next(), false)
		if err != nil {
			t.Fatal(err)
		}
		if p != nil {
			kept = append(kept, p)
		}
	}
	for len(kept) < maxPackets {
		p, err := e.Encode(m.next(), false)
		if err != nil {
			t.Fatal(err)
		}
		if p != nil {
			kept = append(kept, p)
		}
	}
	if p, err := e.Encode(m.next(), true); p != nil || err != nil {
		t.Fatalf("a packet too many: %v %v", p, err)
	}
	d := decoder(t)
	for _, p := range kept {
		if ok, err := d.Decode(p.Data, media.NewFrame(nil)); !ok || err != nil {
			t.Fatal(ok, err)
		}
		p.Release()
	}
	p, err := e.Encode(m.next(), false)
	if err != nil || p == nil || !p.Key {
		t.Fatalf("the key picture that was owed: %v %v", p, err)
	}
	p.Release()
}

func TestNothingIsAllocatedPerPicture(t *testing.T) {
	s := media.Size{W: 320, H: 240}
	e, m := open(t, config(s, 500e3)), newFilm(s, 2)
	k := 0
	if n := testing.AllocsPerRun(100, func() {
		p, err := e.Encode(m.next(), k%30 == 0)
		if err != nil {
			t.Fatal(err)
		}
		if p != nil {
			p.Release()
		}
		k++
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestOpenAndCloseLeakNothing(t *testing.T) {
	s := media.Size{W: 640, H: 360}
	m := newFilm(s, 0)
	f := m.next()
	cycle := func() {
		c := config(s, 1e6)
		c.Threads = 2
		e, _, err := New(Config{}).Open(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		p, err := e.Encode(f, false)
		if err != nil || p == nil {
			t.Fatal(p, err)
		}
		p.Release()
		e.Close()
	}
	for range 20 {
		cycle()
	}
	before, threads := resident(t), count(t)
	for range 100 {
		cycle()
	}
	if grown := resident(t) - before; grown > 8<<20 {
		t.Errorf("100 encoders leave %d KiB", grown>>10)
	}
	if now := count(t); now > threads+4 {
		t.Errorf("%d threads, before %d", now, threads)
	}
}

// resident is the process's memory in bytes.
func resident(t *testing.T) int {
	t.Helper()
	runtime.GC()
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	var all, rss int
	if _, err := fmt.Sscan(string(b), &all, &rss); err != nil {
		t.Fatal(err)
	}
	return rss * os.Getpagesize()
}

// count is the process's threads.
func count(t *testing.T) int {
	t.Helper()
	d, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	return len(d)
}

func BenchmarkEncode(b *testing.B) {
	for _, s := range []media.Size{{W: 640, H: 360}, {W: 1280, H: 720}, {W: 1920, H: 1080}} {
		b.Run(s.String(), func(b *testing.B) {
			e := open(b, config(s, 2*s.Area()))
			frames := make([]*media.Frame, 30)
			m := newFilm(s, 2)
			for i := range frames {
				f := media.NewFrame(nil)
				media.Layout(f, m.f.Format)
				for k, p := range m.next().Planes {
					copy(f.Planes[k], p)
				}
				frames[i] = f
			}
			k, worst := 0, time.Duration(0)
			b.ReportAllocs()
			for b.Loop() {
				f := frames[k%len(frames)]
				k++
				f.Marks[media.Captured] = media.Time(k * 33333333)
				at := time.Now()
				p, err := e.Encode(f, false)
				if err != nil {
					b.Fatal(err)
				}
				worst = max(worst, time.Since(at))
				if p != nil {
					p.Release()
				}
			}
			b.ReportMetric(float64(worst.Microseconds())/1000, "worst-ms")
		})
	}
}
