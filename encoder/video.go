// Package encoder turns pictures and sound into packets, at the rate that the network
// allows, on the best encoder that still works.
package encoder

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"anchord/hal"
	"anchord/internal/media"
)

// VideoConfig is what a Video needs.
type VideoConfig struct {
	Log *slog.Logger
	// Encoders are tried in this order.
	Encoders []hal.VideoEncoders
	// In gives pictures; Out takes packets.
	In  *media.Latest
	Out *media.Tap[*media.Packet]
	// Demand says whether anybody wants pictures, when a key picture, and how many bits.
	Demand *media.Demand
}

// VideoSettings are what a user chooses.
type VideoSettings struct {
	Bitrate    int        // bits a second, the most
	MinBitrate int        // bits a second, the least that the network may press it to
	Rate       media.Rate // frames a second
}

// Video is the video encoder in use. The next encoder takes over within the stream when
// one fails; the one before is tried again only when the next fails too, or when Run was
// ended by an error and begins anew.
type Video struct {
	c VideoConfig

	mu     sync.Mutex
	set    VideoSettings
	status VideoStatus

	frames, keys, skipped, failed atomic.Uint64
	bytes                         atomic.Uint64
}

// VideoStatus says what the encoder does.
type VideoStatus struct {
	Encoder string       // its name; "" while none is open
	Input   media.Format // what it takes
	Bitrate int          // granted, bits a second
	Resting bool         // nobody subscribes
	Frames  uint64       // coded
	Keys    uint64       // of them key pictures
	Skipped uint64       // that the encoder left out to keep its bit rate
	Late    uint64       // pictures that were not coded: a newer one came before the encoder was free
	Failed  uint64       // errors of encoders, and bit rates that they refused
	Bytes   uint64
}

// NewVideo makes a Video; nothing is opened before Run.
func NewVideo(c VideoConfig, s VideoSettings) *Video { return &Video{c: c, set: s} }

// Settings gives the settings in force.
func (v *Video) Settings() VideoSettings {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.set
}

// Set changes the settings, from the next picture on.
func (v *Video) Set(s VideoSettings) {
	v.mu.Lock()
	v.set = s
	v.mu.Unlock()
}

// Status gives what the encoder does now.
func (v *Video) Status() VideoStatus {
	v.mu.Lock()
	s := v.status
	v.mu.Unlock()
	s.Frames, s.Keys, s.Skipped = v.frames.Load(), v.keys.Load(), v.skipped.Load()
	s.Failed, s.Bytes, s.Late = v.failed.Load(), v.bytes.Load(), v.c.In.Dropped()
	return s
}

// keyEvery is the least time between two key pictures that receivers ask for because
// they lost something: a storm of requests costs more quality than the losses
// (https://github.com/jitsi/jitsi-videobridge/pull/2448).
const keyEvery = time.Second

// coding is the state of one opened encoder.
type coding struct {
	enc     hal.VideoEncoder
	which   int // index of its make
	input   media.Format
	asked   int // bits a second
	granted int
	rate    media.Rate
	lastKey media.Time
}

// trouble counts the failures of one Run.
type trouble struct {
	failures int // since all was well
	last     media.Time
	refused  media.Time // when a refused bit rate was last spoken of
}

// settled is how long encoders must have worked for their failures to be forgotten. More
// failures than there are encoders within that time end Run: to open one after another
// for a few pictures each costs more than to wait.
const settled = 10 * time.Second

// Run codes pictures until ctx ends, or until no encoder works.
func (v *Video) Run(ctx context.Context) error {
	var c coding
	var bad trouble
	changed, remove := v.c.Demand.Changed()
	defer remove()
	v.c.In.Shut(false)
	defer func() {
		v.closeEncoder(&c)
		v.c.In.Shut(true)
	}()
	for {
		select {
		case f := <-v.c.In.C():
			err := v.code(ctx, &c, &bad, f, media.Now())
			f.Release()
			if err != nil {
				return err
			}
		case <-changed: // the camera gives no pictures while nobody subscribes
			v.rest(&c, !v.c.Demand.Wish().Subscribed)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// code codes one picture, which others may read too; an error means that no encoder works.
func (v *Video) code(ctx context.Context, c *coding, bad *trouble, f *media.Frame, taken media.Time) error {
	wish := v.c.Demand.Wish()
	v.rest(c, !wish.Subscribed)
	if !wish.Subscribed {
		return nil
	}
	set := v.Settings()
	target := set.Bitrate
	if wish.Bitrate > 0 {
		target = max(min(target, wish.Bitrate), set.MinBitrate)
	}
	for {
		if c.enc != nil && f.Format != c.input {
			v.closeEncoder(c) // another size, or other colours
		}
		if c.enc == nil {
			if err := v.openEncoder(ctx, c, f.Format, target, set); err != nil {
				return err
			}
		}
		if target != c.asked || set.Rate != c.rate {
			v.setRate(c, bad, target, set.Rate, taken)
		}
		key := v.wantsKey(c, taken)
		p, err := c.enc.Encode(f, key)
		switch {
		case err == nil && p == nil:
			v.skipped.Add(1)
			return nil
		case err == nil:
			v.frames.Add(1)
			v.bytes.Add(uint64(len(p.Data)))
			p.Marks[media.Taken] = taken
			if p.Key {
				v.keys.Add(1)
				c.lastKey = taken
				v.c.Demand.KeyMade()
			}
			v.c.Out.Put(p)
			return nil
		}
		v.failed.Add(1)
		failed := v.c.Encoders[c.which].Name()
		v.closeEncoder(c)
		c.which = (c.which + 1) % len(v.c.Encoders)
		if bad.last != 0 && taken.Sub(bad.last) > settled {
			bad.failures = 0
		}
		bad.failures, bad.last = bad.failures+1, taken
		if bad.failures > len(v.c.Encoders) {
			return fmt.Errorf("encode with %s, after %d failures in a short time: %w", failed, bad.failures-1, err)
		}
		v.c.Log.Warn("encoder failed", "encoder", failed, "next", v.c.Encoders[c.which].Name(), "err", err)
	}
}

// wantsKey says whether the next picture has to be a key picture: at once for
// a newcomer and for a new stream, at most one a second for those who lost something.
func (v *Video) wantsKey(c *coding, now media.Time) bool {
	switch v.c.Demand.Key() {
	case media.KeyNow:
		return true
	case media.KeySoon:
		return now.Sub(c.lastKey) >= keyEvery
	}
	return c.lastKey == 0
}

// rest notes whether the encoder rests. When it has just woken up a key picture comes
// next: who comes back cannot use one that builds on old ones.
func (v *Video) rest(c *coding, resting bool) {
	v.mu.Lock()
	was := v.status.Resting
	v.status.Resting = resting
	v.mu.Unlock()
	if was != resting {
		v.c.Log.Info("encoder", "resting", resting)
	}
	if was && !resting {
		c.lastKey = 0
	}
}

func (v *Video) openEncoder(ctx context.Context, c *coding, in media.Format, bitrate int, set VideoSettings) error {
	if len(v.c.Encoders) == 0 {
		return errors.New("open encoder: none is configured")
	}
	var errs []error
	for i := range v.c.Encoders {
		which := (c.which + i) % len(v.c.Encoders)
		m := v.c.Encoders[which]
		enc, granted, err := m.Open(ctx, hal.VideoConfig{Input: in, Rate: set.Rate, Bitrate: bitrate, MinBitrate: set.MinBitrate})
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", m.Name(), err))
			continue
		}
		*c = coding{enc: enc, which: which, input: in, asked: bitrate, granted: granted.Bitrate, rate: set.Rate}
		v.mu.Lock()
		v.status.Encoder, v.status.Input, v.status.Bitrate = m.Name(), in, granted.Bitrate
		v.mu.Unlock()
		v.c.Log.Info("encoder opened", "encoder", m.Name(), "input", in, "bitrate", granted.Bitrate, "fps", set.Rate)
		return nil
	}
	return fmt.Errorf("open an encoder for %v: %w", in, errors.Join(errs...))
}

func (v *Video) setRate(c *coding, bad *trouble, bitrate int, r media.Rate, now media.Time) {
	granted, err := c.enc.SetRate(bitrate, r)
	c.asked, c.rate = bitrate, r // not asked again with every picture when it says no
	if err != nil {
		v.failed.Add(1)
		if bad.refused == 0 || now.Sub(bad.refused) >= time.Second { // the network changes its mind often
			bad.refused = now
			v.c.Log.Warn("encoder refused a bit rate", "bitrate", bitrate, "granted", c.granted, "err", err)
		}
		return
	}
	c.granted = granted
	v.mu.Lock()
	v.status.Bitrate = granted
	v.mu.Unlock()
}

func (v *Video) closeEncoder(c *coding) {
	if c.enc == nil {
		return
	}
	if err := c.enc.Close(); err != nil {
		v.c.Log.Warn("encoder closed badly", "err", err)
	}
	c.enc, c.lastKey = nil, 0
	v.mu.Lock()
	v.status.Encoder, v.status.Bitrate = "", 0
	v.mu.Unlock()
}
