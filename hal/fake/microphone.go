package fake

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"anchord/hal"
	"anchord/internal/media"
)

// Microphones are fake microphones. They implement hal.Microphones.
type Microphones struct{ registry }

// TestTone is the microphone that the demonstration uses when nothing is plugged in.
var TestTone = hal.Device{ID: "test-tone", Name: "Test tone", Node: "fake:tone", Port: "fake"}

// NewMicrophones makes microphones; without devices nothing is plugged in.
func NewMicrophones(d ...hal.Device) *Microphones {
	m := &Microphones{}
	for _, d := range d {
		m.Plug(d)
	}
	return m
}

// Open implements hal.Microphones.
func (m *Microphones) Open(_ context.Context, d hal.Device) (hal.Microphone, error) {
	s, err := m.open(d)
	if err != nil {
		return nil, err
	}
	return &microphone{slot: s}, nil
}

// The test sound: a steady tone of ToneHz at -20 dBFS, and a beep of BeepHz at -6 dBFS
// during the first 100 ms of each full second of the capture clock, when the test
// picture flashes.
const (
	ToneHz = 440
	BeepHz = 1000
)

// BlockTime is the length of a block of sound.
const BlockTime = 20 * time.Millisecond

type microphone struct {
	slot   *slot
	volume atomic.Int64 // the device's own, less than 100 by so much
	ticker *ticker
	pool   *media.Pool[*media.Sound]
	format hal.SoundFormat
	n      int
	owed   uint64     // blocks that are due besides the next, when the reader was late
	due    media.Time // of the next
}

func (m *microphone) Start(ctx context.Context, f hal.SoundFormat) (hal.SoundFormat, error) {
	if m.ticker != nil {
		return f, errors.New("start test tone: already started")
	}
	if f.Rate != 48000 {
		f.Rate = 48000 // as a sound server does that was asked for anything else
	}
	if f.Channels != 2 {
		f.Channels = 1
	}
	t, err := newTicker(ctx, BlockTime)
	if err != nil {
		return f, fmt.Errorf("start test tone: %w", err)
	}
	m.ticker, m.format = t, f
	m.n = f.Rate / int(time.Second/BlockTime)
	m.pool = media.NewSounds(m.n*f.Channels, 16)
	return f, nil
}

func (m *microphone) Next() (*media.Sound, error) {
	if m.ticker == nil {
		return nil, hal.ErrStopped
	}
	begun := media.Now()
	for {
		if err := m.wait(); err != nil {
			return nil, err
		}
		fault, gone := m.slot.state()
		select {
		case <-gone:
			return nil, fmt.Errorf("test tone: %w", hal.ErrGone)
		default:
		}
		if fault == Frozen {
			if media.Now().Sub(begun) > 500*time.Millisecond {
				return nil, fmt.Errorf("test tone: %w", hal.ErrStuck)
			}
			continue
		}
		s := m.pool.Get()
		if s == nil {
			continue
		}
		at := m.due.Add(-BlockTime) // a block is there when its last sample is
		s.Rate, s.Channels = m.format.Rate, m.format.Channels
		s.Marks[media.Captured], s.Marks[media.Arrived] = at, media.Now()
		if s.Silent = fault == Broken; s.Silent {
			clear(s.PCM)
		} else {
			tone(s.PCM, s.Channels, s.Rate, at)
		}
		return s, nil
	}
}

// mostOwed is what is kept for a late reader: 2 s, as a sound server does.
const mostOwed = 100

// wait waits for the next block. A late reader gets what it missed.
func (m *microphone) wait() error {
	if m.owed > 0 {
		m.owed--
		m.due = m.due.Add(BlockTime)
		return nil
	}
	due, missed, err := m.ticker.wait()
	if err != nil {
		return err
	}
	m.owed = min(missed, mostOwed)
	m.due = due.Add(-time.Duration(m.owed) * BlockTime)
	return nil
}

// Volume implements hal.Volumed.
func (m *microphone) Volume() (percent int, muted bool, err error) {
	if fault, _ := m.slot.state(); fault == Frozen {
		return 0, false, fmt.Errorf("test tone: %w", hal.ErrStuck)
	}
	return 100 - int(m.volume.Load()), false, nil
}

// SetVolume implements hal.Volumed. As a real one it has steps, of 5 percent.
func (m *microphone) SetVolume(percent int) (int, error) {
	m.volume.Store(int64(100 - percent/5*5))
	p, _, err := m.Volume()
	return p, err
}

func (m *microphone) Close() error {
	if m.ticker != nil {
		m.ticker.close()
	}
	m.slot.free()
	return nil
}

// tone computes the test sound from its first sample's time alone, so that no phase is
// kept and any two microphones agree.
func tone(pcm []int16, channels, rate int, at media.Time) {
	const second = media.Time(time.Second)
	first := int64(at%second) * int64(rate) / int64(second)
	for i := 0; i < len(pcm); i += channels {
		k := (first + int64(i/channels)) % int64(rate)
		x := float64(k) / float64(rate)
		v := 0.1 * math.Sin(2*math.Pi*ToneHz*x)
		if x < flashTime/1000. {
			v += 0.5 * math.Sin(2*math.Pi*BeepHz*x)
		}
		for c := range channels {
			pcm[i+c] = int16(v * 32767)
		}
	}
}
