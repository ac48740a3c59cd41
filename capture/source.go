package capture

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"anchord/hal"
)

// settings are what a source is told: which device, and what is wanted of it.
type settings[S any] interface {
	// device gives the match list, and whether no device is wanted at all.
	device() (match string, off bool)
	// serves tells whether a stream that was begun with these settings serves now too,
	// as far as the device is the same.
	serves(now S) bool
}

// opener finds and opens devices: hal.Cameras or hal.Microphones.
type opener[D any] interface {
	hal.Finder
	Open(ctx context.Context, d hal.Device) (D, error)
}

// source is what a Camera and a Microphone have in common: the life of the device that
// the settings name.
type source[S settings[S], D interface{ Close() error }] struct {
	kind       string
	real, test opener[D] // either may be nil
	// stream hands on what dev gives until ctx or an error ends it.
	stream func(ctx context.Context, dev D, d hal.Device, set S) error
	// closed is told that d is closed, and why, unless something else was wanted.
	closed func(d hal.Device, err error)
	again  chan struct{} // the choice of device or mode may have changed

	mu  sync.Mutex
	set S
}

// Settings gives the settings in force.
func (s *source[S, D]) Settings() S {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.set
}

// Set changes the settings. A stream that they do not fit any more is ended and begun
// anew; what can change while it runs shows in its next frame or block.
func (s *source[S, D]) Set(now S) {
	s.mu.Lock()
	old, _ := s.set.device()
	match, _ := now.device()
	restart := match != old || !s.set.serves(now)
	s.set = now
	s.mu.Unlock()
	if restart {
		s.Changed()
	}
}

// Changed says that something was plugged in or out.
func (s *source[S, D]) Changed() {
	select {
	case s.again <- struct{}{}:
	default:
	}
}

// Run uses the device that the settings name until it fails, is unplugged, or ctx ends;
// then its error is ctx's. When the settings or what is plugged in ask for another device,
// it changes over.
func (s *source[S, D]) Run(ctx context.Context) error {
	for {
		err := s.use(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return err
		}
	}
}

// use opens one device and streams from it; nil means that another one is wanted.
func (s *source[S, D]) use(ctx context.Context) error {
	select {
	case <-s.again: // what follows sees it
	default:
	}
	set := s.Settings()
	match, off := set.device()
	if off {
		select {
		case <-s.again:
		case <-ctx.Done():
		}
		return nil
	}
	d, from, err := s.find(ctx, match)
	if err != nil {
		return fmt.Errorf("find a %s: %w", s.kind, err)
	}
	dev, err := from.Open(ctx, d)
	if err != nil {
		return err
	}
	sctx, end := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { s.reconsider(sctx, end, d, set) })
	err = s.stream(sctx, dev, d, set)
	if sctx.Err() != nil && errors.Is(err, hal.ErrStopped) {
		err = nil // we ended it
	}
	end() // also a search that is under way: it may hang as the device did
	wg.Wait()
	if e := dev.Close(); err == nil {
		err = e
	}
	s.closed(d, err)
	return err
}

// reconsider ends the stream when the settings or what is plugged in ask for another.
func (s *source[S, D]) reconsider(ctx context.Context, end func(), d hal.Device, set S) {
	for {
		select {
		case <-s.again:
		case <-ctx.Done():
			return
		}
		now := s.Settings()
		if !set.serves(now) {
			end() // without a look at what is plugged in, which may hang
			continue
		}
		was, _ := set.device()
		match, _ := now.device()
		better, _, err := s.find(ctx, match)
		// Not the whole of better: while a device streams, less can be found out about it.
		// And where other devices are named and none of them is there, this one is not wanted
		// for that; where the same ones are named it will say by itself that it is gone.
		if err == nil && (better.ID != d.ID || better.Node != d.Node) || err != nil && match != was {
			end()
		}
	}
}

// find gives the device that the match list names, and who opens it. A real finder that
// cannot list (no sound server) has nothing; its error is told when nothing else fits.
func (s *source[S, D]) find(ctx context.Context, match string) (hal.Device, opener[D], error) {
	var real, test []hal.Device
	var broken, err error
	if s.real != nil {
		real, broken = s.real.List(ctx)
	}
	if s.test != nil {
		if test, err = s.test.List(ctx); err != nil {
			return hal.Device{}, nil, err
		}
	}
	d, isTest, err := pick(match, real, test)
	switch {
	case err != nil && broken != nil:
		return d, nil, broken
	case isTest:
		return d, s.test, err
	}
	return d, s.real, err
}
