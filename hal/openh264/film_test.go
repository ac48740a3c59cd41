package openh264

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"runtime"
	"testing"
	"time"

	"anchord/hal"
	"anchord/hal/openh264/decode"
	"anchord/internal/media"
)

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
	drawn [][3][]byte // the pictures that were drawn before, if there is a loop
	loop  int
}

func newFilm(s media.Size, noise int) *film {
	f := media.NewFrame(nil)
	media.Layout(f, media.Format{Pixel: media.YU12, Size: s})
	return &film{f: f, noise: noise, seed: 1}
}

// newLoop makes a film of n pictures that are shown forward and backward again: to draw
// costs more than to encode.
func newLoop(s media.Size, noise, n int) *film {
	m := newFilm(s, noise)
	for m.loop = n; m.k < n; m.k++ {
		m.draw()
		var p [3][]byte
		for i := range p {
			p[i] = bytes.Clone(m.f.Planes[i])
		}
		m.drawn = append(m.drawn, p)
	}
	m.k = 0
	return m
}

// show copies picture k of the loop.
func (m *film) show(f *media.Frame, k int) {
	if k %= 2*m.loop - 2; k >= m.loop {
		k = 2*m.loop - 2 - k
	}
	for i, p := range m.drawn[k] {
		copy(f.Planes[i], p)
	}
}

// next draws the next picture, stamped 33 ms after the last.
func (m *film) next() *media.Frame {
	if m.loop > 0 {
		m.show(m.f, m.k)
	} else {
		m.draw()
	}
	m.k++
	m.f.Marks[media.Captured] += media.Time(33333 * time.Microsecond)
	return m.f
}

func (m *film) draw() {
	w, h := m.f.Size.W, m.f.Size.H
	k, noise, seed := m.k, m.noise, m.seed // the race detector looks at each access to m
	for y := range h {
		line := m.f.Planes[0][y*m.f.Stride[0]:][:w]
		for x := range line {
			v := 60 + (x+2*k)*100/w + y*60/h
			if abs(x-(20+5*k)%w) < w/12 && abs(y-h/2) < h/6 {
				v = 220 - v/2
			}
			if noise > 0 {
				seed = seed*1664525 + 1013904223
				v += int(seed>>16)%(2*noise+1) - noise
			}
			line[x] = byte(min(max(v, 16), 235))
		}
	}
	m.seed = seed
	for i := 1; i < 3; i++ {
		for y := range h / 2 {
			line := m.f.Planes[i][y*m.f.Stride[i]:][:w/2]
			for x := range line {
				line[x] = byte(100 + 50*(x*i+y*(3-i)+k)/(w+h))
			}
		}
	}
}

func abs(n int) int { return max(n, -n) }

// psnr is the likeness of two pictures' luma in dB.
func psnr(a, b *media.Frame) float64 {
	var sum float64
	w, h := a.Size.W, a.Size.H
	for y := range h {
		p, q := a.Planes[0][y*a.Stride[0]:][:w], b.Planes[0][y*b.Stride[0]:][:w]
		for x := range p {
			d := float64(p[x]) - float64(q[x])
			sum += d * d
		}
	}
	return 10 * math.Log10(255*255*float64(w*h)/max(sum, 1))
}

func types(au []byte) (out []media.NALType) {
	for nal, rest := media.NextNAL(au); len(nal) > 0; nal, rest = media.NextNAL(rest) {
		out = append(out, media.TypeOf(nal))
	}
	return out
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
