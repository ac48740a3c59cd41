package pixel

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"testing"

	"anchord/internal/media"
)

// without cuts all segments of the kind out of a JPEG's header.
func without(b []byte, kind byte) []byte {
	out := bytes.Clone(b[:2])
	for i := 2; ; {
		n := 2 + int(b[i+2])<<8 + int(b[i+3])
		if b[i+1] != kind {
			out = append(out, b[i:i+n]...)
		}
		if b[i+1] == 0xda {
			return append(out, b[i+n:]...)
		}
		i += n
	}
}

func TestJPEGSubsamplings(t *testing.T) {
	var c Converter
	defer c.Close()
	for _, sub := range []int{sub444, sub422, sub420, subGrey, sub440, sub411} {
		for _, s := range []media.Size{{W: 160, H: 120}, {W: 161, H: 121}, {W: 158, H: 119}, {W: 1, H: 1}, {W: 17, H: 2}} {
			for _, to := range []media.PixelFormat{media.YU12, media.NV12} {
				for _, turn := range turns {
					name := fmt.Sprintf("sub %d %s %s %v", sub, s, to, turn)
					src := compress(t, picture(t, media.YU12, s.W, s.H, 0), sub)
					src.Turn = turn
					d := s.Turned(turn.Rotation)
					dst := frame(to, d.W, d.H, 3)
					if err := c.Convert(dst, src); err != nil {
						t.Fatalf("%s: %v", name, err)
					}
					if e := untouched(dst); e != "" {
						t.Fatalf("%s: %s", name, e)
					}
					if s.W < 100 {
						continue
					}
					if sub == subGrey {
						if u, v := chroma(dst, 5, 5); u != 128 || v != 128 {
							t.Fatalf("%s: grey has chroma %d %d", name, u, v)
						}
						continue
					}
					if e := compare(dst, s, turn, true, false); e != "" {
						t.Fatalf("%s: %s", name, e)
					}
				}
			}
		}
	}
}

func TestJPEGWithoutHuffmanTables(t *testing.T) {
	src := picture(t, media.MJPG, 64, 48, 0)
	short := without(src.Planes[0], 0xc4)
	if len(short) == len(src.Planes[0]) {
		t.Fatal("nothing was cut out")
	}
	src.Planes[0] = short
	var c Converter
	defer c.Close()
	dst := frame(media.YU12, 64, 48, 0)
	if err := c.Convert(dst, src); err != nil {
		t.Fatal(err)
	}
	if e := compare(dst, src.Size, media.Turn{}, true, false); e != "" {
		t.Fatal(e)
	}
}

func TestJPEGDamage(t *testing.T) {
	good := picture(t, media.MJPG, 320, 240, 0).Planes[0]
	scan := bytes.Index(good, []byte{0xff, 0xda}) + 14
	frameAt := bytes.Index(good, []byte{0xff, 0xc0})
	edit := func(f func(b []byte)) []byte {
		b := bytes.Clone(good)
		f(b)
		return b
	}
	for _, x := range []struct {
		name string
		b    []byte
	}{
		{"empty", nil},
		{"zeros", make([]byte, 5000)},
		{"only the start", good[:2]},
		{"cut in the header", good[:scan-20]},
		{"cut before the scan", good[:scan]},
		{"cut in the middle", good[:len(good)/2]},
		{"last bytes lost", good[:len(good)-40]},
		{"packet lost", append(bytes.Clone(good[:len(good)/2]), good[len(good)/2+900:]...)},
		{"zeros in the middle", edit(func(b []byte) { clear(b[len(b)/2 : len(b)/2+600]) })},
		{"ones in the middle", edit(func(b []byte) {
			for i := range 40 {
				b[len(b)/2+i] = 0xff
			}
		})},
		{"progressive", edit(func(b []byte) { b[frameAt+1] = 0xc2 })},
		{"arithmetic", edit(func(b []byte) { b[frameAt+1] = 0xc9 })},
		{"12 bits", edit(func(b []byte) { b[frameAt+4] = 12 })},
		{"other size", edit(func(b []byte) { b[frameAt+6] = 16 })},
		{"huge", edit(func(b []byte) { copy(b[frameAt+5:], []byte{0xff, 0xff, 0xff, 0xff}) })},
		{"components", edit(func(b []byte) { b[frameAt+9] = 4 })},
		{"two frame headers", append(bytes.Clone(good[:frameAt+19]), good[frameAt:]...)},
		{"end at once", []byte{0xff, 0xd8, 0xff, 0xd9}},
	} {
		var c Converter
		src := media.NewFrame(nil)
		src.Format = media.Format{Pixel: media.MJPG, Size: media.Size{W: 320, H: 240}}
		src.Planes[0] = x.b
		err := c.Convert(frame(media.YU12, 320, 240, 0), src)
		if !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", x.name, err)
		}
		// The next good one is decoded as if nothing had been.
		src.Planes[0] = good
		dst := frame(media.YU12, 320, 240, 0)
		if err := c.Convert(dst, src); err != nil {
			t.Errorf("after %s: %v", x.name, err)
		} else if e := compare(dst, src.Size, media.Turn{}, true, false); e != "" {
			t.Errorf("after %s: %s", x.name, e)
		}
		c.Close()
	}
}

func TestJPEGSloppyCamera(t *testing.T) {
	good := picture(t, media.MJPG, 320, 240, 0)
	sloppy := picture(t, media.MJPG, 320, 240, 0)
	n := len(sloppy.Planes[0]) - 2
	sloppy.Planes[0] = append(append(bytes.Clone(sloppy.Planes[0][:n]), make([]byte, 12)...), 0xff, 0xd9)
	dst := frame(media.YU12, 320, 240, 0)

	var once Converter
	defer once.Close()
	for i := range 100 { // one in ten is damage
		src := good
		if i%10 == 0 {
			src = sloppy
		}
		if err := once.Convert(dst, src); errors.Is(err, ErrCorrupt) != (src == sloppy) {
			t.Fatalf("picture %d: %v", i, err)
		}
	}

	var habit Converter
	defer habit.Close()
	refused := 0
	for range 100 {
		if err := habit.Convert(dst, sloppy); err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			refused++
		}
	}
	if refused == 0 || refused > 10 {
		t.Fatalf("%d of 100 refused", refused)
	}
	if e := compare(dst, sloppy.Size, media.Turn{}, true, false); e != "" {
		t.Fatal(e)
	}
	sloppy.Planes[0] = sloppy.Planes[0][:n/2]
	if err := habit.Convert(dst, sloppy); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("a cut picture: %v", err)
	}
}

func TestEncodeJPEG(t *testing.T) {
	rgb := [4]color.RGBA{{R: 255}, {G: 255}, {B: 255}, {R: 255, G: 255}}
	for _, p := range []media.PixelFormat{media.YU12, media.NV12} {
		for _, c := range []media.Colour{{Matrix: media.BT601}, {Matrix: media.BT709}, {Matrix: media.BT601, Full: true}, {}} {
			f := frame(p, 66, 51, 4)
			f.Colour = c
			for y := range 51 {
				for x := range 66 {
					l, u, v := toYUV(rgb[corner(x&^1, y&^1, 66, 51)], c)
					f.Planes[0][y*f.Stride[0]+x] = l
					setChroma(f, x/2, y/2, u, v)
				}
			}
			b, err := EncodeJPEG([]byte("head"), f, 90)
			if err != nil {
				t.Fatal(err)
			}
			if string(b[:4]) != "head" {
				t.Fatal("does not append")
			}
			m, err := jpeg.Decode(bytes.NewReader(b[4:]))
			if err != nil {
				t.Fatal(err)
			}
			if m.Bounds() != image.Rect(0, 0, 66, 51) {
				t.Fatal(m.Bounds())
			}
			for k, want := range rgb {
				r, g, bl, _ := m.At(12+k%2*40, 12+k/2*28).RGBA()
				if !near(byte(r>>8), want.R, 12) || !near(byte(g>>8), want.G, 12) || !near(byte(bl>>8), want.B, 16) {
					t.Errorf("%s %+v corner %d: %d %d %d, want %v", p, c, k, r>>8, g>>8, bl>>8, want)
				}
			}
		}
	}
	f := picture(t, media.YU12, 32, 32, 0)
	for _, q := range []int{0, 101} {
		if _, err := EncodeJPEG(nil, f, q); err == nil {
			t.Errorf("quality %d is taken", q)
		}
	}
	if _, err := EncodeJPEG(nil, picture(t, media.YUYV, 32, 32, 0), 80); err == nil {
		t.Error("YUYV is taken")
	}
	f.Planes[2] = nil
	if _, err := EncodeJPEG(nil, f, 80); err == nil {
		t.Error("a missing plane is taken")
	}
}

// toYUV is the definition in ITU-T H.273 8.3.
func toYUV(c color.RGBA, m media.Colour) (y, u, v byte) {
	kr, kb := 0.299, 0.114
	if m.Matrix == media.BT709 {
		kr, kb = 0.2126, 0.0722
	}
	r, g, b := float64(c.R)/255, float64(c.G)/255, float64(c.B)/255
	l := kr*r + (1-kr-kb)*g + kb*b
	pb, pr := (b-l)/(1-kb)/2, (r-l)/(1-kr)/2
	if m.Full {
		return byte(255*l + .5), byte(min(255*pb+128.5, 255)), byte(min(255*pr+128.5, 255))
	}
	return byte(219*l + 16.5), byte(224*pb + 128.5), byte(224*pr + 128.5)
}

// Whatever bytes a camera sends, the decoder neither crashes nor writes out of bounds,
// and what it takes is of the promised size.
func FuzzJPEG(f *testing.F) {
	for _, sub := range []int{sub444, sub422, sub420, subGrey, sub411} {
		b := compress(f, picture(f, media.YU12, 33, 18, 0), sub).Planes[0]
		f.Add(b, uint16(33), uint16(18), uint8(sub))
		f.Add(without(b, 0xc4), uint16(33), uint16(18), uint8(4))
		f.Add(b[:len(b)/2], uint16(33), uint16(18), uint8(7))
	}
	f.Fuzz(func(t *testing.T, b []byte, w, h uint16, k uint8) {
		w, h = w%512, h%512
		src := media.NewFrame(nil)
		src.Format = media.Format{Pixel: media.MJPG, Size: media.Size{W: int(w), H: int(h)}}
		src.Planes[0], src.Turn = b, turns[k%8]
		d := src.Size.Turned(src.Turn.Rotation)
		if d.Area() == 0 {
			return
		}
		dst := frame(media.YU12, d.W, d.H, 3)
		var c Converter
		defer c.Close()
		if err := c.Convert(dst, src); err == nil || errors.Is(err, ErrCorrupt) {
			if e := untouched(dst); e != "" {
				t.Error(e)
			}
		} else {
			t.Error(err)
		}
	})
}
