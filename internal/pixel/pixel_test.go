package pixel

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"anchord/internal/media"
)

// The colours of the four corners (Y, U, V in video range): top left, top right, bottom
// left, bottom right. They are muted, so that a way by RGB keeps them.
var corners = [4][3]byte{{90, 100, 190}, {130, 80, 90}, {70, 180, 115}, {185, 90, 140}}

func corner(x, y, w, h int) int {
	k := 0
	if x >= w/2 {
		k++
	}
	if y >= h/2 {
		k += 2
	}
	return k
}

// luma is different in every pixel of a corner, so that each has to come to its place.
func luma(x, y, w, h int) byte {
	return corners[corner(x, y, w, h)][0] + byte((x*7+y*13)%16)
}

func frame(p media.PixelFormat, w, h, pad int) *media.Frame {
	f := media.NewFrame(nil)
	f.Format = media.Format{Pixel: p, Size: media.Size{W: w, H: h}}
	cw, ch := (w+1)/2, (h+1)/2
	plane := func(i, n, lines int) {
		f.Stride[i] = n + pad
		f.Planes[i] = bytes.Repeat([]byte{0xa5}, (n+pad)*(lines-1)+n)
	}
	switch p {
	case media.YU12:
		plane(0, w, h)
		plane(1, cw, ch)
		plane(2, cw, ch)
	case media.NV12:
		plane(0, w, h)
		plane(1, 2*cw, ch)
	case media.YUYV:
		plane(0, 4*cw, h)
	}
	return f
}

// picture draws the four corners.
func picture(t testing.TB, p media.PixelFormat, w, h, pad int) *media.Frame {
	t.Helper()
	if p == media.MJPG {
		return compress(t, picture(t, media.YU12, w, h, 0), sub422)
	}
	f := frame(p, w, h, pad)
	if p == media.YUYV {
		for y := range h {
			for x := range (w + 1) / 2 * 2 {
				c := corners[corner(x&^1, y, w, h)]
				f.Planes[0][y*f.Stride[0]+2*x] = luma(min(x, w-1), y, w, h)
				f.Planes[0][y*f.Stride[0]+2*x+1] = c[1+x&1]
			}
		}
		return f
	}
	for y := range h {
		for x := range w {
			f.Planes[0][y*f.Stride[0]+x] = luma(x, y, w, h)
		}
	}
	for y := range (h + 1) / 2 {
		for x := range (w + 1) / 2 {
			c := corners[corner(2*x, 2*y, w, h)]
			setChroma(f, x, y, c[1], c[2])
		}
	}
	return f
}

func compress(t testing.TB, f *media.Frame, sub int) *media.Frame {
	t.Helper()
	b, err := encode(nil, f, 95, sub)
	if err != nil {
		t.Fatal(err)
	}
	j := media.NewFrame(nil)
	j.Format = media.Format{Pixel: media.MJPG, Size: f.Size}
	j.Planes[0] = b
	return j
}

func setChroma(f *media.Frame, x, y int, u, v byte) {
	if f.Pixel == media.NV12 {
		i := y*f.Stride[1] + 2*x
		f.Planes[1][i], f.Planes[1][i+1] = u, v
		return
	}
	f.Planes[1][y*f.Stride[1]+x], f.Planes[2][y*f.Stride[2]+x] = u, v
}

func chroma(f *media.Frame, x, y int) (u, v byte) {
	if f.Pixel == media.NV12 {
		i := y*f.Stride[1] + 2*x
		return f.Planes[1][i], f.Planes[1][i+1]
	}
	return f.Planes[1][y*f.Stride[1]+x], f.Planes[2][y*f.Stride[2]+x]
}

// origin says where the pixel x, y of a turned picture was in the w × h source.
func origin(t media.Turn, x, y, w, h int) (int, int) {
	switch t.Rotation {
	case media.Rotate90: // the left column becomes the top line, from the bottom up
		x, y = y, h-1-x
	case media.Rotate180:
		x, y = w-1-x, h-1-y
	case media.Rotate270:
		x, y = w-1-y, x
	}
	if t.Mirror {
		x = w - 1 - x
	}
	return x, y
}

func near(a, b byte, tolerance int) bool {
	d := int(a) - int(b)
	return d <= tolerance && d >= -tolerance
}

var turns = []media.Turn{{}, {Rotation: 90}, {Rotation: 180}, {Rotation: 270},
	{Mirror: true}, {Rotation: 90, Mirror: true}, {Rotation: 180, Mirror: true}, {Rotation: 270, Mirror: true}}

func TestConvertTurnsAndConverts(t *testing.T) {
	sizes := []media.Size{{W: 64, H: 48}, {W: 33, H: 47}, {W: 46, H: 31}, {W: 160, H: 122}}
	var c Converter
	defer c.Close()
	for _, from := range []media.PixelFormat{media.YU12, media.NV12, media.YUYV, media.MJPG} {
		for _, to := range []media.PixelFormat{media.YU12, media.NV12} {
			for _, s := range sizes {
				for _, turn := range turns {
					for _, full := range []bool{false, true} {
						name := fmt.Sprintf("%s to %s %s %v full %v", from, to, s, turn, full)
						src := picture(t, from, s.W, s.H, 7)
						src.Turn, src.Colour.Full = turn, full
						src.Seq, src.Marks[media.Captured] = 9, 1234
						d := s.Turned(turn.Rotation)
						dst := frame(to, d.W, d.H, 5)
						if err := c.Convert(dst, src); err != nil {
							t.Fatalf("%s: %v", name, err)
						}
						if dst.Turn != (media.Turn{}) || dst.Colour.Full || dst.Seq != 9 ||
							dst.Marks[media.Captured] != 1234 || dst.Marks[media.Converted] == 0 {
							t.Fatalf("%s: says %+v", name, dst)
						}
						if e := compare(dst, s, turn, from == media.MJPG, full && from != media.MJPG); e != "" {
							t.Fatalf("%s: %s", name, e)
						}
						if e := untouched(dst); e != "" {
							t.Fatalf("%s: %s", name, e)
						}
					}
				}
			}
		}
	}
}

// compare says where dst is not the turned picture.
func compare(dst *media.Frame, s media.Size, turn media.Turn, lossy, squeezed bool) string {
	tl, tc, edge := 0, 0, 2
	if lossy {
		tl, tc, edge = 10, 6, 18 // blocks of 16 pixels smear
	}
	if squeezed {
		tl, tc = 1, 1
	}
	inside := func(x, y int) bool {
		return abs(x-s.W/2) > edge && abs(y-s.H/2) > edge
	}
	seen := 0
	for y := range dst.Size.H {
		for x := range dst.Size.W {
			sx, sy := origin(turn, x, y, s.W, s.H)
			if lossy && !inside(sx, sy) {
				continue
			}
			want := luma(sx, sy, s.W, s.H)
			if squeezed {
				want = byte(16 + (int(want)*219+127)/255)
			}
			if got := dst.Planes[0][y*dst.Stride[0]+x]; !near(got, want, tl) {
				return fmt.Sprintf("luma %d,%d is %d, want %d", x, y, got, want)
			}
			seen++
			if x%2 == 1 || y%2 == 1 || !inside(sx, sy) {
				continue
			}
			c := corners[corner(sx, sy, s.W, s.H)]
			wu, wv := c[1], c[2]
			if squeezed {
				wu, wv = byte(128+(int(wu)-128)*224/255), byte(128+(int(wv)-128)*224/255)
			}
			if u, v := chroma(dst, x/2, y/2); !near(u, wu, tc) || !near(v, wv, tc) {
				return fmt.Sprintf("chroma %d,%d is %d %d, want %d %d", x/2, y/2, u, v, wu, wv)
			}
		}
	}
	if seen == 0 && s.Area() > 10000 {
		return "nothing was compared"
	}
	return ""
}

// untouched says whether the padding between lines was written to.
func untouched(f *media.Frame) string {
	cw := (f.Size.W + 1) / 2
	n := [3]int{f.Size.W, cw, cw}
	if f.Pixel == media.NV12 {
		n[1] = 2 * cw
	}
	for i, p := range f.Planes {
		for k, b := range p {
			if k%f.Stride[i] >= n[i] && b != 0xa5 {
				return fmt.Sprintf("plane %d: padding was written to at %d", i, k)
			}
		}
	}
	return ""
}

func abs(n int) int { return max(n, -n) }

func TestConvertRefuses(t *testing.T) {
	good := func() (dst, src *media.Frame) {
		return frame(media.YU12, 48, 64, 0), picture(t, media.NV12, 64, 48, 0)
	}
	for _, x := range []struct {
		name, want string
		do         func(dst, src *media.Frame)
	}{
		{"size before the turn", "the upright picture is 64x48", func(_, s *media.Frame) { s.Turn.Rotation = 0 }},
		{"turn by 45", "turn by 45", func(_, s *media.Frame) { s.Turn.Rotation = 45 }},
		{"to YUYV", "cannot make YUYV", func(d, _ *media.Frame) { d.Pixel = media.YUYV }},
		{"from H264", "cannot read H264", func(_, s *media.Frame) { s.Pixel = media.H264 }},
		{"short source plane", "plane 1", func(_, s *media.Frame) { s.Planes[1] = s.Planes[1][:100] }},
		{"short destination plane", "plane 2", func(d, _ *media.Frame) { d.Planes[2] = d.Planes[2][:100] }},
		{"no plane", "plane 0", func(d, _ *media.Frame) { d.Planes[0] = nil }},
		{"stride too small", "plane 0", func(_, s *media.Frame) { s.Stride[0] = 63 }},
		{"stride negative", "plane 0", func(_, s *media.Frame) { s.Stride[0] = -64 }},
		{"no size", "not possible", func(_, s *media.Frame) { s.Size = media.Size{} }},
		{"huge", "not possible", func(_, s *media.Frame) { s.Size = media.Size{W: 1 << 30, H: 1 << 30} }},
	} {
		var c Converter
		dst, src := good()
		src.Turn.Rotation = media.Rotate90
		if err := c.Convert(dst, src); err != nil {
			t.Fatal(err)
		}
		x.do(dst, src)
		if err := c.Convert(dst, src); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v, want %q", x.name, err, x.want)
		}
		c.Close()
	}
	var c Converter
	c.Close()
	c.Close()
	dst, src := good()
	src.Turn.Rotation = media.Rotate90
	if err := c.Convert(dst, src); err == nil {
		t.Error("a closed converter converts")
	}
}

func TestOutcomeKeepsTheMatrix(t *testing.T) {
	hd := media.Colour{Primaries: 1, Transfer: 1, Matrix: 1, Full: true}
	for _, x := range []struct {
		f    media.Format
		want media.Colour
	}{
		{media.Format{Pixel: media.YUYV}, media.Colour{}},
		{media.Format{Pixel: media.NV12, Colour: hd}, media.Colour{Primaries: 1, Transfer: 1, Matrix: 1}},
		{media.Format{Pixel: media.MJPG, Colour: hd}, media.Colour{Primaries: 1, Transfer: 1, Matrix: 1}},
		{media.Format{Pixel: media.MJPG}, media.Colour{Primaries: media.BT709, Transfer: media.SRGB, Matrix: media.BT601}},
	} {
		if got := Outcome(x.f); got != x.want {
			t.Errorf("%v: %+v, want %+v", x.f, got, x.want)
		}
	}
}

func TestScale(t *testing.T) {
	for _, p := range []media.PixelFormat{media.YU12, media.NV12} {
		for _, d := range []media.Size{{W: 320, H: 180}, {W: 426, H: 240}, {W: 1280, H: 720}, {W: 33, H: 21}} {
			src, dst := picture(t, p, 640, 360, 3), frame(p, d.W, d.H, 5)
			src.Turn.Rotation, src.Seq, src.Colour.Matrix = 90, 3, 1
			if err := Scale(dst, src); err != nil {
				t.Fatal(err)
			}
			if dst.Turn != src.Turn || dst.Seq != 3 || dst.Colour != src.Colour {
				t.Errorf("%s: says %+v", d, dst)
			}
			for k, c := range corners {
				x, y := d.W/4+k%2*(d.W/2), d.H/4+k/2*(d.H/2)
				u, v := chroma(dst, x/2, y/2)
				l := dst.Planes[0][y*dst.Stride[0]+x]
				if !near(l, c[0]+8, 9) || !near(u, c[1], 2) || !near(v, c[2], 2) {
					t.Errorf("%s %s corner %d is %d %d %d, want %v", p, d, k, l, u, v, c)
				}
			}
			if e := untouched(dst); e != "" {
				t.Errorf("%s: %s", d, e)
			}
		}
	}
	if err := Scale(frame(media.NV12, 32, 32, 0), picture(t, media.YU12, 64, 64, 0)); err == nil {
		t.Error("scales YU12 to NV12")
	}
	if err := Scale(frame(media.YU12, 0, 0, 0), picture(t, media.YU12, 64, 64, 0)); err == nil {
		t.Error("scales to nothing")
	}
}

func TestNothingIsAllocatedPerPicture(t *testing.T) {
	for _, p := range []media.PixelFormat{media.YU12, media.NV12, media.YUYV, media.MJPG} {
		var c Converter
		src, dst := picture(t, p, 128, 96, 0), frame(media.NV12, 96, 128, 0)
		src.Turn.Rotation = media.Rotate90
		small := frame(media.NV12, 48, 64, 0)
		if n := testing.AllocsPerRun(50, func() {
			if err := errors.Join(c.Convert(dst, src), Scale(small, dst)); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", p, n)
		}
		c.Close()
	}
}

func BenchmarkConvert(b *testing.B) {
	for _, x := range []struct {
		from, to media.PixelFormat
		turn     media.Turn
	}{
		{media.YUYV, media.YU12, media.Turn{}},
		{media.NV12, media.YU12, media.Turn{}},
		{media.NV12, media.YU12, media.Turn{Rotation: 90}},
		{media.YU12, media.NV12, media.Turn{Rotation: 180, Mirror: true}},
		{media.MJPG, media.YU12, media.Turn{}},
		{media.MJPG, media.NV12, media.Turn{Rotation: 270}},
	} {
		b.Run(fmt.Sprintf("%s-%s-%d", x.from, x.to, x.turn.Rotation), func(b *testing.B) {
			var c Converter
			defer c.Close()
			src := picture(b, x.from, 1280, 720, 0)
			src.Turn = x.turn
			d := src.Size.Turned(x.turn.Rotation)
			dst := frame(x.to, d.W, d.H, 0)
			b.ReportAllocs()
			for b.Loop() {
				if err := c.Convert(dst, src); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
