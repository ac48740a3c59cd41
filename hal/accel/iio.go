package accel

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"anchord/hal"
	"anchord/internal/media"
)

// found is an accelerometer that the kernel lists.
type found struct {
	dir, name, label string
}

// number is the kernel's: device0.
func (f *found) number() string { return strings.TrimPrefix(filepath.Base(f.dir), driven) }

// fits tells whether it is the one of that name, label or number.
func (f *found) fits(name string) bool {
	return name == f.name || name == f.label && name != "" || name == f.number()
}

// device names it so that openIIO finds it among all.
func (f *found) device(all []found) hal.Device {
	id := f.number()
	for _, name := range []string{f.label, f.name} {
		n := 0
		for i := range all {
			if all[i].fits(name) {
				n++
			}
		}
		if name != "" && n == 1 {
			id = name
		}
	}
	d := hal.Device{ID: driven + id, Name: f.name, Node: f.dir}
	if f.label != "" {
		d.Name += ", " + f.label
	}
	if real, err := filepath.EvalSymlinks(f.dir); err == nil {
		d.Port = filepath.Base(filepath.Dir(real)) // the chip behind it: 1-0019
	}
	return d
}

// find gives what the kernel lists, by number. No file is read that measures.
func (s *Sensors) find() ([]found, error) {
	dirs, err := os.ReadDir(s.root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // a kernel without IIO, or with nothing for it
	}
	if err != nil {
		return nil, fmt.Errorf("list accelerometers: %w", err)
	}
	var out []found
	for _, d := range dirs {
		f := found{dir: filepath.Join(s.root, d.Name())}
		if _, err := os.Stat(filepath.Join(f.dir, "in_accel_x_raw")); err != nil {
			continue // a light sensor, a trigger
		}
		f.name, f.label = f.text("name"), f.text("label")
		if f.name == "" {
			f.name = f.number()
		}
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b found) int { return cmp.Or(len(a.dir)-len(b.dir), strings.Compare(a.dir, b.dir)) }) // device2, device10
	return out, nil
}

// text gives a file's first line; "" if it cannot be read.
func (f *found) text(file string) string {
	b, err := os.ReadFile(filepath.Join(f.dir, file))
	if err != nil || len(b) > 256 {
		return ""
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimSpace(line)
}

// openIIO opens the one of that name, label or number; auto is the only one.
func (s *Sensors) openIIO(name string) (chip, error) {
	all, err := s.find()
	if err != nil {
		return nil, cause(err)
	}
	var names []string
	var fit []found
	for _, f := range all {
		names = append(names, f.device(all).ID)
		if name == Auto || f.fits(name) {
			fit = append(fit, f)
		}
	}
	switch {
	case len(all) == 0:
		return nil, fmt.Errorf("%w: the kernel has a driver for none: load it, or name a chip on an I²C bus", hal.ErrGone)
	case len(fit) == 0:
		return nil, fmt.Errorf("%w: the kernel has %s", hal.ErrGone, strings.Join(names, ", "))
	case len(fit) > 1:
		return nil, fmt.Errorf("%w: the kernel has several: name one of %s", hal.ErrUnsupported, strings.Join(names, ", "))
	}
	return s.openFound(fit[0], all)
}

// iioChip is one with a driver of the kernel. Its files are kept open: each read of one from
// its beginning measures anew.
type iioChip struct {
	what          hal.SensorInfo
	axes          [3]int // file descriptors
	scale, offset [3]float64
	rate          rate
}

// letters are the axes' in names of files.
const letters = "xyz"

func (s *Sensors) openFound(f found, all []found) (_ chip, err error) {
	c := &iioChip{what: hal.SensorInfo{Device: f.device(all), Mount: media.Identity()}, axes: [3]int{-1, -1, -1}}
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	for i := range c.axes {
		// (raw + offset) · scale is m/s², both of them for all axes or for each
		// (https://www.kernel.org/doc/Documentation/ABI/testing/sysfs-bus-iio).
		if c.scale[i], err = f.number64(i, "scale"); err != nil {
			return nil, err
		}
		if c.offset[i], err = f.number64(i, "offset"); errors.Is(err, fs.ErrNotExist) {
			err = nil
		} else if err != nil {
			return nil, err
		}
		c.what.Step = max(c.what.Step, math.Abs(c.scale[i]))
		name := filepath.Join(f.dir, "in_accel_"+letters[i:i+1]+"_raw")
		if c.axes[i], err = unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
			return nil, cause(&fs.PathError{Op: "open", Path: name, Err: err})
		}
	}
	if c.what.Step == 0 {
		return nil, fmt.Errorf("%w: its driver says no scale", hal.ErrUnsupported)
	}
	if c.rate, err = quicken(f.dir); err != nil {
		return nil, err
	}
	// Drivers differ in how they share it between kinds of channels.
	for _, file := range []string{"in_accel_mount_matrix", "in_mount_matrix", "mount_matrix"} {
		t := f.text(file)
		if t == "" {
			continue
		}
		m, err := media.ParseMatrix(t)
		if err != nil {
			s.log.Warn("an accelerometer's mount matrix is left out", "sensor", c.what.ID, "matrix", t, "err", err)
			break
		}
		c.what.Mount = m
		break
	}
	return c, nil
}

// number64 reads a number that is there for all axes, or for each.
func (f *found) number64(axis int, what string) (float64, error) {
	name := filepath.Join(f.dir, "in_accel_"+letters[axis:axis+1]+"_"+what)
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		name = filepath.Join(f.dir, "in_accel_"+what)
		b, err = os.ReadFile(name)
	}
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return 0, err
		}
		return 0, cause(err)
	}
	x, err := strconv.ParseFloat(string(bytes.TrimSpace(b)), 64)
	if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
		return 0, fmt.Errorf("%w: %s has %.20q, which is no number", hal.ErrUnsupported, name, b)
	}
	return x, nil
}

func (c *iioChip) info() hal.SensorInfo { return c.what }

func (c *iioChip) read() (media.Vector, error) {
	var v [3]float64
	var b [32]byte
	for i, fd := range c.axes {
		n, err := unix.Pread(fd, b[:], 0)
		if errors.Is(err, unix.EBUSY) {
			return media.Vector{}, fmt.Errorf("another program streams from it (iio-sensor-proxy?): %w", cause(err))
		}
		if err != nil {
			return media.Vector{}, cause(err)
		}
		raw, err := strconv.ParseInt(string(bytes.TrimSpace(b[:n])), 10, 32)
		if err != nil {
			return media.Vector{}, fmt.Errorf("its driver says %.20q along %s", b[:n], letters[i:i+1])
		}
		v[i] = (float64(raw) + c.offset[i]) * c.scale[i]
	}
	return media.Vector{X: v[0], Y: v[1], Z: v[2]}, nil
}

func (c *iioChip) close() error {
	err := c.rate.restore()
	for _, fd := range c.axes {
		if fd >= 0 {
			err = errors.Join(err, unix.Close(fd))
		}
	}
	return err
}
