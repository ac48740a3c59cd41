package haltest

import (
	"context"
	"errors"
	"math"
	"testing"

	"anchord/hal"
	"anchord/internal/media"
)

// AccelerometerRig is what the accelerometer suite needs.
type AccelerometerRig struct {
	// Open opens the accelerometer, which must be free.
	Open func(t *testing.T) (hal.Accelerometer, error)
	// Tilt lets the chip measure v along its own axes, from the next Read on.
	Tilt func(v media.Vector)
	// Fail lets the next n requests to it fail; nil leaves that part out.
	Fail func(n int)
	// Unplug takes it off its bus, Plug puts it back; nil leaves that part out.
	Unplug, Plug func()
}

// Accelerometer runs the suite of a hal.Accelerometer. What it asks for does not depend on
// time or chance, so that a recording of it can be played back.
func Accelerometer(t *testing.T, r AccelerometerRig) {
	open := func(t *testing.T) hal.Accelerometer {
		t.Helper()
		a, err := r.Open(t)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	t.Run("measures", func(t *testing.T) {
		leaks(t)
		a := open(t)
		i := a.Info()
		if i.ID == "" || i.Name == "" || i.Node == "" || i.Mount.Zero() || i.Step <= 0 || i.Step > 1 {
			t.Errorf("it is %+v", i)
		}
		for _, v := range tilts() {
			r.Tilt(v)
			got, err := a.Read(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if d := got.Plus(v.Times(-1)); math.Abs(d.X) > 3*i.Step+.05 || math.Abs(d.Y) > 3*i.Step+.05 || math.Abs(d.Z) > 3*i.Step+.05 {
				t.Errorf("it measures %v of %v", got, v)
			}
		}
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Run("three times", func(t *testing.T) {
		leaks(t)
		r.Tilt(media.Vector{Z: media.Gravity})
		for range 3 {
			a := open(t)
			if v, err := a.Read(t.Context()); err != nil || math.Abs(v.Length()-media.Gravity) > .5 {
				t.Errorf("it measures %v, %v", v, err)
			}
			if err := a.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
	t.Run("a context that has ended", func(t *testing.T) {
		leaks(t)
		a := open(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := a.Read(ctx)
		wantErr(t, "read", err, context.Canceled)
		a.Close()
	})
	if r.Fail != nil {
		t.Run("requests that fail", func(t *testing.T) {
			leaks(t)
			a := open(t)
			r.Fail(2)
			for range 2 {
				if v, err := a.Read(t.Context()); err == nil {
					t.Errorf("it measures %v", v)
				}
			}
			if _, err := a.Read(t.Context()); err != nil {
				t.Errorf("once they do not fail any more: %v", err)
			}
			a.Close()
			r.Fail(1)
			if a, err := r.Open(t); err == nil {
				a.Close()
				t.Error("it was opened")
			}
		})
	}
	if r.Unplug != nil {
		t.Run("off its bus", func(t *testing.T) {
			leaks(t)
			a := open(t)
			r.Unplug()
			_, err := a.Read(t.Context())
			wantErr(t, "read", err, hal.ErrGone)
			if err := a.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
			if b, err := r.Open(t); err == nil {
				b.Close()
				t.Error("it was opened")
			} else if !errors.Is(err, hal.ErrGone) {
				t.Errorf("open: %v", err)
			}
			r.Plug()
			a = open(t)
			if _, err := a.Read(t.Context()); err != nil {
				t.Error(err)
			}
			a.Close()
		})
	}
}

// tilts are measurements at rest, each axis up and down, and some between.
func tilts() []media.Vector {
	const g = media.Gravity
	return []media.Vector{{X: g}, {X: -g}, {Y: g}, {Y: -g}, {Z: g}, {Z: -g}, {X: .6 * g, Y: -.8 * g}, {X: -.001 * g, Y: g, Z: .003 * g}}
}
