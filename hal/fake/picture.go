package fake

import (
	"errors"
	"fmt"

	"anchord/internal/media"
)

// The test picture can be read back by a program from decoded pixels, after any
// scaling that leaves the cells a few pixels wide:
//
//   - the top twelfth is a row of 40 cells; cells 4…35 are 32 bits, the highest first,
//     white for 1 and black for 0: 16 bits of frame counter, then 16 bits of the capture
//     clock in milliseconds;
//   - the corners, a tenth wide and a twelfth high, are red, green (above), blue and
//     yellow (below): any turn or mirroring shows;
//   - a square in the middle is white during the first 100 ms of each full second of the
//     capture clock, while the test sound beeps;
//   - a light bar moves along the lower part, so that an encoder has something to do.
const (
	cells     = 40
	firstBit  = 4
	bits      = 32
	flashTime = 100 // ms
)

// yuv is a colour in BT.601 or BT.709, limited range.
type yuv struct{ y, u, v uint8 }

// palette holds the colours of the test picture.
type palette struct{ red, green, blue, yellow, white, black, dark, light yuv }

func paletteOf(c media.Colour) palette {
	kr, kb := 0.299, 0.114
	if c.Matrix == media.BT709 {
		kr, kb = 0.2126, 0.0722
	}
	at := func(r, g, b float64) yuv {
		y := kr*r + (1-kr-kb)*g + kb*b
		return yuv{uint8(16 + 219*y + .5), uint8(128 + 112*(b-y)/(1-kb) + .5), uint8(128 + 112*(r-y)/(1-kr) + .5)}
	}
	return palette{at(1, 0, 0), at(0, 1, 0), at(0, 0, 1), at(1, 1, 0), at(1, 1, 1), at(0, 0, 0), at(.157, .157, .157), at(.8, .82, .85)}
}

// canvas draws rectangles into a YU12 or NV12 frame.
type canvas struct{ f *media.Frame }

// fill paints the rectangle; its edges are rounded to even pixels, as chroma needs.
func (c canvas) fill(x0, y0, x1, y1 int, k yuv) {
	f := c.f
	x0, y0, x1, y1 = x0&^1, y0&^1, min((x1+1)&^1, f.Size.W), min((y1+1)&^1, f.Size.H)
	for y := y0; y < y1; y++ {
		row := f.Planes[0][y*f.Stride[0]:]
		fill(row[x0:x1], k.y)
	}
	for y := y0 / 2; y < (y1+1)/2; y++ {
		if f.Pixel == media.NV12 {
			row := f.Planes[1][y*f.Stride[1]:]
			for x := x0 / 2; x < (x1+1)/2; x++ {
				row[2*x], row[2*x+1] = k.u, k.v
			}
			continue
		}
		fill(f.Planes[1][y*f.Stride[1]:][x0/2:(x1+1)/2], k.u)
		fill(f.Planes[2][y*f.Stride[2]:][x0/2:(x1+1)/2], k.v)
	}
}

func fill(b []byte, v uint8) {
	for i := range b {
		b[i] = v
	}
}

// base draws what does not move.
func (c canvas) base(p palette) {
	w, h := c.f.Size.W, c.f.Size.H
	const steps = 24
	for i := range steps { // a quiet vertical shade of blue-grey
		g := 44 + 2*i
		c.fill(0, h*i/steps, w, h*(i+1)/steps, yuv{uint8(g), 138, 122})
	}
	bars := []yuv{p.white, p.yellow, p.green, p.red, p.blue}
	for i, k := range bars {
		c.fill(w*(3+2*i)/16, h*5/24, w*(5+2*i)/16, h*7/24, yuv{uint8(16 + (int(k.y)-16)*3/4), k.u/2 + 64, k.v/2 + 64})
	}
	c.fill(0, h-h/12, w/10, h, p.blue)
	c.fill(w-w/10, h-h/12, w, h, p.yellow)
}

// moving draws what changes from frame to frame, over whatever was there.
func (c canvas) moving(p palette, counter uint16, at media.Time) {
	w, h := c.f.Size.W, c.f.Size.H
	ms := uint32(at / 1e6)
	v := uint32(counter)<<16 | ms&0xffff
	c.fill(0, 0, w, h/12, p.black)
	for i := range bits {
		if v>>(bits-1-i)&1 == 1 {
			c.fill(w*(firstBit+i)/cells, 0, w*(firstBit+i+1)/cells, h/12, p.white)
		}
	}
	c.fill(0, 0, w/10, h/12, p.red)
	c.fill(w-w/10, 0, w, h/12, p.green)
	k := p.dark
	if ms%1000 < flashTime {
		k = p.white
	}
	c.fill(w*7/16, h*7/16, w*9/16, h*9/16, k)
	c.fill(w/16, h*17/24, w*15/16, h*19/24, p.dark)
	x := w/16 + int(ms%4000)*(w*13/16)/4000
	c.fill(x, h*17/24, x+w/16, h*19/24, p.light)
}

// Reading is what a test picture says.
type Reading struct {
	Counter uint16 // of frames, wraps
	Millis  uint16 // capture clock, wraps each 65.536 s
	Flash   bool   // the square in the middle is white
}

// ErrNotTestPicture says that the pixels are not those of an upright test picture.
var ErrNotTestPicture = errors.New("not an upright test picture")

// Read reads a test picture from the pixels of a YU12 or NV12 frame in limited range,
// after lossy coding and scaling too.
func Read(f *media.Frame) (Reading, error) {
	if f.Pixel != media.YU12 && f.Pixel != media.NV12 {
		return Reading{}, fmt.Errorf("%v frame: %w", f.Pixel, ErrNotTestPicture)
	}
	w, h := f.Size.W, f.Size.H
	p := paletteOf(f.Colour.Guess(f.Size))
	for _, c := range []struct {
		name string
		x, y int
		want yuv
	}{{"top left", w / 20, h / 24, p.red}, {"top right", w - w/20, h / 24, p.green}, {"bottom left", w / 20, h - h/24, p.blue}, {"bottom right", w - w/20, h - h/24, p.yellow}} {
		if got := at(f, c.x, c.y); far(got, c.want) {
			return Reading{}, fmt.Errorf("%s corner is %v, not %v: %w", c.name, got, c.want, ErrNotTestPicture)
		}
	}
	var v uint32
	for i := range bits {
		y := at(f, (2*(firstBit+i)+1)*w/(2*cells), h/24).y
		if y > 90 && y < 160 {
			return Reading{}, fmt.Errorf("bit %d is grey (%d): %w", i, y, ErrNotTestPicture)
		}
		v <<= 1
		if y >= 128 {
			v |= 1
		}
	}
	return Reading{uint16(v >> 16), uint16(v), at(f, w/2, h/2).y > 128}, nil
}

func at(f *media.Frame, x, y int) yuv {
	k := yuv{y: f.Planes[0][y*f.Stride[0]+x]}
	if f.Pixel == media.NV12 {
		i := y/2*f.Stride[1] + x/2*2
		k.u, k.v = f.Planes[1][i], f.Planes[1][i+1]
	} else {
		k.u, k.v = f.Planes[1][y/2*f.Stride[1]+x/2], f.Planes[2][y/2*f.Stride[2]+x/2]
	}
	return k
}

func far(a, b yuv) bool {
	d := func(x, y uint8) int { return max(int(x)-int(y), int(y)-int(x)) }
	return d(a.y, b.y) > 40 || d(a.u, b.u) > 40 || d(a.v, b.v) > 40
}
