package pulse_test

import (
	"testing"

	"anchord/hal"
	"anchord/hal/haltest"
	"anchord/hal/pulse"
	"anchord/hal/pulse/pulsetest"
)

func TestConforms(t *testing.T) {
	s := pulsetest.Start(t)
	ms := pulse.New(pulse.Config{Server: s.Address()})
	haltest.Microphone(t, haltest.MicrophoneRig{
		Open: func(t *testing.T) hal.Microphone {
			t.Helper()
			m, err := ms.Open(t.Context(), hal.Device{ID: pulsetest.Mic, Node: pulsetest.Mic})
			if err != nil {
				t.Fatal(err)
			}
			return m
		},
		Tone:   pulsetest.Tone,
		Steps:  5,
		Unplug: s.Unplug,
		Plug:   s.Plug,
		Freeze: func() { s.Suspend(pulsetest.Mic, true) },
		Thaw:   func() { s.Suspend(pulsetest.Mic, false) },
	})
}

func TestFinderConforms(t *testing.T) {
	s := pulsetest.Start(t)
	s.Unplug()
	haltest.Finder(t, pulse.New(pulse.Config{Server: s.Address()}), func() string { s.Plug(); return pulsetest.Mic },
		func(string) { s.Unplug() })
}
