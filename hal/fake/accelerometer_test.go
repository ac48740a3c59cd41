package fake

import (
	"testing"

	"anchord/hal"
	"anchord/hal/haltest"
	"anchord/internal/media"
)

func TestAccelerometerConforms(t *testing.T) {
	a := NewAccelerometers()
	haltest.Accelerometer(t, haltest.AccelerometerRig{
		Open: func(t *testing.T) (hal.Accelerometer, error) { return a.Open(t.Context(), hal.SensorPlace{}) },
		Tilt: func(v media.Vector) { a.Play(Tilt{Just: v}) },
		Fail: a.Fail, Unplug: func() { a.Unplug(true) }, Plug: func() { a.Unplug(false) },
	})
}
