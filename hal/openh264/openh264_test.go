package openh264

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"anchord/hal"
	"anchord/internal/media"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPicturesComeBack(t *testing.T) {
	for _, s := range []media.Size{
		{W: 16, H: 16}, {W: 18, H: 34}, {W: 64, H: 48}, {W: 128, H: 96}, {W: 176, H: 144}, {W: 320, H: 180},
		{W: 320, H: 240}, {W: 360, H: 640}, {W: 426, H: 240}, {W: 480, H: 270}, {W: 640, H: 360}, {W: 640, H: 480},
		{W: 854, H: 480}, {W: 960, H: 540}, {W: 1280, H: 720}, {W: 1366, H: 768}, {W: 1920, H: 1080},
	} {
		t.Run(s.String(), func(t *testing.T) {
			e, d, m := open(t, config(s, 400e3+3*s.Area())), decoder(t), newFilm(s, 0)
			m.f.Turn = media.Turn{Rotation: media.Rotate90}
			out := media.NewFrame(nil)
			for k := range 3 {
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
		{"larger than", func(c *hal.VideoConfig) { c.Input.Size = media.Size{W: 1 << 30, H: 1 << 30} }},
		{"larger than", func(c *hal.VideoConfig) { c.Input.Size = media.Size{W: 16384, H: 16} }},
		{"can take YU12 only", func(c *hal.VideoConfig) { c.Input.Pixel = media.NV12 }},
		{"not positive", func(c *hal.VideoConfig) { c.Bitrate = 0 }},
		{"not positive", func(c *hal.VideoConfig) { c.Rate = media.Rate{} }},
		{"not positive", func(c *hal.VideoConfig) { c.Rate = media.Rate{Num: -30, Den: 1} }},
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
		"chroma": func(f *media.Frame) { f.Stride[2] = 160 },
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

func TestOpenAndCloseLeakNothing(t *testing.T) {
	s := media.Size{W: 320, H: 192} // one takes more than 1 MiB
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
	for range 60 {
		cycle()
	}
	if grown := resident(t) - before; grown > 8<<20 {
		t.Errorf("60 encoders leave %d KiB", grown>>10)
	}
	if now := count(t); now > threads+4 {
		t.Errorf("%d threads, before %d", now, threads)
	}
}
