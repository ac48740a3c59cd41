package capture

import (
	"context"
	"errors"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"anchord/internal/media"
)

// still is a Still that runs beside a camera that nobody plugs in or that a stub plays.
type still struct {
	*Still
	cam    *Camera
	tap    media.Tap[*media.Frame]
	demand media.Demand
	sink   *media.Sink

	mu    sync.Mutex
	sizes []string
	marks []media.Marks
	last  []byte // the luma of the last picture's middle line
}

// count is how many pictures came.
func (s *still) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sizes)
}

func newStill(s StillSettings, c CameraSettings, why ...string) *still {
	st := &still{}
	if c.Want == (Want{}) {
		c.Want = want(320, 240)
	}
	st.cam = NewCamera(CameraConfig{Log: quiet, Out: &st.tap, Pixel: media.YU12, Demand: &st.demand}, c)
	st.Still = NewStill(StillConfig{Log: quiet, Camera: st.cam, Out: &st.tap, Pixel: media.YU12, Demand: &st.demand, Why: func() []string { return why }}, s)
	st.tap.Add(func(f *media.Frame) {
		st.mu.Lock()
		defer st.mu.Unlock()
		st.sizes = append(st.sizes, f.Size.String())
		st.marks = append(st.marks, f.Marks)
		st.last = append(st.last[:0], f.Planes[0][f.Size.H/2*f.Stride[0]:][:f.Size.W]...)
		f.Release()
	})
	st.sink = st.demand.Sink()
	return st
}

// run runs it and lets synthetic time pass.
func (s *still) run(t *testing.T, steps ...func()) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	for _, f := range steps {
		f()
		synctest.Wait()
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func watched() media.Wish { return media.Wish{Subscribed: true} }

func TestSlateComesWhenTheCameraGivesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStill(StillSettings{Slate: true}, CameraSettings{}, "NO CAMERA", "plug one in")
		count := 0
		s.run(t,
			func() { time.Sleep(10 * time.Second); count = s.count() },
			func() {
				if count != 0 {
					t.Errorf("%d slates for nobody", count)
				}
				s.sink.Set(watched())
				time.Sleep(time.Second)
				count = s.count()
			},
			func() {
				if count != 0 {
					t.Errorf("%d slates in the first second", count)
				}
				time.Sleep(4 * time.Second)
				count = s.count()
			},
			func() {
				if count < 4 || count > 8 || s.sizes[0] != "320x240" {
					t.Errorf("%d slates in 4 s of %v", count, s.sizes)
				}
				if what, _ := s.Shows(); what != "slate" {
					t.Errorf("shows %q", what)
				}
				s.cam.frames.Add(1) // it gives pictures again
				time.Sleep(time.Second)
				count = s.count()
			},
			func() {
				time.Sleep(700 * time.Millisecond)
				s.cam.frames.Add(1)
				time.Sleep(700 * time.Millisecond)
				if n := s.count(); n > count+1 {
					t.Errorf("%d slates while the camera is well", n-count)
				}
				s.Still.Set(StillSettings{})
				time.Sleep(5 * time.Second)
				count = s.count()
				time.Sleep(5 * time.Second)
				if s.count() != count {
					t.Error("slates though they are off")
				}
			})
		for i, m := range s.marks {
			if m[media.Captured] == 0 || i > 0 && m[media.Captured] <= s.marks[i-1][media.Captured] {
				t.Errorf("picture %d: marks %v", i, m)
			}
		}
	})
}

func TestMutePicture(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "mute.png")
	img := image.NewRGBA(image.Rect(0, 0, 40, 40))
	for i := range img.Pix {
		img.Pix[i] = 255 // white
	}
	f, err := os.Create(name)
	if err == nil {
		err = png.Encode(f, img)
	}
	if err != nil || f.Close() != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		s := newStill(StillSettings{Image: name, FPS: 5, Slate: true}, CameraSettings{Muted: true})
		s.sink.Set(watched())
		s.run(t, func() { time.Sleep(2 * time.Second) })
		if n := s.count(); n < 9 || n > 12 {
			t.Errorf("%d pictures in 2 s at 5 a second", n)
		}
		// A square in 320x240: black at the sides, white in the middle.
		if s.last[5] != 16 || s.last[160] != 235 {
			t.Errorf("luma %d at the side, %d in the middle", s.last[5], s.last[160])
		}
	})
	for file, want := range map[string]string{filepath.Join(dir, "none.png"): "no such file", dir: "it is no file", write16(t, dir): "neither JPEG nor PNG"} {
		synctest.Test(t, func(t *testing.T) {
			s := newStill(StillSettings{Image: file, FPS: 5, Slate: true}, CameraSettings{Muted: true})
			s.sink.Set(watched())
			var said error
			s.run(t, func() { time.Sleep(5 * time.Second) }, func() { _, said = s.Shows() })
			if len(s.sizes) != 0 || said == nil || !strings.Contains(said.Error(), want) {
				t.Errorf("%s: %d pictures, %v", file, len(s.sizes), said)
			}
		})
	}
}

func write16(t *testing.T, dir string) string {
	t.Helper()
	name := filepath.Join(dir, "text.png")
	if err := os.WriteFile(name, []byte("this is no picture"), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestNoStillFromAStoppedCamera(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStill(StillSettings{Slate: true}, CameraSettings{Off: true})
		s.sink.Set(watched())
		s.run(t, func() { time.Sleep(10 * time.Second) })
		if len(s.sizes) != 0 {
			t.Errorf("%d pictures of a camera that was stopped", len(s.sizes))
		}
	})
}

func TestSlateFitsEverySize(t *testing.T) {
	lines := []string{"NO CAMERA", strings.Repeat("a word and ", 30), "é漢字 " + strings.Repeat("x", 200)}
	for _, size := range []media.Size{{W: 16, H: 16}, {W: 160, H: 120}, {W: 360, H: 640}, {W: 1920, H: 1080}} {
		img := slate(lines, size)
		lit := 0
		for i := 0; i < len(img.Pix); i += 4 {
			if img.Pix[i] > 0x80 {
				lit++
			}
		}
		if size.W > 100 && lit < 50 {
			t.Errorf("%v: %d lit pixels", size, lit)
		}
	}
	for _, p := range []media.PixelFormat{media.YU12, media.NV12} {
		f := media.NewFrames(media.Format{Pixel: p, Size: media.Size{W: 16, H: 16}}, 1).Get()
		img := image.NewRGBA(image.Rect(0, 0, 16, 16))
		for y := range 16 {
			for x := range 16 {
				img.Set(x, y, color.RGBA{255, 0, 0, 255})
			}
		}
		toYUV(f, img)
		u, v := f.Planes[1][0], byte(0)
		if p == media.NV12 {
			v = f.Planes[1][1]
		} else {
			v = f.Planes[2][0]
		}
		if f.Planes[0][0] != 81 || u != 90 || v != 240 { // BT.601 red
			t.Errorf("%v: red is %d %d %d", p, f.Planes[0][0], u, v)
		}
		f.Release()
	}
}
