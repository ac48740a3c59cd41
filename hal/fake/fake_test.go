package fake

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"anchord/hal"
	"anchord/hal/haltest"
	"anchord/internal/media"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestCamera(t *testing.T) {
	cs := NewCameras(TestPicture)
	haltest.Camera(t, haltest.CameraRig{
		Open: func(t *testing.T) hal.Camera {
			c, err := cs.Open(t.Context(), TestPicture)
			if err != nil {
				t.Fatal(err)
			}
			return c
		},
		Unplug: func() { cs.Unplug(TestPicture.ID) },
		Plug:   func() { cs.Plug(TestPicture) },
		Freeze: func() { cs.Set(TestPicture.ID, Frozen) },
		Thaw:   func() { cs.Set(TestPicture.ID, Healthy) },
	})
}

func TestMicrophone(t *testing.T) {
	ms := NewMicrophones(TestTone)
	haltest.Microphone(t, haltest.MicrophoneRig{
		Open: func(t *testing.T) hal.Microphone {
			m, err := ms.Open(t.Context(), TestTone)
			if err != nil {
				t.Fatal(err)
			}
			return m
		},
		Tone:   ToneHz,
		Unplug: func() { ms.Unplug(TestTone.ID) },
		Plug:   func() { ms.Plug(TestTone) },
		Freeze: func() { ms.Set(TestTone.ID, Frozen) },
		Thaw:   func() { ms.Set(TestTone.ID, Healthy) },
	})
}

func TestEncoder(t *testing.T) {
	haltest.Encoder(t, haltest.EncoderRig{Make: &Encoders{}, Paint: func(*media.Frame, int) {}})
}

func TestFinder(t *testing.T) {
	cs := NewCameras()
	haltest.Finder(t, cs, func() string { cs.Plug(TestPicture); return TestPicture.ID }, cs.Unplug)
}

func TestWatchersComeAndGoWhileThingsArePlugged(t *testing.T) {
	cs := NewCameras()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				ctx, cancel := context.WithCancel(t.Context())
				if err := cs.Watch(ctx, cancel); !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			}
		})
	}
	for range 200 {
		cs.Plug(TestPicture)
		cs.Unplug(TestPicture.ID)
	}
	wg.Wait()
	if n := len(cs.watchers); n != 0 {
		t.Errorf("%d watchers are left", n)
	}
}

func TestOpenSaysWhyNot(t *testing.T) {
	cs := NewCameras(TestPicture)
	for f, want := range map[Fault]error{Busy: hal.ErrBusy, Denied: hal.ErrDenied} {
		cs.Set(TestPicture.ID, f)
		if _, err := cs.Open(t.Context(), TestPicture); !errors.Is(err, want) {
			t.Errorf("fault %d: %v", f, err)
		}
	}
	cs.Set(TestPicture.ID, Healthy)
	c, err := cs.Open(t.Context(), TestPicture)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cs.Open(t.Context(), TestPicture); !errors.Is(err, hal.ErrBusy) {
		t.Errorf("second open: %v", err)
	}
	c.Close()
	cs.Unplug(TestPicture.ID)
	if _, err := cs.Open(t.Context(), TestPicture); !errors.Is(err, hal.ErrGone) {
		t.Errorf("unplugged: %v", err)
	}
}

func TestPictureIsReadBack(t *testing.T) {
	t.Parallel()
	for _, px := range []media.PixelFormat{media.YU12, media.NV12} {
		for _, s := range []media.Size{{W: 1280, H: 720}, {W: 640, H: 480}, {W: 320, H: 240}, {W: 160, H: 120}} {
			cs := NewCameras(TestPicture)
			c, err := cs.Open(t.Context(), TestPicture)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Start(t.Context(), hal.Mode{Pixel: px, Size: s, Rate: media.FPS(60)}); err != nil {
				t.Fatal(err)
			}
			for n := range uint16(5) {
				f, err := c.Next()
				if err != nil {
					t.Fatal(err)
				}
				r, err := Read(f)
				ms := uint16(f.Marks[media.Captured] / 1e6)
				if err != nil || r.Counter != n || r.Millis != ms || r.Flash != (f.Marks[media.Captured]/1e6%1000 < 100) {
					t.Errorf("%v: %+v %v, captured at %d", f.Format, r, err, ms)
				}
				f.Release()
			}
			c.Close()
		}
	}
	f := media.NewFrames(media.Format{Pixel: media.YU12, Size: media.Size{W: 320, H: 240}}, 1).Get()
	if _, err := Read(f); !errors.Is(err, ErrNotTestPicture) {
		t.Errorf("a green picture: %v", err)
	}
}

func TestBrokenAndLateFrames(t *testing.T) {
	t.Parallel()
	cs := NewCameras(TestPicture)
	c, _ := cs.Open(t.Context(), TestPicture)
	c.Start(t.Context(), hal.Mode{Pixel: media.NV12, Size: media.Size{W: 160, H: 120}, Rate: media.FPS(60)})
	cs.Set(TestPicture.ID, Broken)
	if _, err := c.Next(); !errors.Is(err, hal.ErrStuck) || c.Faults().Broken < 10 {
		t.Errorf("%v, %+v", err, c.Faults())
	}
	cs.Set(TestPicture.ID, Late)
	begun := time.Now()
	for range 6 {
		f, err := c.Next()
		if err != nil {
			t.Fatal(err)
		}
		f.Release()
	}
	if d := time.Since(begun); d < 250*time.Millisecond {
		t.Errorf("six late frames in %v", d)
	}
	c.Close()
}

func TestPictureAllocatesNothing(t *testing.T) {
	cs := NewCameras(TestPicture)
	c, _ := cs.Open(t.Context(), TestPicture)
	c.Start(t.Context(), hal.Mode{Pixel: media.NV12, Size: media.Size{W: 320, H: 240}, Rate: media.FPS(60)})
	for range buffers + 1 {
		f, _ := c.Next()
		f.Release()
	}
	if n := testing.AllocsPerRun(20, func() { f, _ := c.Next(); f.Release() }); n != 0 {
		t.Errorf("%v allocations a frame", n)
	}
	c.Close()
}
