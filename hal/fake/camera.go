package fake

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"anchord/hal"
	"anchord/internal/media"
)

// Cameras are fake cameras. They implement hal.Cameras.
type Cameras struct{ registry }

// TestPicture is the camera that the demonstration uses when nothing is plugged in.
var TestPicture = hal.Device{ID: "test-picture", Name: "Test picture", Node: "fake:picture", Port: "fake"}

// NewCameras makes cameras; without devices nothing is plugged in.
func NewCameras(d ...hal.Device) *Cameras {
	c := &Cameras{}
	for _, d := range d {
		c.Plug(d)
	}
	return c
}

// Open implements hal.Cameras.
func (c *Cameras) Open(_ context.Context, d hal.Device) (hal.Camera, error) {
	s, err := c.open(d)
	if err != nil {
		return nil, err
	}
	return &camera{slot: s}, nil
}

// sizes and rates that a fake camera offers, each in NV12 and YU12.
func modes() []hal.Mode {
	var m []hal.Mode
	for _, p := range []media.PixelFormat{media.YU12, media.NV12} {
		for _, s := range []media.Size{{W: 1920, H: 1080}, {W: 1280, H: 720}, {W: 960, H: 540}, {W: 640, H: 480}, {W: 640, H: 360}, {W: 320, H: 240}, {W: 160, H: 120}} {
			for _, r := range []int{60, 30, 15} {
				m = append(m, hal.Mode{Pixel: p, Size: s, Rate: media.FPS(r)})
			}
		}
	}
	return m
}

const buffers = 4 // as many as a driver usually grants

type camera struct {
	slot   *slot
	ticker *ticker
	pool   *media.Pool[*media.Frame]
	mode   hal.Mode
	colour palette
	drawn  map[*media.Frame]bool // which buffers have the base picture in them
	count  uint16
	seq    uint32
	late   int

	mu     sync.Mutex
	faults hal.Faults
}

func (c *camera) Modes() ([]hal.Mode, error) { return modes(), nil }

func (c *camera) Start(ctx context.Context, m hal.Mode) (hal.Mode, error) {
	if c.ticker != nil {
		return hal.Mode{}, errors.New("start test picture: already started")
	}
	if !slices.ContainsFunc(modes(), func(o hal.Mode) bool { return o.Pixel == m.Pixel && o.Size == m.Size }) {
		return hal.Mode{}, fmt.Errorf("start test picture: %v %v: %w", m.Pixel, m.Size, hal.ErrUnsupported)
	}
	if f := m.Rate.Float(); f < 1 || f > 60 {
		m.Rate = media.FPS(30) // as a driver does that cannot do what it is asked
	}
	f := media.Format{Pixel: m.Pixel, Size: m.Size}
	f.Colour = f.Colour.Guess(m.Size)
	pool, err := media.NewSharedFrames(f, buffers)
	if err != nil {
		return hal.Mode{}, fmt.Errorf("start test picture: %w", err)
	}
	t, err := newTicker(ctx, m.Rate.Interval())
	if err != nil {
		pool.Close()
		return hal.Mode{}, fmt.Errorf("start test picture: %w", err)
	}
	c.ticker, c.mode, c.colour = t, m, paletteOf(f.Colour)
	c.pool, c.drawn = pool, make(map[*media.Frame]bool, buffers)
	return m, nil
}

// Next draws the next picture. As with a driver, a frame is lost when all buffers are
// out.
func (c *camera) Next() (*media.Frame, error) {
	if c.ticker == nil {
		return nil, hal.ErrStopped
	}
	begun := media.Now()
	stuck := max(2*time.Second, 4*c.ticker.every)
	for {
		due, missed, err := c.ticker.wait()
		if err != nil {
			return nil, err
		}
		c.seq += uint32(missed) + 1
		c.lost(missed)
		fault, gone := c.slot.state()
		select {
		case <-gone:
			return nil, fmt.Errorf("test picture: %w", hal.ErrGone)
		default:
		}
		switch fault {
		case Frozen:
			if media.Now().Sub(begun) > stuck {
				return nil, fmt.Errorf("test picture: %w", hal.ErrStuck)
			}
			continue
		case Broken:
			c.mu.Lock()
			c.faults.Broken++
			c.mu.Unlock()
			if media.Now().Sub(begun) > stuck {
				return nil, fmt.Errorf("test picture: %w", hal.ErrStuck)
			}
			continue
		case Late:
			if c.late++; c.late%3 != 0 {
				continue
			}
		}
		f := c.pool.Get()
		if f == nil {
			c.lost(1)
			continue
		}
		p := canvas{f}
		if !c.drawn[f] {
			c.drawn[f] = true
			p.base(c.colour)
		}
		p.moving(c.colour, c.count, due)
		c.count++
		f.Seq = c.seq
		f.Marks[media.Captured], f.Marks[media.Arrived] = due, media.Now()
		return f, nil
	}
}

func (c *camera) lost(n uint64) {
	if n > 0 {
		c.mu.Lock()
		c.faults.Lost += n
		c.mu.Unlock()
	}
}

func (c *camera) Faults() hal.Faults {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.faults
}

func (c *camera) Close() error {
	if c.ticker != nil {
		c.ticker.close()
		// As with a driver, frames come home before their mappings go: who keeps one too
		// long shall find out here.
		for c.pool.Out() > 0 {
			t := time.NewTimer(time.Millisecond)
			<-t.C
		}
		c.pool.Close()
	}
	c.slot.free()
	return nil
}
