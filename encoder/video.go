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
	// Encoders are tried in this order. Roster stands for them where somebody else wants to
	// know it too.
	Encoders []hal.VideoEncoders
	Roster   *Roster
	// OnSwitch is told when another encoder has taken over, on Run's goroutine; it may be nil.
	OnSwitch func(Switch)
	// Roomy tells whether there is memory for a second encoder that waits; nil: there is.
	Roomy func() bool
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

// Switch is a change from one encoder to another within the stream.
type Switch struct {
	From, To string
	Cause    error // why From was left; nil: To is better, and works again
	Software bool  // To codes on the processor
}

// Video is the video encoder in use. The next encoder takes over within the stream when
// one fails or hangs; the one before is put aside and tried again when its time has come
// (Roster). While a piece of hardware codes, a software encoder waits, opened, where there is
// memory for it.
type Video struct {
	c      VideoConfig
	roster *Roster

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
func NewVideo(c VideoConfig, s VideoSettings) *Video {
	if c.Roster == nil {
		c.Roster = NewRoster(c.Encoders...)
	}
	return &Video{c: c, roster: c.Roster, set: s}
}

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
	of      *entry // its make
	was     *entry // the make before it, which failed or is not the best; nil: none
	why     error
	input   media.Format
	asked   int // bits a second
	granted int
	rate    media.Rate
	lastKey media.Time
	coded   int        // pictures since it was opened
	looked  media.Time // when a better one was last looked for
	spare   spare
}

// spare is a software encoder that waits while a piece of hardware codes.
type spare struct {
	enc   hal.VideoEncoder
	of    *entry
	input media.Format
	tried bool // for this input
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

// warmAfter is how many pictures an encoder must have coded before a spare is opened: the
// first ones go out without waiting for that.
const warmAfter = 30

// Run codes pictures until ctx ends, or until no encoder works.
func (v *Video) Run(ctx context.Context) error {
	var c coding
	var bad trouble
	changed, remove := v.c.Demand.Changed()
	defer remove()
	v.c.In.Shut(false)
	defer func() {
		v.closeEncoder(&c)
		v.closeSpare(&c)
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
	v.tryBetter(ctx, c, f.Format, target, set, taken)
	for {
		if c.enc != nil && f.Format != c.input {
			v.closeEncoder(c) // another size, or other colours
			v.closeSpare(c)
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
		if err == nil && p != nil && c.coded == 0 {
			if err = v.admit(c, p); err != nil {
				p.Release()
			}
		}
		switch {
		case err == nil && p == nil:
			v.skipped.Add(1)
			return nil
		case err == nil:
			if c.coded++; c.coded == warmAfter {
				v.warm(ctx, c, set)
			}
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
		if bad.last != 0 && taken.Sub(bad.last) > settled {
			bad.failures = 0
		}
		bad.failures, bad.last = bad.failures+1, taken
		v.leave(c, err)
		if bad.failures > len(v.roster.List()) {
			return fmt.Errorf("encode with %s, after %d failures in a short time: %w", c.was.make.Name(), bad.failures-1, err)
		}
	}
}

// leave closes the encoder that failed and puts it aside.
func (v *Video) leave(c *coding, cause error) {
	v.roster.failed(c.of, cause)
	v.c.Log.Warn("encoder failed", "encoder", c.of.make.Name(), "hangs", errors.Is(cause, hal.ErrStuck), "err", cause)
	if c.was == nil || c.coded > 0 {
		c.was, c.why = c.of, cause
	}
	v.closeEncoder(c)
}

// admit looks at the first access unit of an encoder: one that lies about what it makes is
// found out here and not by viewers.
func (v *Video) admit(c *coding, p *media.Packet) error {
	if !p.Key || !media.IsKey(p.Data) {
		return fmt.Errorf("its stream does not begin with a key picture: %w", hal.ErrUnsupported)
	}
	v.roster.works(c.of)
	if was := c.was; was != nil && was != c.of {
		v.c.Log.Warn("another encoder codes", "was", was.make.Name(), "now", c.of.make.Name(), "why", c.why)
		if v.c.OnSwitch != nil {
			v.c.OnSwitch(Switch{From: was.make.Name(), To: c.of.make.Name(), Cause: c.why, Software: c.of.software})
		}
	}
	c.was, c.why = nil, nil
	return nil
}

// tryBetter changes to an encoder that goes before the one in use, when its time has come. If
// it cannot be opened the one in use stays.
func (v *Video) tryBetter(ctx context.Context, c *coding, in media.Format, bitrate int, set VideoSettings, now media.Time) {
	if c.enc == nil || in != c.input || now.Sub(c.looked) < time.Second {
		return
	}
	c.looked = now
	e := v.roster.better(c.of)
	if e == nil {
		return
	}
	enc, granted, err := e.make.Open(ctx, hal.VideoConfig{Input: in, Rate: set.Rate, Bitrate: bitrate, MinBitrate: set.MinBitrate})
	if err != nil {
		v.roster.failed(e, err)
		v.c.Log.Info("the better encoder does not work yet", "encoder", e.make.Name(), "err", err)
		return
	}
	old := *c
	*c = coding{enc: enc, of: e, was: old.of, input: in, asked: bitrate, granted: granted.Bitrate, rate: set.Rate, looked: now}
	if old.of.software {
		v.closeSpare(&old)
		c.spare = spare{enc: old.enc, of: old.of, input: in, tried: true}
	} else {
		v.closeEncoder(&old)
		c.spare = old.spare
	}
	v.opened(c, granted)
}

// warm opens a software encoder that takes over without delay when the hardware fails.
func (v *Video) warm(ctx context.Context, c *coding, set VideoSettings) {
	if c.of.software || c.spare.tried || v.c.Roomy != nil && !v.c.Roomy() {
		return
	}
	c.spare.tried = true
	for _, e := range v.roster.candidates() {
		if !e.software {
			continue
		}
		enc, _, err := e.make.Open(ctx, hal.VideoConfig{Input: c.input, Rate: set.Rate, Bitrate: c.asked, MinBitrate: set.MinBitrate})
		if err != nil {
			v.c.Log.Info("no encoder waits", "encoder", e.make.Name(), "err", err)
			return
		}
		c.spare = spare{enc: enc, of: e, input: c.input, tried: true}
		return
	}
}

func (v *Video) closeSpare(c *coding) {
	if c.spare.enc != nil {
		if err := c.spare.enc.Close(); err != nil {
			v.c.Log.Warn("encoder closed badly", "encoder", c.spare.of.make.Name(), "err", err)
		}
	}
	c.spare = spare{}
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
	candidates := v.roster.candidates()
	if len(v.roster.List()) == 0 {
		return errors.New("open encoder: none is configured")
	}
	var errs []error
	for _, e := range candidates {
		next := coding{of: e, was: c.was, why: c.why, input: in, asked: bitrate, rate: set.Rate, looked: media.Now(), spare: c.spare}
		granted := hal.VideoConfig{Bitrate: bitrate}
		var err error
		if e == c.spare.of && in == c.spare.input {
			next.enc, next.spare, next.asked = c.spare.enc, spare{tried: true}, 0 // its rate is set with its first picture
		} else {
			next.enc, granted, err = e.make.Open(ctx, hal.VideoConfig{Input: in, Rate: set.Rate, Bitrate: bitrate, MinBitrate: set.MinBitrate})
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", e.make.Name(), err))
			if ctx.Err() == nil && !errors.Is(err, hal.ErrUnsupported) {
				v.roster.failed(e, err)
			}
			if next.was == nil {
				c.was, c.why = e, err
			}
			continue
		}
		next.granted = granted.Bitrate
		*c = next
		v.opened(c, granted)
		return nil
	}
	if len(errs) == 0 {
		for _, e := range v.roster.List() {
			errs = append(errs, fmt.Errorf("%s is put aside until %s: %s", e.Name, e.Until.Format(time.TimeOnly), e.Aside))
		}
	}
	return fmt.Errorf("open an encoder for %v: %w", in, errors.Join(errs...))
}

// opened says what is in use now.
func (v *Video) opened(c *coding, granted hal.VideoConfig) {
	name := c.of.make.Name()
	v.mu.Lock()
	v.status.Encoder, v.status.Input, v.status.Bitrate = name, c.input, granted.Bitrate
	v.mu.Unlock()
	v.c.Log.Info("encoder opened", "encoder", name, "input", c.input, "bitrate", granted.Bitrate, "fps", c.rate)
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
	c.enc, c.lastKey, c.coded = nil, 0, 0
	v.mu.Lock()
	v.status.Encoder, v.status.Bitrate = "", 0
	v.mu.Unlock()
}
