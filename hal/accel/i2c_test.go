package accel

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"anchord/hal"
	"anchord/hal/haltest"
	"anchord/internal/media"
)

// The chips of the simulated bus, by what is written into the configuration.
var simPlaces = []hal.SensorPlace{{Device: "i2c:1:lis3dh", Address: 0x19}, {Device: "i2c:1:sc7a20", Address: 0x18}, {Device: "i2c:1:mma8452", Address: 0x1c},
	{Device: "i2c:1:mma8452", Address: 0x1d}, {Device: "i2c:1:adxl345", Address: 0x53}, {Device: "i2c:1:kxcj9", Address: 0x0e}}

func onSim(t *testing.T) (*Sensors, *sim) {
	b, s := newSim(t), New(Config{})
	s.bus = b.open
	return s, b
}

func TestI2CConforms(t *testing.T) {
	for _, p := range simPlaces {
		t.Run(fmt.Sprintf("%s at %#x", p.Device, p.Address), func(t *testing.T) {
			s, b := onSim(t)
			all := b.chips
			haltest.Accelerometer(t, haltest.AccelerometerRig{
				Open:   func(t *testing.T) (hal.Accelerometer, error) { return s.Open(t.Context(), p) },
				Tilt:   func(v media.Vector) { b.with(func() { b.up = v }) },
				Fail:   func(n int) { b.with(func() { b.fails = n }) },
				Unplug: func() { b.with(func() { b.chips = nil }) },
				Plug:   func() { b.with(func() { b.chips = all }) },
			})
			for a := range b.seen {
				if int(a) != p.Address {
					t.Errorf("0x%02x was asked as well", a)
				}
			}
			if b.opened != 0 {
				t.Errorf("%d are open", b.opened)
			}
		})
	}
}

// TestI2CRefusals: what is not the chip is not touched again, and the words help.
func TestI2CRefusals(t *testing.T) {
	for _, c := range []struct {
		name, device string
		address      int
		do           func(*sim)
		want         error
		words        string
		asked        int // requests on the bus
	}{
		{"another chip", "i2c:1:sc7a20", 0x19, nil, hal.ErrUnsupported, "what answers is no sc7a20: register 0x0f has 0x33, not 0x11", 1},
		{"an address that it cannot have", "i2c:1:lis3dh", 0x48, nil, hal.ErrUnsupported, "only at 0x18, 0x19", 0},
		{"no address", "i2c:1:lis3dh", 0, nil, hal.ErrUnsupported, "only at 0x18, 0x19", 0},
		{"a chip that is not known", "i2c:1:bma180", 0x18, nil, hal.ErrUnsupported, "lis3dh, sc7a20, mma8452, adxl345, kxcj9", 0},
		{"no chip", "i2c:1", 0x18, nil, hal.ErrUnsupported, "want i2c:BUS:CHIP", 0},
		{"no number", "i2c:one:lis3dh", 0x18, nil, hal.ErrUnsupported, "want i2c:BUS:CHIP", 0},
		{"no such bus", "i2c:2:lis3dh", 0x19, nil, hal.ErrGone, "no such file", 0},
		{"nobody answers", "i2c:1:mma8452", 0x1c, func(b *sim) { b.chips = nil }, hal.ErrGone, "nobody answers", 1},
		{"the other way to say that", "i2c:1:lis3dh", 0x19, func(b *sim) { b.fails, b.err = 1, unix.EREMOTEIO }, hal.ErrGone, "nobody answers", 1},
		{"lines held down", "i2c:1:lis3dh", 0x19, func(b *sim) { b.fails, b.err = 1, unix.ETIMEDOUT }, hal.ErrStuck, "lines", 1},
		{"settings do not stay", "i2c:1:kxcj9", 0x0e, func(b *sim) {
			b.chips[5].frozen = 0x0f
			b.chips[5].register[0x0f] |= 1
			b.chips[5].id = 0
			b.chips[5].register[0x0f] = 0x11
		}, hal.ErrUnsupported, "does not keep its settings", 5},
		{"nonsense", "rm -rf /", 0, nil, hal.ErrUnsupported, "want auto, iio:NAME or i2c:BUS:CHIP", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, b := onSim(t)
			if c.do != nil {
				c.do(b)
			}
			_, err := s.Open(t.Context(), hal.SensorPlace{Device: c.device, Address: c.address})
			if !errors.Is(err, c.want) || !strings.Contains(fmt.Sprint(err), c.words) {
				t.Errorf("error %v, want %v with %q", err, c.want, c.words)
			}
			asked := 0
			for _, n := range b.seen {
				asked += n
			}
			if asked != c.asked || b.opened != 0 {
				t.Errorf("%d requests, %d open; want %d and none", asked, b.opened, c.asked)
			}
		})
	}
}

// TestHang: a bus that hangs keeps nobody, and nothing is left once it comes back.
func TestHang(t *testing.T) {
	s, b := onSim(t)
	a, err := s.Open(t.Context(), simPlaces[0])
	if err != nil {
		t.Fatal(err)
	}
	hang := make(chan struct{})
	b.with(func() { b.hang = hang })
	_, err = a.Read(t.Context())
	if !errors.Is(err, hal.ErrStuck) {
		t.Errorf("read: %v", err)
	}
	if _, err = a.Read(t.Context()); !errors.Is(err, hal.ErrStuck) {
		t.Errorf("read again: %v", err)
	}
	if err := a.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Open(ctx, simPlaces[0]); !errors.Is(err, context.Canceled) {
		t.Errorf("open: %v", err)
	}
	close(hang)
	until(t, "the lost one gives its bus back", func() bool { b.mu.Lock(); defer b.mu.Unlock(); return b.opened == 0 })
}

// TestSleep: a chip that is closed does not measure any more.
func TestSleep(t *testing.T) {
	for i, p := range simPlaces {
		s, b := onSim(t)
		a, err := s.Open(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		c := b.chips[i]
		if c.register[c.on[0]]&c.on[1] != c.on[2] {
			t.Errorf("%s is not on", p.Device)
		}
		a.Close()
		if c.register[c.on[0]]&c.on[1] == c.on[2] {
			t.Errorf("%s is still on", p.Device)
		}
	}
}

func TestNoBus(t *testing.T) {
	_, err := New(Config{}).Open(t.Context(), hal.SensorPlace{Device: "i2c:65000:lis3dh", Address: 0x19})
	if !errors.Is(err, hal.ErrGone) || !strings.Contains(err.Error(), "i2c-dev") {
		t.Errorf("a bus that is not there: %v", err)
	}
}

func TestModels(t *testing.T) {
	if d := cmp.Diff([]string{"lis3dh", "sc7a20", "mma8452", "adxl345", "kxcj9"}, Chips()); d != "" {
		t.Error(d)
	}
	for _, m := range models {
		if len(m.addresses) == 0 || len(m.ids) == 0 || len(m.start) == 0 || m.perG == 0 || m.start[len(m.start)-1] == m.stop {
			t.Errorf("%+v", m)
		}
	}
}
