// Package fake is hardware that exists only in memory: a camera whose test picture a
// program can read back from decoded pixels, a microphone with a tone and a beep, and
// an encoder whose stream need not be decoded. Each can be unplugged and told to fail.
// They serve tests, the demonstration and boxes on which nothing is plugged in yet.
package fake

import (
	"context"
	"fmt"
	"sync"

	"anchord/hal"
)

// Fault is a way to fail. A fault stays until another is set.
type Fault int

// The faults.
const (
	Healthy Fault = iota
	Busy          // Open says that another program has it
	Denied        // Open says that we may not
	Frozen        // it streams, and nothing comes
	Broken        // frames come with the driver's error mark (cameras); silence, exact zeros (microphones)
	Late          // frames come at a third of the rate
)

// registry is what is plugged in, of one kind.
type registry struct {
	mu       sync.Mutex
	devices  []*slot
	watchers map[chan struct{}]struct{} // each has room for one
}

// slot is one device's place; its streams look at it while they run.
type slot struct {
	hal.Device
	mu    sync.Mutex
	fault Fault
	gone  chan struct{} // closed by unplug
	owner bool
}

func (s *slot) state() (Fault, chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fault, s.gone
}

// Plug adds a device, or plugs it in again. It tells the watchers.
func (r *registry) Plug(d hal.Device) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.devices = append(r.devices, &slot{Device: d, gone: make(chan struct{})})
	r.tell()
}

// Unplug takes the device out: its streams end with hal.ErrGone. It tells the watchers.
func (r *registry) Unplug(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, s := range r.devices {
		if s.ID == id {
			close(s.gone)
			r.devices = append(r.devices[:i:i], r.devices[i+1:]...)
			break
		}
	}
	r.tell()
}

// tell wakes the watchers; mu is held.
func (r *registry) tell() {
	for c := range r.watchers {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// Set makes the device fail in the given way, or Healthy again.
func (r *registry) Set(id string, f Fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.devices {
		if s.ID == id {
			s.mu.Lock()
			s.fault = f
			s.mu.Unlock()
		}
	}
}

// List implements hal.Finder.
func (r *registry) List(context.Context) ([]hal.Device, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]hal.Device, len(r.devices))
	for i, s := range r.devices {
		out[i] = s.Device
	}
	return out, nil
}

// Watch implements hal.Finder.
func (r *registry) Watch(ctx context.Context, changed func()) error {
	c := make(chan struct{}, 1)
	c <- struct{}{} // what came before we listened
	r.mu.Lock()
	if r.watchers == nil {
		r.watchers = make(map[chan struct{}]struct{})
	}
	r.watchers[c] = struct{}{}
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		delete(r.watchers, c)
		r.mu.Unlock()
	}()
	for {
		select {
		case <-c:
			changed()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// open gives the slot of a device that is plugged in, free and healthy enough.
func (r *registry) open(d hal.Device) (*slot, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.devices {
		if s.Node != d.Node {
			continue
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		switch {
		case s.fault == Busy || s.owner:
			return nil, fmt.Errorf("open %s: %w", d.Node, hal.ErrBusy)
		case s.fault == Denied:
			return nil, fmt.Errorf("open %s: %w", d.Node, hal.ErrDenied)
		}
		s.owner = true
		return s, nil
	}
	return nil, fmt.Errorf("open %s: %w", d.Node, hal.ErrGone)
}

func (s *slot) free() {
	s.mu.Lock()
	s.owner = false
	s.mu.Unlock()
}
