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
}

// Microphone is the microphone in use.
type Microphone struct {
	c     MicrophoneConfig
	again chan struct{}

	mu     sync.Mutex
	set    MicrophoneSettings
	status MicrophoneStatus

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
	return &Microphone{c: c, set: s, again: make(chan struct{}, 1)}
}

// Settings gives the settings in force.
func (m *Microphone) Settings() MicrophoneSettings {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.set
}

// Set changes the settings.
func (m *Microphone) Set(s MicrophoneSettings) {
	m.mu.Lock()
	restart := s != m.set
	m.set = s
	m.mu.Unlock()
	if restart {
		m.Changed()
	}
}

// Changed says that something was plugged in or out.
func (m *Microphone) Changed() {
	select {
	case m.again <- struct{}{}:
	default:
	}
}

// Status gives what the microphone does now.
func (m *Microphone) Status() MicrophoneStatus {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.status
	s.Blocks, s.Zeros = m.blocks.Load(), m.silent.Load()
	return s
}

// Run uses the microphone that the settings name until it fails, is unplugged, or ctx
// ends. When the settings or what is plugged in ask for another one, it changes over.
func (m *Microphone) Run(ctx context.Context) error {
	for {
		err := m.use(ctx)
		if err != nil || ctx.Err() != nil {
			return err
		}
	}
}

func (m *Microphone) use(ctx context.Context) error {
	select {
	case <-m.again: // what follows sees it
	default:
	}
	set := m.Settings()
	if set.Off {
		select {
		case <-m.again:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	d, from, err := m.find(ctx, set.Match)
	if err != nil {
		return fmt.Errorf("find a microphone: %w", err)
	}
	mic, err := from.Open(ctx, d)
	if err != nil {
		return err
	}
	err = m.stream(ctx, mic, d, set)
	m.mu.Lock()
	m.status = MicrophoneStatus{}
	m.mu.Unlock()
	if e := mic.Close(); e != nil && err == nil {
		err = e
	}
	if err != nil && m.c.Ready != nil {
		m.c.Ready(MicrophoneStatus{Device: d}, err)
	}
	return err
}

func (m *Microphone) find(ctx context.Context, match string) (hal.Device, hal.Microphones, error) {
	var rf, tf hal.Finder
	if m.c.Microphones != nil {
		rf = m.c.Microphones
	}
	if m.c.Test != nil {
		tf = m.c.Test
	}
	d, test, err := find(ctx, match, rf, tf)
	if test {
		return d, m.c.Test, err
	}
	return d, m.c.Microphones, err
}

// patience is how many times in a row a microphone may say that it is stuck, each after
// half a second, before it is opened anew.
const patience = 4

func (m *Microphone) stream(ctx context.Context, mic hal.Microphone, d hal.Device, set MicrophoneSettings) error {
	sctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f, err := mic.Start(sctx, hal.SoundFormat{Rate: 48000, Channels: set.Channels})
	if err != nil {
		return fmt.Errorf("start %s: %w", d.ID, err)
	}
	if f.Rate != 48000 {
		return fmt.Errorf("start %s: it records at %d Hz, 48000 is needed: %w", d.ID, f.Rate, hal.ErrUnsupported)
	}
	m.mu.Lock()
	m.status.Device, m.status.Format = d, f
	m.mu.Unlock()
	m.c.Log.Info("microphone records", "microphone", d.ID, "rate", f.Rate, "channels", f.Channels)
	if m.c.Ready != nil {
		m.c.Ready(m.Status(), nil)
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-m.again:
			case <-done:
				return
			}
			now := m.Settings()
			better, _, err := m.find(sctx, now.Match)
			if now.Off || now.Channels != set.Channels || err == nil && better != d {
				cancel()
			}
		}
	})
	for stuck := 0; ; {
		var s *media.Sound
		s, err = mic.Next()
		if stuck++; errors.Is(err, hal.ErrStuck) && stuck < patience {
			continue // a source that was suspended takes its time to wake
		}
		if err != nil {
			break
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
	close(done)
	wg.Wait()
	if ctx.Err() == nil && errors.Is(err, hal.ErrStopped) {
		return nil // another device or format is wanted
	}
	return err
}
