package fake

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"anchord/hal"
	"anchord/internal/media"
)

// Faulty encoders are real ones that fail after a while, in the ways in which hardware
// does: to see what a daemon makes of it. They are for a process that may be lost.
type Faulty struct {
	hal.VideoEncoders
	Fault EncoderFault
	After int // pictures that go well
}

// EncoderFault is a way in which an encoder fails.
type EncoderFault string

// The faults.
const (
	Hang EncoderFault = "hang" // a picture never comes back
	Exit EncoderFault = "exit" // the process ends
	Fail EncoderFault = "fail" // every picture is an error
	Slow EncoderFault = "slow" // a picture takes a second
	Mute EncoderFault = "mute" // pictures go in and nothing comes out
)

// Open implements hal.VideoEncoders.
func (f Faulty) Open(ctx context.Context, c hal.VideoConfig) (hal.VideoEncoder, hal.VideoConfig, error) {
	switch f.Fault {
	case Hang, Exit, Fail, Slow, Mute:
	default:
		return nil, c, fmt.Errorf("open faulty encoder: there is no fault %q: %w", f.Fault, hal.ErrUnsupported)
	}
	e, c, err := f.VideoEncoders.Open(ctx, c)
	if err != nil {
		return nil, c, err
	}
	return &faultyEncoder{VideoEncoder: e, fault: f.Fault, left: f.After}, c, nil
}

type faultyEncoder struct {
	hal.VideoEncoder
	fault EncoderFault
	left  int
}

// Encode implements hal.VideoEncoder.
func (e *faultyEncoder) Encode(f *media.Frame, key bool) (*media.Packet, error) {
	if e.left > 0 {
		e.left--
		return e.VideoEncoder.Encode(f, key)
	}
	switch e.fault {
	case Hang:
		for {
			<-time.After(time.Hour) // not for ever: the runtime would call that a deadlock
		}
	case Exit:
		os.Exit(1)
	case Fail:
		return nil, errors.New("encode: it was told to fail")
	case Mute:
		return nil, nil
	}
	<-time.After(time.Second)
	return e.VideoEncoder.Encode(f, key)
}
