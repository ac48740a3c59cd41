package capture

import (
	"context"
	"errors"
	"testing"
	"time"

	"anchord/hal"
	"anchord/hal/fake"
	"anchord/internal/media"
)

var (
	jack    = hal.Device{ID: "jack", Name: "Line in", Node: "fake:jack", Port: "0"}
	headset = hal.Device{ID: "headset", Name: "Headset", Node: "fake:headset", Port: "1"}
)

// ear is a Microphone that runs, and a reader.
type ear struct {
	*Microphone
	t      *testing.T
	box    *media.Mailbox[*media.Sound]
	lost   chan error // what Ready was told
	ended  chan error
	cancel func()
}

func hear(t *testing.T, real, test hal.Microphones, s MicrophoneSettings) *ear {
	t.Helper()
	var tap media.Tap[*media.Sound]
	e := &ear{t: t, box: media.NewMailbox[*media.Sound](4), lost: make(chan error, 64), ended: make(chan error, 2)}
	tap.Add(e.box.Put)
	e.Microphone = NewMicrophone(MicrophoneConfig{Log: quiet, Microphones: real, Test: test, Out: &tap,
		Ready: func(_ MicrophoneStatus, err error) {
			if err != nil {
				e.lost <- err
			}
		}}, s)
	ctx, cancel := context.WithCancel(t.Context())
	e.cancel = cancel
	gone := make(chan struct{})
	go func() { defer close(gone); e.ended <- e.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-gone; e.box.Clear() })
	return e
}

func (e *ear) until(what string, fits func(*media.Sound) bool) {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), longest)
	defer cancel()
	for {
		s, err := e.box.Get(ctx)
		if err != nil {
			e.t.Fatalf("%s: no such sound came: %+v", what, e.Status())
		}
		ok := fits(s)
		if s.Release(); ok {
			return
		}
	}
}

func (e *ear) end() error {
	e.t.Helper()
	select {
	case err := <-e.ended:
		return err
	case <-time.After(longest):
		e.t.Fatal("Run does not end")
		return nil
	}
}

func loud(s *media.Sound) bool {
	for _, v := range s.PCM {
		if v > 2000 {
			return !s.Silent && s.Rate == 48000 && len(s.PCM) == 960*s.Channels
		}
	}
	return false
}

func TestMicrophone(t *testing.T) {
	ms := fake.NewMicrophones(jack, headset)
	e := hear(t, ms, nil, MicrophoneSettings{Match: "any", Channels: 1})
	e.until("tone", loud)
	if st := e.Status(); st.Device != jack || st.Format != (hal.SoundFormat{Rate: 48000, Channels: 1}) || st.Blocks == 0 || st.Zeros != 0 {
		t.Errorf("%+v", st)
	}
	ms.Set(jack.ID, fake.Broken)
	e.until("zeros", func(s *media.Sound) bool { return s.Silent && e.Status().Zeros > 2 })
	ms.Set(jack.ID, fake.Healthy)
	e.until("tone again", func(s *media.Sound) bool { return loud(s) && e.Status().Zeros == 0 })

	set := func(edit func(*MicrophoneSettings)) { v := e.Settings(); edit(&v); e.Set(v) }
	set(func(v *MicrophoneSettings) { v.Channels = 2 })
	e.until("stereo", func(s *media.Sound) bool { return s.Channels == 2 && loud(s) && s.PCM[0] == s.PCM[1] })
	set(func(v *MicrophoneSettings) { v.Match = "headset" })
	e.until("another", func(s *media.Sound) bool { return loud(s) && e.Status().Device == headset })
	set(func(v *MicrophoneSettings) { v.Off = true })
	for end := time.Now().Add(longest); e.Status().Device.ID != ""; {
		if time.Now().After(end) {
			t.Fatal("off: the device stays open")
		}
	}
	if m, err := ms.Open(t.Context(), headset); err != nil {
		t.Errorf("off: the device is in use: %v", err)
	} else {
		m.Close()
	}
	set(func(v *MicrophoneSettings) { v.Off = false })
	e.until("on", loud)

	// Zeros are one microphone's own.
	ms.Set(headset.ID, fake.Broken)
	e.until("zeros", func(s *media.Sound) bool { return s.Silent && e.Status().Zeros > 2 })
	set(func(v *MicrophoneSettings) { v.Off = true })
	for end := time.Now().Add(longest); e.Status().Device.ID != ""; {
		if time.Now().After(end) {
			t.Fatal("off: the device stays open")
		}
	}
	if st := e.Status(); st.Zeros != 0 {
		t.Errorf("no microphone is open: %+v", st)
	}
	ms.Set(headset.ID, fake.Healthy)
	set(func(v *MicrophoneSettings) { v.Off = false })
	e.until("on again", loud)

	// One that is named is the only one, there or not.
	set(func(v *MicrophoneSettings) { v.Match = "on the roof" })
	if err := e.end(); !errors.Is(err, hal.ErrGone) {
		t.Error(err)
	}
	e = hear(t, ms, nil, MicrophoneSettings{Match: "headset", Channels: 1})
	e.until("the headset", loud)

	// It never moves to another microphone by accident.
	ms.Unplug(headset.ID)
	if err := e.end(); !errors.Is(err, hal.ErrGone) {
		t.Error(err)
	}
	e = hear(t, ms, nil, MicrophoneSettings{Match: "headset", Channels: 1})
	if err := e.end(); !errors.Is(err, hal.ErrGone) {
		t.Error(err)
	}
}

func TestMicrophoneFallsBack(t *testing.T) {
	real, test := fake.NewMicrophones(), fake.NewMicrophones(fake.TestTone)
	e := hear(t, real, test, MicrophoneSettings{Match: "any, test", Channels: 1})
	e.until("test tone", func(s *media.Sound) bool { return loud(s) && e.Status().Device == fake.TestTone })
	real.Plug(jack)
	e.Changed()
	e.until("plugged", func(s *media.Sound) bool { return loud(s) && e.Status().Device == jack })
	real.Unplug(jack.ID)
	if err := e.end(); !errors.Is(err, hal.ErrGone) {
		t.Error(err)
	}
	e = hear(t, real, test, MicrophoneSettings{Match: "any, test", Channels: 1})
	e.until("test tone again", func(s *media.Sound) bool { return loud(s) && e.Status().Device == fake.TestTone })
}

func TestMicrophoneThatIsStuck(t *testing.T) {
	ms := fake.NewMicrophones(jack)
	ms.Set(jack.ID, fake.Frozen)
	begun := time.Now()
	e := hear(t, ms, nil, MicrophoneSettings{Match: "any", Channels: 1})
	if err := e.end(); !errors.Is(err, hal.ErrStuck) || time.Since(begun) < 1500*time.Millisecond {
		t.Errorf("%v after %v", err, time.Since(begun))
	}
	// One that takes its time to wake is not opened anew.
	e = hear(t, ms, nil, MicrophoneSettings{Match: "any", Channels: 1})
	time.AfterFunc(700*time.Millisecond, func() { ms.Set(jack.ID, fake.Healthy) })
	e.until("woken", loud)
	if len(e.ended) != 0 {
		t.Error("it was opened anew")
	}
}

func TestMicrophoneIsStoppedByItsContext(t *testing.T) {
	e := hear(t, fake.NewMicrophones(jack), nil, MicrophoneSettings{Match: "any", Channels: 1})
	e.until("tone", loud)
	e.cancel()
	if err := e.end(); err != context.Canceled || len(e.lost) != 0 {
		t.Errorf("an ordinary end: %v, %d microphones are said to be lost", err, len(e.lost))
	}
	e = hear(t, fake.NewMicrophones(jack), nil, MicrophoneSettings{Match: "any", Off: true})
	e.cancel()
	if err := e.end(); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// The device's own volume is set when it is opened and when it is wanted otherwise, and read
// back; a device that is gone has none.
func TestDeviceVolume(t *testing.T) {
	ms := fake.NewMicrophones(usb)
	var tap media.Tap[*media.Sound]
	tap.Add(func(s *media.Sound) { s.Release() })
	set := MicrophoneSettings{Match: "any", Channels: 1, Volume: 43}
	m := NewMicrophone(MicrophoneConfig{Log: quiet, Microphones: ms, Out: &tap}, set)
	if _, _, err := m.Volume(); !errors.Is(err, ErrNoVolume) {
		t.Errorf("before it runs: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	has := func(want int) {
		t.Helper()
		for end := time.Now().Add(longest); ; time.Sleep(time.Millisecond) {
			p, _, err := m.Volume()
			if err == nil && p == want {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("%d %v, want %d", p, err, want)
			}
		}
	}
	has(40) // it has steps
	set.Volume = 80
	m.Set(set)
	has(80)
	set.Volume = -1
	m.Set(set)
	has(80)
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, _, err := m.Volume(); !errors.Is(err, ErrNoVolume) {
		t.Errorf("afterwards: %v", err)
	}
}
