package openh264

import (
	"math"
	"strings"
	"testing"
	"time"

	"anchord/internal/media"
)

func TestBitrateIsFollowedWithinASecond(t *testing.T) {
	s := media.Size{W: 640, H: 360}
	e, m := open(t, config(s, 1e6)), newLoop(s, 6, 20)
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
	for _, want := range []int{1000e3, 2500e3, 700e3, 1500e3} {
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

func TestTimeStampsMayDoAnything(t *testing.T) {
	s := media.Size{W: 320, H: 240}
	e, m := open(t, config(s, 500e3)), newLoop(s, 2, 10)
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

func TestNothingIsAllocatedPerPicture(t *testing.T) {
	s := media.Size{W: 320, H: 240}
	e, m := open(t, config(s, 500e3)), newLoop(s, 2, 5)
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
