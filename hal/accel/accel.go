// Package accel reads accelerometers: those that have a driver in the kernel by IIO
// (https://docs.kernel.org/driver-api/iio/core.html), others on an I²C bus by their
// registers. It touches only what it is told to: a look round on a bus can upset what else
// is on it, which may be what feeds the processor.
package accel

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"anchord/hal"
	"anchord/internal/media"
)

// Config is what Sensors need.
type Config struct {
	Log *slog.Logger // nil: silent
	// Test are those of which the place "test" is one; nil: there are none.
	Test hal.Accelerometers
}

// Sensors finds and opens accelerometers. It implements hal.Accelerometers.
type Sensors struct {
	log  *slog.Logger
	test hal.Accelerometers
	root string  // where the kernel lists IIO devices
	bus  openBus // opens an I²C bus
}

// New makes Sensors; it opens nothing.
func New(c Config) *Sensors {
	s := &Sensors{log: c.Log, test: c.Test, root: "/sys/bus/iio/devices", bus: kernelBus}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	return s
}

// Words of a hal.SensorPlace's Device.
const (
	Auto   = "auto"
	Test   = "test"
	driven = "iio:" // by a driver of the kernel
	onBus  = "i2c:"
)

// List implements hal.Accelerometers.
func (s *Sensors) List(context.Context) ([]hal.Device, error) {
	found, err := s.find()
	if err != nil {
		return nil, err
	}
	out := make([]hal.Device, len(found))
	for i, f := range found {
		out[i] = f.device(found)
	}
	return out, nil
}

// Open implements hal.Accelerometers.
func (s *Sensors) Open(ctx context.Context, p hal.SensorPlace) (hal.Accelerometer, error) {
	if p.Device == Test && s.test != nil {
		return s.test.Open(ctx, p)
	}
	var open func() (chip, error)
	switch rest, on := strings.CutPrefix(p.Device, onBus); {
	case on:
		n, name, _ := strings.Cut(rest, ":")
		bus, err := strconv.ParseUint(n, 10, 16)
		i := slices.IndexFunc(models, func(m model) bool { return m.name == name })
		if err != nil || i < 0 {
			return nil, fmt.Errorf("open accelerometer %q: want i2c:BUS:CHIP with a chip of %s: %w", p.Device, strings.Join(Chips(), ", "), hal.ErrUnsupported)
		}
		open = func() (chip, error) { return s.openI2C(models[i], int(bus), p.Address) }
	case p.Device == Auto || strings.HasPrefix(p.Device, driven):
		open = func() (chip, error) { return s.openIIO(strings.TrimPrefix(p.Device, driven)) }
	default:
		return nil, fmt.Errorf("open accelerometer %q: want auto, iio:NAME or i2c:BUS:CHIP: %w", p.Device, hal.ErrUnsupported)
	}
	a := &sensor{work: newWorker()}
	type opened struct {
		chip chip
		err  error
	}
	o, err := ask(ctx, a.work, func() (o opened) {
		o.chip, o.err = open()
		if o.err == nil {
			a.work.last = o.chip.close
		}
		return o
	})
	if err == nil {
		err = o.err
	}
	if err != nil {
		a.work.end()
		return nil, fmt.Errorf("open accelerometer %s: %w", place(p), err)
	}
	a.chip = o.chip
	return a, nil
}

func place(p hal.SensorPlace) string {
	if p.Address == 0 || !strings.HasPrefix(p.Device, onBus) {
		return p.Device
	}
	return fmt.Sprintf("%s at 0x%02x", p.Device, p.Address)
}

// chip is one that is open, however it is reached.
type chip interface {
	info() hal.SensorInfo
	read() (media.Vector, error)
	close() error
}

// sensor keeps a chip whose bus may hang.
type sensor struct {
	work *worker
	chip chip
}

// Info implements hal.Accelerometer.
func (s *sensor) Info() hal.SensorInfo { return s.chip.info() }

// Read implements hal.Accelerometer.
func (s *sensor) Read(ctx context.Context) (media.Vector, error) {
	type answer struct {
		v   media.Vector
		err error
	}
	a, err := ask(ctx, s.work, func() (a answer) { a.v, a.err = s.chip.read(); return a })
	if err == nil {
		err = a.err
	}
	if err != nil {
		return media.Vector{}, fmt.Errorf("read accelerometer %s: %w", s.chip.info().ID, err)
	}
	return a.v, nil
}

// Close implements hal.Accelerometer.
func (s *sensor) Close() error { return s.work.end() }

// patience is how long a request may take. The kernel gives up after a second on most buses
// (i2c_adapter.timeout: https://docs.kernel.org/driver-api/i2c.html), and says why then.
const patience = 2 * time.Second

// cause gives an errno the meaning that callers act on, and keeps it. periph's errors are
// text, with the kernel's words at their end.
func cause(err error) error {
	if err == nil {
		return nil
	}
	for _, c := range []struct {
		no   unix.Errno
		mean error
		help string
	}{
		{unix.ENOENT, hal.ErrGone, ""},
		{unix.ENODEV, hal.ErrGone, ""},
		// What adapters say when nobody acknowledges
		// (https://docs.kernel.org/i2c/fault-codes.html).
		{unix.ENXIO, hal.ErrGone, "nobody answers"},
		{unix.EREMOTEIO, hal.ErrGone, "nobody answers"},
		{unix.ETIMEDOUT, hal.ErrStuck, "does something hold the bus's lines down?"},
		{unix.EBUSY, hal.ErrBusy, ""},
		{unix.EACCES, hal.ErrDenied, ""},
		{unix.EPERM, hal.ErrDenied, ""},
	} {
		if !errors.Is(err, c.no) && !strings.HasSuffix(err.Error(), ": "+c.no.Error()) {
			continue
		}
		if c.help != "" {
			return fmt.Errorf("%w: %s: %w", c.mean, c.help, err)
		}
		return fmt.Errorf("%w: %w", c.mean, err)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", hal.ErrGone, err)
	}
	return err
}
