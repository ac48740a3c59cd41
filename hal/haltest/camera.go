package haltest

import (
	"context"
	"testing"
	"time"

	"anchord/hal"
	"anchord/internal/media"
)

// CameraRig is what the camera suite needs.
type CameraRig struct {
	// Open opens the camera, which must be plugged in and free.
	Open func(t *testing.T) hal.Camera
	// Mode picks the mode to test; nil: the smallest raw one.
	Mode func([]hal.Mode) hal.Mode
	// Unplug and Plug pull the cable and put it back; nil leaves that part out.
	Unplug, Plug func()
	// Freeze makes the camera stream nothing, Thaw ends that; nil leaves that part out.
	Freeze, Thaw func()
}

// Camera runs the suite of a hal.Camera.
func Camera(t *testing.T, r CameraRig) {
	start := func(t *testing.T, ctx context.Context) (hal.Camera, hal.Mode) {
		t.Helper()
		c := r.Open(t)
		ms, err := c.Modes()
		if err != nil || len(ms) == 0 {
			t.Fatalf("modes: %v %v", ms, err)
		}
		m := r.pick(ms)
		g, err := c.Start(ctx, m)
		if err != nil {
			t.Fatalf("start %v: %v", m, err)
		}
		if g.Pixel != m.Pixel || g.Size != m.Size || g.Rate.Float() <= 0 {
			t.Errorf("asked for an offered mode %v, granted %v", m, g)
		}
		return c, g
	}
	t.Run("frames", func(t *testing.T) {
		leaks(t)
		c, m := start(t, t.Context())
		frames(t, c, m)
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Run("five times", func(t *testing.T) {
		leaks(t)
		for range 5 {
			c, _ := start(t, t.Context())
			next(t, c).Release()
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
	t.Run("close without start", func(t *testing.T) {
		leaks(t)
		if err := r.Open(t).Close(); err != nil {
			t.Error(err)
		}
	})
	t.Run("start twice", func(t *testing.T) {
		leaks(t)
		c, m := start(t, t.Context())
		if _, err := c.Start(t.Context(), m); err == nil {
			t.Error("no error")
		}
		next(t, c).Release()
		c.Close()
	})
	t.Run("a mode that nobody has", func(t *testing.T) {
		leaks(t)
		c := r.Open(t)
		ctx, cancel := context.WithCancel(t.Context())
		g, err := c.Start(ctx, hal.Mode{Pixel: media.YU12, Size: media.Size{W: 7, H: 5}, Rate: media.FPS(1000)})
		if err == nil && g.Size == (media.Size{W: 7, H: 5}) && g.Rate.Float() >= 1000 {
			t.Errorf("granted %v", g)
		}
		cancel()
		c.Close()
	})
	t.Run("context ends the stream", func(t *testing.T) {
		leaks(t)
		ctx, cancel := context.WithCancel(t.Context())
		c, _ := start(t, ctx)
		next(t, c).Release()
		time.AfterFunc(100*time.Millisecond, cancel)
		begun := time.Now()
		for {
			f, err := c.Next()
			if err == nil {
				f.Release()
				continue
			}
			wantErr(t, "next after the end", err, hal.ErrStopped)
			break
		}
		if d := time.Since(begun); d > time.Second {
			t.Errorf("noticed after %v", d)
		}
		c.Close()
	})
	t.Run("readers keep all frames", func(t *testing.T) {
		leaks(t)
		ctx, cancel := context.WithCancel(t.Context())
		c, _ := start(t, ctx)
		f, g := next(t, c), next(t, c)
		time.AfterFunc(300*time.Millisecond, f.Release)
		time.AfterFunc(600*time.Millisecond, g.Release)
		if err := c.Close(); err != nil { // waits for both
			t.Error(err)
		}
		cancel()
	})
	if r.Freeze != nil {
		t.Run("freeze", func(t *testing.T) {
			leaks(t)
			c, _ := start(t, t.Context())
			next(t, c).Release()
			r.Freeze()
			defer r.Thaw()
			begun := time.Now()
			fails(t, c, hal.ErrStuck)
			if d := time.Since(begun); d > 5*time.Second {
				t.Errorf("noticed after %v", d)
			}
			c.Close()
		})
	}
	if r.Unplug != nil {
		t.Run("unplug", func(t *testing.T) {
			leaks(t)
			for range 3 {
				c, _ := start(t, t.Context())
				kept := next(t, c)
				r.Unplug()
				begun := time.Now()
				fails(t, c, hal.ErrGone)
				if d := time.Since(begun); d > 3*time.Second {
					t.Errorf("noticed after %v", d)
				}
				kept.Release()
				c.Close()
				r.Plug()
			}
		})
	}
}

func (r CameraRig) pick(ms []hal.Mode) hal.Mode {
	if r.Mode != nil {
		return r.Mode(ms)
	}
	var best hal.Mode
	for _, m := range ms {
		if !m.Pixel.Compressed() && (best.Pixel == 0 || m.Size.Area() < best.Size.Area()) {
			best = m
		}
	}
	return best
}

func next(t *testing.T, c hal.Camera) *media.Frame {
	t.Helper()
	f, err := c.Next()
	if err != nil {
		t.Fatalf("next: %v", err)
	}
	return f
}

// fails reads until an error comes and checks it.
func fails(t *testing.T, c hal.Camera, want error) {
	t.Helper()
	for range 1000 {
		f, err := c.Next()
		if err != nil {
			wantErr(t, "next", err, want)
			return
		}
		f.Release()
	}
	t.Error("1000 frames and no error")
}

// frames checks 20 frames: sizes, planes, times and sequence numbers.
func frames(t *testing.T, c hal.Camera, m hal.Mode) {
	t.Helper()
	var last media.Marks
	var seq uint32
	first := media.Time(0)
	for i := range 20 {
		f := next(t, c)
		if f.Pixel != m.Pixel || f.Size != m.Size {
			t.Errorf("a frame in %v, granted %v", f.Format, m)
		}
		if f.Pixel.Compressed() {
			if len(f.Planes[0]) < 100 {
				t.Errorf("%d bytes", len(f.Planes[0]))
			}
		} else if !planes(f) {
			t.Errorf("%v: strides %v, planes %d %d %d bytes", f.Format, f.Stride, len(f.Planes[0]), len(f.Planes[1]), len(f.Planes[2]))
		}
		k := f.Marks
		if k[media.Captured] <= last[media.Captured] || k[media.Captured] > k[media.Arrived] || media.Now() < k[media.Arrived] {
			t.Errorf("frame %d: captured %d, arrived %d, after one captured %d", i, k[media.Captured], k[media.Arrived], last[media.Captured])
		}
		if d := k.Between(media.Captured, media.Arrived); d > time.Second {
			t.Errorf("frame %d arrived %v after it was captured", i, d)
		}
		if i > 0 && f.Seq <= seq {
			t.Errorf("sequence %d after %d", f.Seq, seq)
		}
		if i == 0 {
			first = k[media.Captured]
		}
		last, seq = k, f.Seq
		f.Release()
	}
	if d, want := last[media.Captured].Sub(first), 19*m.Rate.Interval(); d < want*7/10 {
		t.Errorf("20 frames in %v, granted %v a second", d, m.Rate)
	}
}

// planes tells whether the planes have room for the picture.
func planes(f *media.Frame) bool {
	w, h := f.Size.W, f.Size.H
	type plane struct{ line, lines int }
	var want []plane
	switch f.Pixel {
	case media.YUYV:
		want = []plane{{(w + 1) / 2 * 4, h}}
	case media.NV12:
		want = []plane{{w, h}, {(w + 1) &^ 1, (h + 1) / 2}}
	case media.YU12:
		want = []plane{{w, h}, {(w + 1) / 2, (h + 1) / 2}, {(w + 1) / 2, (h + 1) / 2}}
	default:
		return false
	}
	for i, p := range want {
		if f.Stride[i] < p.line || len(f.Planes[i]) < f.Stride[i]*(p.lines-1)+p.line {
			return false
		}
	}
	return true
}
