//go:build rig

// These tests run on kernel devices: in the virtual-hardware rig's guest, as root, on the
// chips of its virtual I²C bus.
//
//	go test -c -tags rig ./hal/accel, run by test/rig/rig.sh

package accel

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"periph.io/x/conn/v3/i2c"
	"periph.io/x/conn/v3/i2c/i2ctest"

	"anchord/hal"
	"anchord/hal/haltest"
	"anchord/internal/media"
)

const knobs = "/sys/module/vaccel/parameters/"

// shell runs a line in the guest and gives its output.
func shell(t *testing.T, line string) string {
	t.Helper()
	out, err := exec.Command("sh", "-c", ". /rig/lib.sh; "+line).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", line, err, out)
	}
	return strings.TrimSpace(string(out))
}

// knob sets a parameter of the virtual bus.
func knob(t *testing.T, name string, value int) {
	t.Helper()
	if err := os.WriteFile(knobs+name, []byte(strconv.Itoa(value)), 0); err != nil {
		t.Fatal(err)
	}
}

// requests gives how many transfers there were on the bus.
func requests(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile(knobs + "requests")
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// tilt lets the chips measure v.
func tilt(t *testing.T, v media.Vector) {
	for name, x := range map[string]float64{"x": v.X, "y": v.Y, "z": v.Z} {
		knob(t, name, int(math.Round(1000*x/media.Gravity)))
	}
}

// bus loads the virtual bus and gives its number.
func bus(t *testing.T) int {
	t.Helper()
	shell(t, "modprobe -a vaccel i2c-dev")
	t.Cleanup(func() { shell(t, "rmmod vaccel") })
	n, err := strconv.Atoi(shell(t, `i2cdetect -l | awk '/vaccel/ { sub("i2c-", "", $1); print $1 }'`))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// rigChips are the chips of the virtual bus.
var rigChips = map[string]int{"lis3dh": 0x19, "sc7a20": 0x18, "mma8452": 0x1d, "adxl345": 0x53, "kxcj9": 0x0e}

func TestRigI2C(t *testing.T) {
	n := bus(t)
	for name, address := range rigChips {
		t.Run(name, func(t *testing.T) {
			p := hal.SensorPlace{Device: fmt.Sprintf("i2c:%d:%s", n, name), Address: address}
			haltest.Accelerometer(t, haltest.AccelerometerRig{
				Open:   func(t *testing.T) (hal.Accelerometer, error) { return New(Config{}).Open(t.Context(), p) },
				Tilt:   func(v media.Vector) { tilt(t, v) },
				Fail:   func(n int) { knob(t, "eio", n) },
				Unplug: func() { knob(t, "absent", address) },
				Plug:   func() { knob(t, "absent", 0) },
			})
			knob(t, "nack", 1)
			if _, err := New(Config{}).Open(t.Context(), p); !errors.Is(err, hal.ErrGone) {
				t.Errorf("not acknowledged: %v", err)
			}
			knob(t, "id", 0x42)
			before := requests(t)
			if _, err := New(Config{}).Open(t.Context(), p); !errors.Is(err, hal.ErrUnsupported) || !strings.Contains(err.Error(), "0x42") {
				t.Errorf("another chip: %v", err)
			}
			if d := requests(t) - before; d != 1 {
				t.Errorf("another chip was asked %d times", d)
			}
			knob(t, "id", -1)
		})
	}
}

// TestRigHang: a bus that hangs keeps nobody longer than two seconds.
func TestRigHang(t *testing.T) {
	n := bus(t)
	s, p := New(Config{}), hal.SensorPlace{Device: fmt.Sprintf("i2c:%d:lis3dh", n), Address: 0x19}
	knob(t, "slow_ms", 5000)
	begun := time.Now()
	if _, err := s.Open(t.Context(), p); !errors.Is(err, hal.ErrStuck) {
		t.Errorf("open: %v", err)
	}
	if d := time.Since(begun); d > 4*time.Second {
		t.Errorf("it took %v", d)
	}
	knob(t, "slow_ms", 0)
	shell(t, "sleep 6") // until the lost request is home
	a, err := s.Open(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}

// TestRigRecording: what passes over the bus is what the recordings have. Those that differ are
// left in /host/testdata, if there is one.
func TestRigRecording(t *testing.T) {
	n := bus(t)
	for name, address := range rigChips {
		t.Run(name, func(t *testing.T) {
			s := New(Config{})
			r := recording{Device: "i2c:1:" + name, Address: address}
			var tape i2ctest.Record
			s.bus = func(_ int, a uint16) (i2c.BusCloser, error) {
				b, err := kernelBus(n, a)
				tape.Bus = b
				return recorded{&tape, b}, err
			}
			haltest.Accelerometer(t, haltest.AccelerometerRig{
				Open: func(t *testing.T) (hal.Accelerometer, error) {
					return s.Open(t.Context(), hal.SensorPlace{Device: r.Device, Address: address})
				},
				Tilt: func(v media.Vector) { tilt(t, v) },
			})
			r.Ops = tape.Ops
			b, err := json.MarshalIndent(r, "", " ")
			if err != nil {
				t.Fatal(err)
			}
			b = append(b, '\n')
			was, err := os.ReadFile(filepath.Join("/host/testdata", name+".json"))
			if d := cmp.Diff(string(was), string(b)); d != "" {
				t.Errorf("it differs: %v\n%.2000s", err, d)
				if err := os.WriteFile(filepath.Join("/host/testdata", name+".json"), b, 0o644); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// recorded records one opening of a bus.
type recorded struct {
	*i2ctest.Record
	bus i2c.BusCloser
}

func (r recorded) Close() error { return r.bus.Close() }

// TestRigIIO: chips that a driver of the kernel has, which nobody else may touch then.
func TestRigIIO(t *testing.T) {
	n := bus(t)
	for _, c := range []struct {
		name, module string
		address      int
	}{{"lis3dh", "st_accel_i2c", 0x19}, {"mma8452", "mma8452", 0x1d}} {
		t.Run(c.name, func(t *testing.T) {
			shell(t, fmt.Sprintf("modprobe %s; echo %s 0x%02x >/sys/bus/i2c/devices/i2c-%d/new_device; wait_until 10 test -e /sys/bus/iio/devices/iio:device0/in_accel_x_raw", c.module, c.name, c.address, n))
			defer shell(t, fmt.Sprintf("echo 0x%02x >/sys/bus/i2c/devices/i2c-%d/delete_device", c.address, n))
			s := New(Config{})
			before := requests(t)
			ds, err := s.List(t.Context())
			if err != nil || len(ds) != 1 || ds[0].ID != "iio:"+c.name || ds[0].Port != fmt.Sprintf("%d-%04x", n, c.address) {
				t.Errorf("listed: %+v, %v", ds, err)
			}
			if _, err := s.Open(t.Context(), hal.SensorPlace{Device: fmt.Sprintf("i2c:%d:%s", n, c.name), Address: c.address}); !errors.Is(err, hal.ErrBusy) {
				t.Errorf("by the bus: %v", err)
			}
			if d := requests(t) - before; d != 0 {
				t.Errorf("%d requests to list, and to be refused", d)
			}
			haltest.Accelerometer(t, haltest.AccelerometerRig{
				Open: func(t *testing.T) (hal.Accelerometer, error) {
					return s.Open(t.Context(), hal.SensorPlace{Device: Auto})
				},
				Tilt: func(v media.Vector) { tilt(t, v) },
			})
			a, err := s.Open(t.Context(), hal.SensorPlace{Device: "iio:" + c.name})
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			knob(t, "eio", 1)
			if v, err := a.Read(t.Context()); err == nil {
				t.Errorf("it measures %v", v)
			}
			if v, err := a.Read(t.Context()); err != nil {
				t.Errorf("%v, %v", v, err)
			}
		})
	}
}
