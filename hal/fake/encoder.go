package fake

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"anchord/hal"
	"anchord/internal/media"
)

// Encoders make a stream that has the shape of H.264 (parameter sets, IDR pictures,
// sizes as the bit rate asks) and cannot be decoded: it costs nothing, so that the rest
// of the path can be measured and tested. They implement hal.VideoEncoders.
type Encoders struct {
	// Delay is how long a picture takes.
	Delay time.Duration

	mu   sync.Mutex
	fail error
	open int
}

// Fail makes each Encode give err from now on; nil ends that.
func (e *Encoders) Fail(err error) {
	e.mu.Lock()
	e.fail = err
	e.mu.Unlock()
}

// Opened is how many encoders are open now.
func (e *Encoders) Opened() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.open
}

// Name implements hal.VideoEncoders.
func (e *Encoders) Name() string { return "fake" }

// Inputs implements hal.VideoEncoders.
func (e *Encoders) Inputs() []media.PixelFormat {
	return []media.PixelFormat{media.NV12, media.YU12}
}

// Open implements hal.VideoEncoders.
func (e *Encoders) Open(_ context.Context, c hal.VideoConfig) (hal.VideoEncoder, hal.VideoConfig, error) {
	if c.Input.Size.W%2 != 0 || c.Input.Size.H%2 != 0 || c.Input.Size.Area() == 0 {
		return nil, c, fmt.Errorf("open fake encoder: %v: %w", c.Input, hal.ErrUnsupported)
	}
	if c.Bitrate <= 0 || c.Rate.Float() <= 0 {
		return nil, c, errors.New("open fake encoder: no bit rate or frame rate")
	}
	e.mu.Lock()
	e.open++
	e.mu.Unlock()
	return &encoder{make: e, c: c, pool: media.NewPackets(1<<16, 64)}, c, nil
}

type encoder struct {
	make   *Encoders
	c      hal.VideoConfig
	pool   *media.Pool[*media.Packet]
	n      uint32
	closed bool
}

// parameter sets of a 1280x720 baseline stream; what they say is nobody's business.
const (
	spsHex = "\x00\x00\x00\x01\x67\x42\xc0\x1f\xda\x01\x40\x16\xe8\x40\x00\x00\x03\x00\x40\x00\x00\x0c\x83\xc6\x0c\xa8"
	ppsHex = "\x00\x00\x00\x01\x68\xce\x3c\x80"
)

// Encode gives an access unit whose slice begins with the picture's number, 28 bits in
// four bytes whose highest bit is set (so that they look like no start code).
func (e *encoder) Encode(f *media.Frame, key bool) (*media.Packet, error) {
	e.make.mu.Lock()
	err, delay := e.make.fail, e.make.Delay
	e.make.mu.Unlock()
	switch {
	case err != nil:
		return nil, err
	case e.closed:
		return nil, errors.New("encode: closed")
	case f.Pixel != e.c.Input.Pixel || f.Size != e.c.Input.Size:
		return nil, fmt.Errorf("encode: a frame in %v, opened for %v: %w", f.Format, e.c.Input, hal.ErrUnsupported)
	}
	if delay > 0 {
		t := time.NewTimer(delay)
		<-t.C
	}
	p := e.pool.Get()
	if p == nil {
		return nil, errors.New("encode: all packets are out")
	}
	p.Key = key || e.n == 0
	n := e.c.Bitrate / 8 * e.c.Rate.Den / e.c.Rate.Num
	if p.Key {
		p.Data = append(append(p.Data, spsHex...), ppsHex...)
		n *= 3
	}
	head := byte(0x41)
	if p.Key {
		head = 0x65
	}
	p.Data = append(p.Data, 0, 0, 0, 1, head)
	p.Data = append(p.Data, 0x80|byte(e.n>>21), 0x80|byte(e.n>>14), 0x80|byte(e.n>>7), 0x80|byte(e.n))
	for i := 0; i < n; i++ {
		p.Data = append(p.Data, byte(i)|1) // no zeros, so no start codes
	}
	e.n++
	p.Turn, p.Size, p.Marks = f.Turn, f.Size, f.Marks
	p.Marks[media.Encoded] = media.Now()
	return p, nil
}

func (e *encoder) SetRate(bitrate int, r media.Rate) (int, error) {
	if bitrate <= 0 || r.Float() <= 0 {
		return e.c.Bitrate, fmt.Errorf("set rate: %d bit/s, %v frames/s: %w", bitrate, r, hal.ErrUnsupported)
	}
	e.c.Bitrate, e.c.Rate = bitrate, r
	return bitrate, nil
}

func (e *encoder) Close() error {
	if !e.closed {
		e.closed = true
		e.make.mu.Lock()
		e.make.open--
		e.make.mu.Unlock()
	}
	return nil
}
