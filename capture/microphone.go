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
)

// MicrophoneConfig is what a Microphone needs.
type MicrophoneConfig struct {
	Log *slog.Logger
	// Microphones are the real ones, Test those that only exist in memory; either may be
	// nil.
	Microphones, Test hal.Microphones
	// Out takes blocks of 20 ms at 48 kHz.
	Out *media.Tap[*media.Sound]
	// Ready is called, on Run's goroutine, when a microphone records and when it is lost
	// (err is not nil). It may be nil.
	Ready func(s MicrophoneStatus, err error)
}

// MicrophoneSettings are what a user chooses.
type MicrophoneSettings struct {
	Match    string // see CameraSettings
	Channels int    // 1 or 2
	Off      bool   // the device is closed
	Volume   int    // the device's own volume, 0 to 100 percent; below 0 it is left as it is
}

func (s MicrophoneSettings) device() (string, bool) { return s.Match, s.Off }

func (s MicrophoneSettings) serves(now MicrophoneSettings) bool {
	return now.Channels == s.Channels && now.Off == s.Off
}

// Microphone is the microphone in use.
type Microphone struct {
	source[MicrophoneSettings, hal.Microphone]
	c MicrophoneConfig

	state  sync.Mutex
	status MicrophoneStatus

	volumes sync.Mutex  // guards volumed
	volumed hal.Volumed // nil: no microphone streams, or it has no volume
	turned  chan struct{}

	blocks, silent atomic.Uint64
}

// MicrophoneStatus says what the microphone does.
type MicrophoneStatus struct {
	Device hal.Device // zero when none is open
	Format hal.SoundFormat
	Blocks uint64 // handed on
	// Zeros counts blocks in a row that held nothing but zeros: a muted switch, or a dead
	// microphone that keeps streaming.
	Zeros uint64
}

// NewMicrophone makes a Microphone; nothing is opened before Run.
func NewMicrophone(c MicrophoneConfig, s MicrophoneSettings) *Microphone {
	m := &Microphone{c: c, turned: make(chan struct{}, 1)}
	m.source = source[MicrophoneSettings, hal.Microphone]{kind: "microphone", real: c.Microphones, test: c.Test,
		stream: m.stream, closed: m.closed, again: make(chan struct{}, 1), set: s}
	return m
}

// Set changes the settings; the microphone is opened again only where it has to be.
func (m *Microphone) Set(s MicrophoneSettings) {
	m.source.Set(s)
	select {
	case m.turned <- struct{}{}:
	default:
	}
}

// ErrNoVolume says that no microphone streams, or that it has no volume of its own.
var ErrNoVolume = errors.New("no microphone with a volume of its own is in use")

// Volume asks the device for its own volume, in percent, and whether it is muted there.
func (m *Microphone) Volume() (percent int, muted bool, err error) {
	m.volumes.Lock()
	defer m.volumes.Unlock()
	if m.volumed == nil {
		return 0, false, ErrNoVolume
	}
	return m.volumed.Volume()
}

// turn sets the device's volume now and after each change of the settings, until ctx ends.
// What others set in between stays.
func (m *Microphone) turn(ctx context.Context, v hal.Volumed, d hal.Device) {
	m.volumes.Lock()
	m.volumed = v
	m.volumes.Unlock()
	defer func() {
		m.volumes.Lock()
		m.volumed = nil
		m.volumes.Unlock()
	}()
	for last := -1; ; {
		if want := m.Settings().Volume; want >= 0 && want != last {
			granted, err := v.SetVolume(want)
			switch {
			case ctx.Err() != nil:
			case err != nil:
				m.c.Log.Warn("the microphone's own volume is as it was", "microphone", d.ID, "wanted", want, "err", err)
			case granted != want:
				m.c.Log.Info("the microphone's own volume", "microphone", d.ID, "wanted", want, "granted", granted)
			}
			last = want
		}
		select {
		case <-m.turned:
		case <-ctx.Done():
			return
		}
	}
}

// Status gives what the microphone does now.
func (m *Microphone) Status() MicrophoneStatus {
	m.state.Lock()
	s := m.status
	m.state.Unlock()
	s.Blocks, s.Zeros = m.blocks.Load(), m.silent.Load()
	return s
}

func (m *Microphone) closed(d hal.Device, err error) {
	m.state.Lock()
	m.status = MicrophoneStatus{}
	m.state.Unlock()
	m.silent.Store(0)
	if err != nil && m.c.Ready != nil {
		m.c.Ready(MicrophoneStatus{Device: d}, err)
	}
}

// patience is how many times in a row a microphone may say that it is stuck, each after
// half a second, before it is opened anew.
const patience = 4

// stream hands sound on until something ends it.
func (m *Microphone) stream(ctx context.Context, mic hal.Microphone, d hal.Device, set MicrophoneSettings) error {
	f, err := mic.Start(ctx, hal.SoundFormat{Rate: 48000, Channels: set.Channels})
	if err != nil {
		return fmt.Errorf("start %s: %w", d.ID, err)
	}
	if f.Rate != 48000 || f.Channels < 1 || f.Channels > 2 {
		return fmt.Errorf("start %s: it records %d channels at %d Hz, 1 or 2 at 48000 are needed: %w", d.ID, f.Channels, f.Rate, hal.ErrUnsupported)
	}
	m.state.Lock()
	m.status.Device, m.status.Format = d, f
	m.state.Unlock()
	m.c.Log.Info("microphone records", "microphone", d.ID, "rate", f.Rate, "channels", f.Channels)
	if m.c.Ready != nil {
		m.c.Ready(m.Status(), nil)
	}
	if v, ok := mic.(hal.Volumed); ok {
		vctx, end := context.WithCancel(ctx)
		var wg sync.WaitGroup
		defer wg.Wait()
		defer end()
		wg.Go(func() { m.turn(vctx, v, d) })
	}
	for stuck := 0; ; {
		s, err := mic.Next()
		if stuck++; errors.Is(err, hal.ErrStuck) && stuck < patience {
			continue // a source that was suspended takes its time to wake
		}
		if err != nil {
			return err
		}
		stuck = 0
		m.blocks.Add(1)
		if s.Silent {
			m.silent.Add(1)
		} else if m.silent.Load() != 0 {
			m.silent.Store(0)
		}
		m.c.Out.Put(s)
	}
}
