package accel

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/i2c/i2ctest"

	"anchord/hal"
	"anchord/hal/haltest"
	"anchord/internal/media"
)

// recording is what passed over the bus while a chip went through the suite: the rig's tests
// make it.
type recording struct {
	Device  string
	Address int
	Ops     []i2ctest.IO
}

// playback is a bus that can be opened again and again; what was recorded goes on.
type playback struct{ *i2ctest.Playback }

func (playback) Close() error { return nil }

// TestPlayback: the suite on what chips on a kernel's bus answered.
func TestPlayback(t *testing.T) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) != len(models) {
		t.Fatalf("recordings: %v, %v", files, err)
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".json"), func(t *testing.T) {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			var r recording
			if err := json.Unmarshal(b, &r); err != nil {
				t.Fatal(err)
			}
			bus := playback{&i2ctest.Playback{Ops: r.Ops, DontPanic: true}}
			s := New(Config{})
			s.bus = func(int, uint16) (i2c.BusCloser, error) { return bus, nil }
			haltest.Accelerometer(t, haltest.AccelerometerRig{
				Open: func(t *testing.T) (hal.Accelerometer, error) {
					return s.Open(t.Context(), hal.SensorPlace{Device: r.Device, Address: r.Address})
				},
				Tilt: func(media.Vector) {}, // the answers have it
			})
			if err := bus.Playback.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
