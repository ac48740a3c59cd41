// Package capture is a camera or microphone in use: frames out, stamped and upright,
// and back after every unplug. Each part ends with an error when its device fails; its
// supervisor starts it again, at once when something is plugged in.
package capture

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"anchord/hal"
	"anchord/internal/media"
	"anchord/internal/pixel"
)

// CameraConfig is what a Camera needs.
type CameraConfig struct {
	Log *slog.Logger
	// Cameras are the real ones, Test those that only exist in memory; either may be nil.
	Cameras, Test hal.Cameras
	// Out takes upright frames in the format Pixel.
	Out *media.Tap[*media.Frame]
	// Pixel is what Out's readers take; YU12 or NV12.
	Pixel media.PixelFormat
	// Demand says whether anybody wants pictures, and whether turns go out as CVO.
	Demand *media.Demand
	// Ready is called, on Run's goroutine, when a camera streams and when it is lost
	// (err is not nil). It may be nil.
	Ready func(s CameraStatus, err error)
}

// CameraSettings are what a user chooses. The zero value is not useful.
type CameraSettings struct {
	Match string // see pick: ids, names, "any", "test"; comma-separated
	Want  Want
	Turn  media.Turn
	Muted bool // the device stays open and nothing is handed on
	Off   bool // the device is closed
}

func (s CameraSettings) device() (string, bool) { return s.Match, s.Off }

func (s CameraSettings) serves(now CameraSettings) bool {
	return now.Want == s.Want && now.Off == s.Off
}

// Camera is the camera in use.
type Camera struct {
	source[CameraSettings, hal.Camera]
	c CameraConfig

	state  sync.Mutex
	status CameraStatus
	past   hal.Faults // of cameras that were closed

	out media.Format // of the last picture that was handed on; frameLoop's own

	arrived, frames, late, corrupt atomic.Uint64
}

// CameraStatus says what the camera does.
type CameraStatus struct {
	Device hal.Device // zero when none is open
	Mode   hal.Mode   // granted; zero when nothing streams
	Faults hal.Faults // of this and earlier cameras
	// Arrived counts frames that the driver gave, Frames those that were handed on.
	Arrived, Frames uint64
	// Late counts frames that were dropped because all pictures of the pool were in use,
	// Corrupt those that could not be decoded.
	Late, Corrupt uint64
	// Out is the format of the last picture that was handed on, also after its camera is gone.
	Out media.Format
}

// NewCamera makes a Camera; nothing is opened before Run.
func NewCamera(c CameraConfig, s CameraSettings) *Camera {
	cam := &Camera{c: c}
	cam.source = source[CameraSettings, hal.Camera]{kind: "camera", real: c.Cameras, test: c.Test,
		stream: cam.stream, closed: cam.closed, again: make(chan struct{}, 1), set: s}
	return cam
}

// Status gives what the camera does now.
func (c *Camera) Status() CameraStatus {
	c.state.Lock()
	s := c.status
	c.state.Unlock()
	s.Arrived, s.Frames, s.Late, s.Corrupt = c.arrived.Load(), c.frames.Load(), c.late.Load(), c.corrupt.Load()
	return s
}

func (c *Camera) closed(d hal.Device, err error) {
	c.state.Lock()
	c.status = CameraStatus{Faults: c.status.Faults, Out: c.status.Out}
	c.state.Unlock()
	if err != nil && c.c.Ready != nil {
		c.c.Ready(CameraStatus{Device: d}, err)
	}
}

func (c *Camera) noteFaults(cam hal.Camera) {
	c.state.Lock()
	now := cam.Faults()
	c.status.Faults = hal.Faults{Lost: c.past.Lost + now.Lost, Broken: c.past.Broken + now.Broken,
		Short: c.past.Short + now.Short, Stale: c.past.Stale + now.Stale}
	c.state.Unlock()
}

// lastFaults notes the faults of a camera that is about to be closed: the next one counts
// from 0.
func (c *Camera) lastFaults(cam hal.Camera) {
	c.noteFaults(cam)
	c.state.Lock()
	c.past = c.status.Faults
	c.state.Unlock()
}

// stream hands frames on until something ends it.
func (c *Camera) stream(ctx context.Context, cam hal.Camera, d hal.Device, set CameraSettings) error {
	ms, err := cam.Modes()
	if err != nil {
		return fmt.Errorf("list modes of %s: %w", d.ID, err)
	}
	m, ok := choose(ms, set.Want)
	if !ok {
		return fmt.Errorf("camera %s offers no format that can be used (YU12, NV12, YUYV or MJPG, of at most 9.4 megapixels): %w", d.ID, hal.ErrUnsupported)
	}
	granted, err := cam.Start(ctx, m)
	if err != nil {
		return fmt.Errorf("start %s in %v %v: %w", d.ID, m.Pixel, m.Size, err)
	}
	if !usable(granted) {
		return fmt.Errorf("start %s in %v %v: it gives %v %v instead, which cannot be used; name another format or size: %w",
			d.ID, m.Pixel, m.Size, granted.Pixel, granted.Size, hal.ErrUnsupported)
	}
	c.state.Lock()
	c.status.Device, c.status.Mode = d, granted
	c.state.Unlock()
	c.c.Log.Info("camera streams", "camera", d.ID, "node", d.Node, "format", granted.Pixel, "size", granted.Size, "fps", granted.Rate)
	if c.c.Ready != nil {
		c.c.Ready(c.Status(), nil)
	}
	defer c.lastFaults(cam)
	return c.frameLoop(cam, d, set.Want)
}

// frameLoop takes frames from the driver, makes them upright in the encoder's format
// and hands them on. The driver's buffer goes home at once unless it is handed on itself.
func (c *Camera) frameLoop(cam hal.Camera, d hal.Device, want Want) error {
	var conv pixel.Converter
	defer conv.Close()
	var pool *media.Pool[*media.Frame]
	defer func() {
		if pool != nil {
			pool.Close()
		}
	}()
	var format media.Format
	var thin thinner
	damaged := 0 // in a row
	for n := 0; ; n++ {
		f, err := cam.Next()
		if err != nil {
			return err
		}
		c.arrived.Add(1)
		if n%64 == 0 {
			c.noteFaults(cam)
		}
		set := c.Settings()
		wish := c.c.Demand.Wish()
		if set.Muted || !wish.Subscribed || !thin.pass(f.Marks[media.Captured], want.Rate) {
			f.Release()
			continue
		}
		turn := set.Turn
		if wish.Turn {
			f.Turn, turn = media.Turn{Mirror: turn.Mirror}, media.Turn{Rotation: turn.Rotation}
		} else {
			f.Turn, turn = turn, media.Turn{}
		}
		if f.Pixel == c.c.Pixel && f.Turn.Zero() {
			f.Turn = turn
			f.Marks[media.Converted] = f.Marks[media.Arrived]
			c.handOn(f)
			continue
		}
		out := media.Format{Pixel: c.c.Pixel, Size: f.Size.Turned(f.Turn.Rotation)}
		if pool == nil || format.Size != out.Size {
			if pool != nil {
				pool.Close() // frames of the old size still go home to it
			}
			format, pool = out, c.pictures(out)
		}
		g := pool.Get()
		if g == nil {
			c.late.Add(1)
			f.Release()
			continue
		}
		err = conv.Convert(g, f)
		f.Release()
		if err != nil {
			c.corrupt.Add(1)
			g.Release()
			if damaged++; damaged >= mostDamaged {
				return fmt.Errorf("read camera %s: %w: %d damaged pictures in a row, the last: %w (try another cable, socket or format)", d.ID, hal.ErrStuck, damaged, err)
			}
			continue
		}
		damaged = 0
		g.Turn = turn
		c.handOn(g)
	}
}

// handOn gives a picture to the readers.
func (c *Camera) handOn(f *media.Frame) {
	if f.Format != c.out {
		c.out = f.Format
		c.state.Lock()
		c.status.Out = f.Format
		c.state.Unlock()
	}
	c.frames.Add(1)
	c.c.Out.Put(f)
}

// pictures makes a pool that an encoder in a process of its own can read without a copy.
func (c *Camera) pictures(f media.Format) *media.Pool[*media.Frame] {
	p, err := media.NewSharedFrames(f, poolSize)
	if err != nil {
		c.c.Log.Warn("pictures lie in memory that is not shared; encoders in other processes get copies", "err", err)
		return media.NewFrames(f, poolSize)
	}
	return p
}

// poolSize is enough for one picture in each reader's mailbox, one in each reader's
// hands and the one being made.
const poolSize = 6

// mostDamaged is how many pictures in a row may be damaged before the camera is opened
// anew: a second or two.
const mostDamaged = 30
