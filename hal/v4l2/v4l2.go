// Package v4l2 finds, watches and reads cameras, and drives encoders, through the kernel's Video4Linux2
// interface (https://docs.kernel.org/userspace-api/media/v4l/v4l2.html).
//
// Capabilities, formats and parameters are read with go4vl. Frames are not: they are
// lent straight from the driver's mapped buffers, waited for by the runtime's poller,
// and given back when their last reader has released them.
//
// Single-planar capture nodes are supported; cameras that only have the multi-planar
// interface are not listed. Encoders (see Encoders) are driven through either.
package v4l2

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"

	v4l "github.com/vladimirvivien/go4vl/v4l2"
	"golang.org/x/sys/unix"

	"anchord/hal"
)

// Config says where devices are. The zero value is right for a real machine.
type Config struct {
	Log     *slog.Logger // nil is silent
	Dev     string       // where device nodes are; "" is /dev
	Sys     string       // where sysfs is mounted; "" is /sys
	Buffers int          // how many buffers are asked of the driver; 0 is 4
}

// Cameras is hal.Cameras on V4L2.
type Cameras struct {
	tree
	log     *slog.Logger
	buffers int
	kernel  kernel
	udev    string // exists when a udev is running
	bind    func(group uint32) (*os.File, error)
}

// New makes the finder of cameras. It opens nothing.
func New(c Config) *Cameras {
	if c.Log == nil {
		c.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	return &Cameras{
		tree:    treeAt(c.Dev, c.Sys),
		log:     c.Log,
		buffers: cmp.Or(c.Buffers, 4),
		kernel:  linux{},
		udev:    "/run/udev/control",
		bind:    bindUevents,
	}
}

var _ hal.Cameras = (*Cameras)(nil)

// Open opens d.Node after having checked that it is still the device that d names: a
// node's number may have gone to another device since List saw it. That check is left
// out when d has no ID. Errors: hal.ErrGone, ErrBusy, ErrDenied, ErrUnsupported.
func (s *Cameras) Open(ctx context.Context, d hal.Device) (hal.Camera, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("open camera %s: %w", d.Node, err)
	}
	n, err := s.open(d)
	if err != nil {
		return nil, fmt.Errorf("open camera %s: %w", d.Node, explain(err))
	}
	return &camera{node: n, log: s.log, device: d, buffers: s.buffers}, nil
}

func (s *Cameras) open(d hal.Device) (node, error) {
	// The node is looked at before it is opened: opening alone does something to
	// some devices that are no cameras (a watchdog starts).
	rdev, err := s.kernel.stat(d.Node)
	if err != nil {
		return nil, err
	}
	if err := s.same(rdev, d); err != nil {
		return nil, err
	}
	n, err := s.kernel.open(d.Node)
	if err != nil {
		return nil, err
	}
	if err := s.check(n, d); err != nil {
		return nil, errors.Join(err, n.close())
	}
	return n, nil
}

// check repeats the check of identity on the opened node, whose number cannot go to
// another device any more, and asks what it can do.
func (s *Cameras) check(n node, d hal.Device) error {
	rdev, err := n.rdev()
	if err != nil {
		return err
	}
	if err := s.same(rdev, d); err != nil {
		return err
	}
	c, err := n.capability()
	if err != nil {
		if !n.alive() {
			return unix.ENODEV
		}
		return err
	}
	if !captures(c) {
		return fmt.Errorf("%w: %s (%s) cannot capture by single-planar streaming", hal.ErrUnsupported, c.Card, c.Driver)
	}
	return nil
}

// same tells whether the device with that number is the one that d names.
func (s *Cameras) same(rdev uint64, d hal.Device) error {
	p, err := s.byNumber(rdev)
	if err != nil {
		return err
	}
	if d.ID != "" && !p.is(d.ID) || d.Port != "" && !p.at(d.Port) {
		return fmt.Errorf("%w: its node now belongs to %s", hal.ErrGone, p.id)
	}
	return nil
}

// captures tells whether a node is a camera: a memory-to-memory device also has a
// capture side, and a metadata node of a camera says so in its own capabilities.
func captures(c v4l.Capability) bool {
	const m2m = v4l.CapVideoMem2Mem | v4l.CapVideoMem2MemMPlane | v4l.CapVideoOutput | v4l.CapVideoOutputMPlane
	caps := c.GetCapabilities()
	return caps&v4l.CapVideoCapture != 0 && caps&v4l.CapStreaming != 0 && caps&m2m == 0
}

// explain says what a camera's error means.
func explain(err error) error {
	err, done := explainAs("camera", err)
	if done {
		return err
	}
	switch {
	case errors.Is(err, v4l.ErrorUnsupported):
		return fmt.Errorf("%w: %w", hal.ErrUnsupported, err)
	case errors.Is(err, unix.ENOSPC):
		return fmt.Errorf("%w (the USB bus has no room for this stream: choose a smaller size, fewer frames or a compressed format, or plug the camera into another controller)", err)
	case errors.Is(err, unix.EIO), errors.Is(err, unix.EPROTO), errors.Is(err, unix.EILSEQ), errors.Is(err, unix.EOVERFLOW), errors.Is(err, unix.ETIMEDOUT):
		return fmt.Errorf("%w (the camera or its cable does not work as it should: plug it in again, try another cable or socket, no hub)", err)
	}
	return err
}

// explainAs puts the hal error in front of a cause that has one, and says what to do; done
// tells whether it has one.
func explainAs(what string, err error) (_ error, done bool) {
	for _, e := range []error{hal.ErrGone, hal.ErrBusy, hal.ErrDenied, hal.ErrUnsupported, hal.ErrStuck} {
		if errors.Is(err, e) {
			return err, true
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return fmt.Errorf("%w: %w", hal.ErrGone, err), true
	case errors.Is(err, unix.EBUSY):
		return fmt.Errorf("%w: %w (close the other program that uses the %s)", hal.ErrBusy, err, what), true
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: %w (add the daemon's user to the group video)", hal.ErrDenied, err), true
	case errors.Is(err, unix.ENOTTY), errors.Is(err, unix.ENOTDIR):
		return fmt.Errorf("%w: %w", hal.ErrUnsupported, err), true
	}
	return err, false
}
