package openh264

import (
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
}

func newFilm(s media.Size, noise int) *film {
	f := media.NewFrame(nil)
	media.Layout(f, media.Format{Pixel: media.YU12, Size: s})
	return &film{f: f, noise: noise, seed: 1}
}

// next draws the next picture, stamped 33 ms after the last.
func (m *film) next() *media.Frame {
	m.draw()
	m.k++
	m.f.Marks[media.Captured] += media.Time(33333 * time.Microsecond)
	return m.f
}

func (m *film) draw() {
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
