package haltest

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"anchord/hal"
	"anchord/internal/media"
)

// MicrophoneRig is what the microphone suite needs.
type MicrophoneRig struct {
	// Open opens the microphone, which must be plugged in and free.
	Open func(t *testing.T) hal.Microphone
	// Tone is the frequency in hertz that it hears; 0 leaves that part out.
	Tone float64
	// Steps is how often its clock may be corrected within a second: one that is measured
	// through a busy sound server is, in the beginning. Times rise all the same.
	Steps int
	// Unplug and Plug pull the cable and put it back; nil leaves that part out.
	Unplug, Plug func()
	// Freeze makes it give nothing, Thaw ends that; nil leaves that part out.
	Freeze, Thaw func()
}

// Microphone runs the suite of a hal.Microphone.
func Microphone(t *testing.T, r MicrophoneRig) {
	start := func(t *testing.T, ctx context.Context, channels int) (hal.Microphone, hal.SoundFormat) {
		t.Helper()
		m := r.Open(t)
		f, err := m.Start(ctx, hal.SoundFormat{Rate: 48000, Channels: channels})
		if err != nil {
			t.Fatalf("start: %v", err)
		}
		if f.Rate != 48000 || f.Channels < 1 || f.Channels > 2 {
			t.Fatalf("granted %+v", f)
		}
		return m, f
	}
	for _, channels := range []int{1, 2} {
		t.Run([]string{"mono", "stereo"}[channels-1], func(t *testing.T) {
			leaks(t)
			m, f := start(t, t.Context(), channels)
			r.blocks(t, m, f)
			if err := m.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("volume", func(t *testing.T) {
		leaks(t)
		m, _ := start(t, t.Context(), 1)
		defer m.Close()
		v, ok := m.(hal.Volumed)
		if !ok {
			return // an extra
		}
		was, _, err := v.Volume()
		if err != nil {
			t.Fatal(err)
		}
		for _, percent := range []int{40, 75, 100, 0} {
			granted, err := v.SetVolume(percent)
			if now, _, e := v.Volume(); err != nil || e != nil || granted != now || granted < percent-10 || granted > percent+10 {
				t.Errorf("asked for %d %%, granted %d, has %d: %v %v", percent, granted, now, err, e)
			}
		}
		if _, err := v.SetVolume(was); err != nil {
			t.Error(err)
		}
	})
	t.Run("close without start", func(t *testing.T) {
		leaks(t)
		if err := r.Open(t).Close(); err != nil {
			t.Error(err)
		}
	})
	t.Run("five times", func(t *testing.T) {
		leaks(t)
		for range 5 {
			m, _ := start(t, t.Context(), 1)
			sound(t, m).Release()
			if err := m.Close(); err != nil {
				t.Fatal(err)
			}
		}
	})
	t.Run("context ends the stream", func(t *testing.T) {
		leaks(t)
		ctx, cancel := context.WithCancel(t.Context())
		m, _ := start(t, ctx, 1)
		sound(t, m).Release()
		time.AfterFunc(100*time.Millisecond, cancel)
		deaf(t, m, hal.ErrStopped, time.Second)
		m.Close()
	})
	if r.Freeze != nil {
		t.Run("freeze", func(t *testing.T) {
			leaks(t)
			m, _ := start(t, t.Context(), 1)
			sound(t, m).Release()
			r.Freeze()
			defer r.Thaw()
			deaf(t, m, hal.ErrStuck, 2*time.Second)
			m.Close()
		})
	}
	if r.Unplug != nil {
		t.Run("unplug", func(t *testing.T) {
			leaks(t)
			for range 3 {
				m, _ := start(t, t.Context(), 1)
				sound(t, m).Release()
				r.Unplug()
				deaf(t, m, hal.ErrGone, time.Second)
				m.Close()
				r.Plug()
			}
		})
	}
}

// sound takes a block. ErrStuck is not the end: a source may take its time to wake.
func sound(t *testing.T, m hal.Microphone) *media.Sound {
	t.Helper()
	s, err := m.Next()
	for n := 0; errors.Is(err, hal.ErrStuck) && n < 4; n++ {
		s, err = m.Next()
	}
	if err != nil {
		t.Fatalf("next: %v", err)
	}
	return s
}

// deaf reads until an error comes, and checks it and how long it took.
func deaf(t *testing.T, m hal.Microphone, want error, within time.Duration) {
	t.Helper()
	begun := time.Now()
	for time.Since(begun) < 10*time.Second {
		s, err := m.Next()
		if err != nil {
			wantErr(t, "next", err, want)
			if d := time.Since(begun); d > within {
				t.Errorf("noticed after %v", d)
			}
			return
		}
		s.Release()
	}
	t.Error("10 s and no error")
}

// blocks checks one second of sound: lengths, times, and the tone.
func (r MicrophoneRig) blocks(t *testing.T, m hal.Microphone, f hal.SoundFormat) {
	t.Helper()
	const n = 50
	var pcm []float64
	var last media.Time
	steps := 0
	for i := range n {
		s := sound(t, m)
		if s.Rate != f.Rate || s.Channels != f.Channels || len(s.PCM) != f.Rate/50*f.Channels {
			t.Fatalf("a block of %d samples at %d × %d, granted %+v", len(s.PCM), s.Rate, s.Channels, f)
		}
		at := s.Marks[media.Captured]
		if d := at.Sub(last); i > 0 && (d < 19*time.Millisecond || d > 21*time.Millisecond) {
			if steps++; steps > r.Steps || d <= 0 {
				t.Errorf("block %d begins %v after the one before", i, d)
			}
		}
		if age := media.Now().Sub(at); age < 0 || age > 2*time.Second {
			t.Errorf("block %d is %v old", i, age)
		}
		last = at
		for j := 0; j < len(s.PCM); j += f.Channels {
			pcm = append(pcm, float64(s.PCM[j]))
		}
		s.Release()
	}
	hz := r.Tone
	if hz == 0 {
		return
	}
	in, out := power(pcm, hz, f.Rate), power(pcm, hz*1.06, f.Rate)
	if in < 1e3 || in < 20*out {
		t.Errorf("%v Hz has power %.3g, %.0f Hz has %.3g", hz, in, hz*1.06, out)
	}
}

// power gives the power at one frequency by Goertzel's algorithm.
func power(x []float64, hz float64, rate int) float64 {
	k := 2 * math.Cos(2*math.Pi*hz/float64(rate))
	var a, b float64
	for _, v := range x {
		a, b = v+k*a-b, a
	}
	return (a*a + b*b - k*a*b) / float64(len(x)) / float64(len(x))
}
