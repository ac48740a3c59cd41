// Package capture is a camera or microphone in use: frames out, stamped and upright,
// and back after every unplug. Each part ends with an error when its device fails; its
// supervisor starts it again, at once when something is plugged in.
package capture

import (
	"context"
	"errors"
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

// Camera is the camera in use.
type Camera struct {
	c     CameraConfig
	again chan struct{} // the choice of device or mode may have changed

	mu     sync.Mutex
	set    CameraSettings
	status CameraStatus

	frames, late, corrupt atomic.Uint64
}

// CameraStatus says what the camera does.
type CameraStatus struct {
	Device hal.Device // zero when none is open
	Mode   hal.Mode   // granted; zero when nothing streams
	Faults hal.Faults
	Frames uint64 // handed on
	// Late counts frames that were dropped because all pictures of the pool were in use,
	// Corrupt those that could not be decoded.
	Late, Corrupt uint64
}

// NewCamera makes a Camera; nothing is opened before Run.
func NewCamera(c CameraConfig, s CameraSettings) *Camera {
	return &Camera{c: c, set: s, again: make(chan struct{}, 1)}
}

// Settings gives the settings in force.
func (c *Camera) Settings() CameraSettings {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.set
}

// Set changes the settings; a stream that they do not fit any more is ended, so that the
// supervisor starts it anew. A turn or mute shows in the next frame.
func (c *Camera) Set(s CameraSettings) {
	c.mu.Lock()
	restart := s.Match != c.set.Match || s.Want != c.set.Want || s.Off != c.set.Off
	c.set = s
	c.mu.Unlock()
	if restart {
		c.Changed()
	}
}

// Changed says that something was plugged in or out.
func (c *Camera) Changed() {
	select {
	case c.again <- struct{}{}:
	default:
	}
}

// Status gives what the camera does now.
func (c *Camera) Status() CameraStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.status
	s.Frames, s.Late, s.Corrupt = c.frames.Load(), c.late.Load(), c.corrupt.Load()
	return s
}

// Run uses the camera that the settings name until it fails, is unplugged, or ctx ends.
// When the settings or what is plugged in ask for another one, it changes over.
func (c *Camera) Run(ctx context.Context) error {
	for {
		err := c.use(ctx)
		if err != nil || ctx.Err() != nil {
			return err
		}
	}
}

// use opens one camera and streams from it; nil means that another one is wanted.
func (c *Camera) use(ctx context.Context) error {
	select {
	case <-c.again: // what follows sees it
	default:
	}
	set := c.Settings()
	if set.Off {
		select {
		case <-c.again:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	d, from, err := c.find(ctx, set.Match)
	if err != nil {
		return fmt.Errorf("find a camera: %w", err)
	}
	cam, err := from.Open(ctx, d)
	if err != nil {
		return err
	}
	err = c.stream(ctx, cam, d, set.Want)
	c.mu.Lock()
	c.status = CameraStatus{Faults: cam.Faults()}
	c.mu.Unlock()
	if e := cam.Close(); e != nil && err == nil {
		err = e
	}
	if err != nil && c.c.Ready != nil {
		c.c.Ready(CameraStatus{Device: d}, err)
	}
	return err
}

// find gives the device and who opens it.
func (c *Camera) find(ctx context.Context, match string) (hal.Device, hal.Cameras, error) {
	d, test, err := find(ctx, match, finder(c.c.Cameras), finder(c.c.Test))
	if test {
		return d, c.c.Test, err
	}
	return d, c.c.Cameras, err
}

func finder(c hal.Cameras) hal.Finder {
	if c == nil {
		return nil
	}
	return c
}

// stream hands frames on until something ends it.
func (c *Camera) stream(ctx context.Context, cam hal.Camera, d hal.Device, want Want) error {
	ms, err := cam.Modes()
	if err != nil {
		return fmt.Errorf("list modes of %s: %w", d.ID, err)
	}
	m, ok := choose(ms, want)
	if !ok {
		return fmt.Errorf("camera %s offers no format that can be used (YU12, NV12, YUYV or MJPG): %w", d.ID, hal.ErrUnsupported)
	}
	sctx, cancel := context.WithCancel(ctx)
	defer cancel()
	granted, err := cam.Start(sctx, m)
	if err != nil {
		return fmt.Errorf("start %s in %v %v: %w", d.ID, m.Pixel, m.Size, err)
	}
	c.mu.Lock()
	c.status.Device, c.status.Mode = d, granted
	c.mu.Unlock()
	c.c.Log.Info("camera streams", "camera", d.ID, "node", d.Node, "format", granted.Pixel, "size", granted.Size, "fps", granted.Rate)
	if c.c.Ready != nil {
		c.c.Ready(c.Status(), nil)
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { c.reconsider(sctx, cancel, d, want, done) })
	err = c.frameLoop(cam, want)
	close(done)
	wg.Wait()
	if ctx.Err() == nil && errors.Is(err, hal.ErrStopped) {
		return nil // another device or mode is wanted
	}
	return err
}

// reconsider ends the stream when the settings or what is plugged in ask for another.
func (c *Camera) reconsider(ctx context.Context, end func(), d hal.Device, want Want, done <-chan struct{}) {
	for {
		select {
		case <-c.again:
		case <-done:
			return
		}
		now := c.Settings()
		better, _, err := c.find(ctx, now.Match)
		if now.Off || now.Want != want || err == nil && better != d {
			end()
		}
	}
}

// frameLoop takes frames from the driver, makes them upright in the encoder's format
// and hands them on. The driver's buffer goes home at once unless it is handed on itself.
func (c *Camera) frameLoop(cam hal.Camera, want Want) error {
	var conv pixel.Converter
	defer conv.Close()
	var pool *media.Pool[*media.Frame]
	var format media.Format
	var thin thinner
	for n := 0; ; n++ {
		f, err := cam.Next()
		if err != nil {
			return err
		}
		if n%64 == 0 {
			c.mu.Lock()
			c.status.Faults = cam.Faults()
			c.mu.Unlock()
		}
		c.mu.Lock()
		set := c.set
		c.mu.Unlock()
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
			c.frames.Add(1)
			c.c.Out.Put(f)
			continue
		}
		out := media.Format{Pixel: c.c.Pixel, Size: f.Size.Turned(f.Turn.Rotation)}
		if pool == nil || format.Size != out.Size {
			// Frames of the old size go home to the old pool, which nobody asks any more.
			format, pool = out, media.NewFrames(out, poolSize)
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
			continue
		}
		g.Turn = turn
		c.frames.Add(1)
		c.c.Out.Put(g)
	}
}

// poolSize is enough for one picture in each reader's mailbox, one in each reader's
// hands and the one being made.
const poolSize = 6
