package encoder

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"

	"anchord/internal/media"
	"anchord/internal/opus"
)

// AudioConfig is what an Audio needs.
type AudioConfig struct {
	Log *slog.Logger
	// In gives blocks of 20 ms at 48 kHz; Out takes packets.
	In  *media.Mailbox[*media.Sound]
	Out *media.Tap[*media.Packet]
	// Demand says how much is lost on the way.
	Demand *media.Demand
}

// AudioSettings are what a user chooses.
type AudioSettings struct {
	Bitrate int  // bits a second
	Volume  int  // software gain in percent, 0…150
	Muted   bool // silence is coded, which costs next to nothing
	Music   bool // for all sounds, not speech alone
}

// Audio is the sound encoder in use.
type Audio struct {
	c AudioConfig

	mu  sync.Mutex
	set AudioSettings

	packets, bytes, failed atomic.Uint64
	level                  atomic.Int32
}

// AudioStatus says what the encoder does.
type AudioStatus struct {
	Packets, Bytes, Failed uint64
	Late                   uint64 // blocks that were not coded: newer ones came before the encoder was free
	Level                  int    // of the last block, dBov: 0 is the loudest, -127 silence
}

// NewAudio makes an Audio; nothing is opened before Run.
func NewAudio(c AudioConfig, s AudioSettings) *Audio { return &Audio{c: c, set: s} }

// Settings gives the settings in force.
func (a *Audio) Settings() AudioSettings {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.set
}

// Set changes the settings, from the next block on.
func (a *Audio) Set(s AudioSettings) {
	a.mu.Lock()
	a.set = s
	a.mu.Unlock()
}

// Status gives what the encoder does now.
func (a *Audio) Status() AudioStatus {
	return AudioStatus{a.packets.Load(), a.bytes.Load(), a.failed.Load(), a.c.In.Dropped(), int(a.level.Load())}
}

// maxPacket is the most that Opus makes of 20 ms (RFC 6716 3.2.1: 1275 bytes a frame).
const maxPacket = 1275

// packetsOut bounds the packets in readers' queues.
const packetsOut = 128

// Run codes sound until ctx ends, or until Opus fails.
func (a *Audio) Run(ctx context.Context) error {
	pool := media.NewPackets(maxPacket, packetsOut)
	var enc *opus.Encoder
	var opened opus.Config
	var scratch []int16
	defer func() {
		if enc != nil {
			enc.Close()
		}
		a.c.In.Shut(true)
	}()
	a.c.In.Shut(false)
	for {
		s, err := a.c.In.Get(ctx)
		if err != nil {
			return err
		}
		want := a.config(s.Channels)
		if enc == nil || want.Channels != opened.Channels || want.Application != opened.Application {
			if enc != nil {
				enc.Close()
			}
			if enc, err = opus.NewEncoder(want); err != nil {
				s.Release()
				return fmt.Errorf("open the sound encoder: %w", err)
			}
			opened = want
		}
		if err := adjust(enc, &opened, want); err != nil {
			s.Release()
			return fmt.Errorf("set the sound encoder: %w", err)
		}
		p := pool.Get()
		if p == nil { // every reader's queue drops, so this is somebody who keeps packets
			a.failed.Add(1)
			s.Release()
			continue
		}
		set := a.Settings()
		scratch = gain(scratch, s.PCM, set)
		n, err := enc.Encode(p.Data[:maxPacket], scratch)
		p.Marks = s.Marks
		// What the decoder plays begins so much later: its time is that of the sound.
		if p.Marks[media.Captured] != 0 {
			p.Marks[media.Captured] -= media.Time(enc.Lookahead()) * 1e9 / opus.Rate
		}
		p.Samples = len(s.PCM) / s.Channels
		s.Release()
		if err != nil {
			p.Release()
			return fmt.Errorf("encode sound: %w", err)
		}
		p.Data, p.Key = p.Data[:n], true
		p.Level = level(scratch)
		p.Voice = p.Level < 50
		p.Marks[media.Encoded] = media.Now()
		a.level.Store(-int32(p.Level))
		a.packets.Add(1)
		a.bytes.Add(uint64(n))
		a.c.Out.Put(p)
	}
}

// config is what Opus is asked for now. In-band FEC costs bits, so it is on only while
// something is lost. DTX is on only while muted: it takes any steady sound for noise,
// the hum of a machine that somebody listens to as well, and drops the beginning of what
// follows.
func (a *Audio) config(channels int) opus.Config {
	s, w := a.Settings(), a.c.Demand.Wish()
	c := opus.Config{Rate: 48000, Channels: channels, Bitrate: s.Bitrate, Complexity: 5, Application: opus.Voice,
		FEC: w.Loss > 0.005, DTX: s.Muted || s.Volume == 0, ExpectedLoss: lossStep(w.Loss)}
	if s.Music {
		c.Application = opus.Audio
	}
	return c
}

// lossStep gives the loss in percent, in steps, so that a trembling estimate does not
// set the encoder anew with each block.
func lossStep(l float64) int {
	for _, s := range []int{0, 2, 5, 10, 20} {
		if l*100 <= float64(s) {
			return s
		}
	}
	return 30
}

// adjust sets what differs.
func adjust(e *opus.Encoder, now *opus.Config, want opus.Config) error {
	if *now == want {
		return nil
	}
	if now.Bitrate != want.Bitrate {
		if err := e.SetBitrate(want.Bitrate); err != nil {
			return err
		}
	}
	if now.ExpectedLoss != want.ExpectedLoss {
		if err := e.SetLoss(want.ExpectedLoss); err != nil {
			return err
		}
	}
	if now.FEC != want.FEC {
		if err := e.SetFEC(want.FEC); err != nil {
			return err
		}
	}
	if now.DTX != want.DTX {
		if err := e.SetDTX(want.DTX); err != nil {
			return err
		}
	}
	*now = want
	return nil
}

// gain gives the samples as the settings want them, in dst: others read pcm too.
func gain(dst, pcm []int16, s AudioSettings) []int16 {
	dst = append(dst[:0], pcm...)
	switch {
	case s.Muted || s.Volume == 0:
		clear(dst)
	case s.Volume != 100:
		for i, v := range dst {
			dst[i] = int16(max(min(int(v)*s.Volume/100, math.MaxInt16), math.MinInt16))
		}
	}
	return dst
}

// level gives the loudness of a block in -dBov as RFC 6464 has it: 0 is a full-scale
// square wave, 127 silence.
func level(pcm []int16) uint8 {
	var sum float64
	for _, v := range pcm {
		sum += float64(v) * float64(v)
	}
	if sum == 0 || len(pcm) == 0 {
		return 127
	}
	db := -10 * math.Log10(sum/float64(len(pcm))/(32768*32768))
	return uint8(max(min(math.Round(db), 127), 0))
}
