// Package openh264 encodes H.264 in software by OpenH264
// (https://github.com/cisco/openh264): the encoder that every box has.
package openh264

/*
#cgo LDFLAGS: -lopenh264 -lstdc++ -lm -lpthread
#cgo noescape oh_encode
#cgo nocallback oh_encode
#include "encoder.h"
*/
import "C"

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"time"
	"unsafe"

	"anchord/hal"
	"anchord/internal/media"
)

// Config is what all encoders of a process have in common.
type Config struct {
	Log     *slog.Logger
	Threads int // for each encoder; 0: one, and more above 720p if there are cores for them
}

// Encoders opens encoders. It implements hal.VideoEncoders.
type Encoders struct{ c Config }

var _ hal.VideoEncoders = Encoders{}

// New makes Encoders. It opens nothing.
func New(c Config) Encoders {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return Encoders{c}
}

// Name is "openh264".
func (Encoders) Name() string { return "openh264" }

// Software implements hal.Software.
func (Encoders) Software() {}

// Inputs is YU12 alone.
func (Encoders) Inputs() []media.PixelFormat { return []media.PixelFormat{media.YU12} }

const (
	minSide    = 16
	maxFPS     = 60 // the library knows no more
	minBitrate = 16e3
	maxThreads = 4
	maxPackets = 128 // out at a time: some seconds of a queue, what is resent and a recorder's
	// usualFPS is the least that the level allows for, so that the rate may rise later.
	usualFPS = 30
)

// Open makes an encoder. Pictures are YU12 of even width and height, at least 16 × 16 and
// within level 5.2. Granted are the colour (guessed where it was not known), the frame
// rate (1 to 60 a second), the bit rate and the threads.
func (e Encoders) Open(ctx context.Context, c hal.VideoConfig) (hal.VideoEncoder, hal.VideoConfig, error) {
	s := c.Input.Size
	top := media.TopLevel()
	switch {
	case ctx.Err() != nil:
		return nil, c, fmt.Errorf("open openh264: %w", ctx.Err())
	case c.Input.Pixel != media.YU12:
		return nil, c, fmt.Errorf("open openh264: pixel format %s, can take %s only: %w", c.Input.Pixel, media.YU12, hal.ErrUnsupported)
	case s.W%2 != 0 || s.H%2 != 0:
		return nil, c, fmt.Errorf("open openh264: size %s: width and height must be even: %w", s, hal.ErrUnsupported)
	case s.W < minSide || s.H < minSide:
		return nil, c, fmt.Errorf("open openh264: size %s: must be at least %dx%d: %w", s, minSide, minSide, hal.ErrUnsupported)
	case !top.Holds(s):
		return nil, c, fmt.Errorf("open openh264: size %s: larger than H.264 level 5.2 allows: %w", s, hal.ErrUnsupported)
	case c.Bitrate <= 0:
		return nil, c, fmt.Errorf("open openh264: bit rate %d is not positive: %w", c.Bitrate, hal.ErrUnsupported)
	case c.Rate.Float() <= 0:
		return nil, c, fmt.Errorf("open openh264: frame rate %d/%d is not positive: %w", c.Rate.Num, c.Rate.Den, hal.ErrUnsupported)
	}
	c.Rate = clip(c.Rate)
	l := media.FitLevel(s, max(c.Rate.Float(), usualFPS), 2*min(c.Bitrate, top.Bitrate/2))
	c.Bitrate = min(max(c.Bitrate, minBitrate), l.Bitrate)
	c.Input.Colour = c.Input.Colour.Guess(s)
	c.Threads = e.threads(c)

	p := C.oh_new()
	if p == nil {
		return nil, c, errors.New("open openh264: the library gives no encoder")
	}
	v := &encoder{c: p, log: e.c.Log, config: c, level: l, packets: media.NewPackets(max(s.Area()/16, 4096), maxPackets)}
	colour := c.Input.Colour
	code := C.oh_open(p, &C.oh_config{w: C.int(s.W), h: C.int(s.H), bitrate: C.int(c.Bitrate), level: C.int(l.IDC),
		threads: C.int(c.Threads), fps: C.float(c.Rate.Float()),
		primaries: point(colour.Primaries, C.CP_NUM_ENUM), transfer: point(colour.Transfer, C.TRC_NUM_ENUM),
		matrix: point(colour.Matrix, C.CM_NUM_ENUM), full: flag(colour.Full)})
	if code != 0 {
		err := v.fail("open openh264 for "+s.String(), code)
		v.Close()
		return nil, c, err
	}
	e.c.Log.Debug("openh264 is open", "size", s, "fps", c.Rate, "bitrate", c.Bitrate, "level", l.IDC, "threads", c.Threads)
	return v, c, nil
}

func (e Encoders) threads(c hal.VideoConfig) int {
	n := c.Threads
	if n <= 0 {
		n = e.c.Threads
	}
	if n <= 0 {
		n = min(c.Input.Size.Area()/(1280*720), runtime.NumCPU())
	}
	// A slice is at least one line of macroblocks.
	return max(1, min(n, maxThreads, c.Input.Size.H/16))
}

// clip brings a frame rate into what the library knows.
func clip(r media.Rate) media.Rate {
	switch f := r.Float(); {
	case f < 1:
		return media.FPS(1)
	case f > maxFPS:
		return media.FPS(maxFPS)
	}
	return r
}

// point gives a code point of H.273, or "unspecified" (2) for those above the library's.
func point(v uint8, end C.int) C.int {
	if C.int(v) >= end {
		return 2
	}
	return C.int(v)
}

func flag(b bool) C.int {
	if b {
		return 1
	}
	return 0
}

// encoder implements hal.VideoEncoder.
type encoder struct {
	c       *C.oh
	log     *slog.Logger
	config  hal.VideoConfig
	level   media.Level
	packets *media.Pool[*media.Packet]
	sets    media.ParameterSets
	au      []byte // the coded picture in one piece, kept for its room
	owed    bool   // a key picture was asked for and has not come yet

	stamp    time.Duration // of the last picture, counted from the first
	captured media.Time    // of the last picture
}

// maxGap is the longest that rate control is told two pictures lie apart.
const maxGap = 10 * time.Second

// tick gives the picture's time in milliseconds, which rises by at least one whatever
// the device's clock does: a stamp that is missing, stands still, goes back or leaps
// counts as one frame interval.
func (e *encoder) tick(t media.Time) int64 {
	gap := t.Sub(e.captured)
	if t == 0 || e.captured == 0 || gap <= 0 || gap > maxGap {
		gap = e.config.Rate.Interval()
	}
	if t != 0 {
		e.captured = t
	}
	e.stamp += max(gap, time.Millisecond)
	return e.stamp.Milliseconds()
}

// Encode codes one picture; see hal.VideoEncoder. When all packets are out the picture is
// skipped, as if there were no bits for it.
func (e *encoder) Encode(f *media.Frame, key bool) (*media.Packet, error) {
	if e.c == nil {
		return nil, fmt.Errorf("encode picture: openh264 is closed: %w", hal.ErrStopped)
	}
	if err := e.check(f); err != nil {
		return nil, err
	}
	e.owed = e.owed || key
	ms := e.tick(f.Marks[media.Captured])
	p := e.packets.Get()
	if p == nil {
		return nil, nil
	}
	if err := e.encode(p, f, ms); err != nil {
		p.Release()
		return nil, err
	}
	if len(p.Data) == 0 {
		p.Release()
		return nil, nil
	}
	if p.Key {
		e.owed = false
	}
	p.Size, p.Turn, p.Marks = f.Size, f.Turn, f.Marks
	p.Marks[media.Encoded] = media.Now()
	return p, nil
}

func (e *encoder) encode(p *media.Packet, f *media.Frame, ms int64) error {
	code := C.oh_encode(e.c, ptr(f, 0), ptr(f, 1), ptr(f, 2),
		C.int(f.Stride[0]), C.int(f.Stride[1]), C.int(f.Stride[2]), C.longlong(ms), flag(e.owed))
	if code != 0 {
		e.owed = true // what the decoders have is not what the encoder has any more
		return e.fail("encode picture", code)
	}
	e.au = e.au[:0]
	for i := range int(e.c.parts) {
		e.au = append(e.au, unsafe.Slice((*byte)(e.c.part[i]), int(e.c.length[i]))...)
	}
	if len(e.au) == 0 {
		return nil
	}
	var usable bool
	if p.Data, p.Key, usable = e.sets.Append(p.Data, e.au); !usable {
		e.owed = true
		return errors.New("encode picture: openh264 gave no picture, or one without parameter sets")
	}
	return nil
}

// check makes sure that every byte that the library will read lies within the planes.
func (e *encoder) check(f *media.Frame) error {
	s := e.config.Input.Size
	if f.Pixel != media.YU12 || f.Size != s {
		return fmt.Errorf("encode picture: it is %s, openh264 is open for %s %s", f.Format, media.YU12, s)
	}
	for i, n := range [3]media.Size{s, {W: s.W / 2, H: s.H / 2}, {W: s.W / 2, H: s.H / 2}} {
		if f.Stride[i] < n.W || f.Stride[i] > 1<<20 || len(f.Planes[i]) < f.Stride[i]*(n.H-1)+n.W {
			return fmt.Errorf("encode picture %s: plane %d has %d bytes with lines of %d, too few", f.Format, i, len(f.Planes[i]), f.Stride[i])
		}
	}
	if f.Stride[1] != f.Stride[2] { // the library reads V with U's lines (wels_preprocess.cpp)
		return fmt.Errorf("encode picture %s: lines of U and V have %d and %d bytes, not the same", f.Format, f.Stride[1], f.Stride[2])
	}
	return nil
}

// SetRate changes bit rate and frame rate; see hal.VideoEncoder. The bit rate stays within
// what the level of the stream allows; a frame rate that is not known changes nothing.
func (e *encoder) SetRate(bitrate int, r media.Rate) (granted int, err error) {
	if e.c == nil {
		return 0, fmt.Errorf("set bit rate: openh264 is closed: %w", hal.ErrStopped)
	}
	if bitrate <= 0 {
		return e.config.Bitrate, fmt.Errorf("set bit rate: %d is not positive", bitrate)
	}
	if r.Float() <= 0 {
		r = e.config.Rate
	}
	if r = clip(r); r != e.config.Rate {
		if code := C.oh_fps(e.c, C.float(r.Float())); code != 0 {
			return e.config.Bitrate, e.fail("set frame rate to "+r.String(), code)
		}
		e.config.Rate = r
	}
	err = e.setBitrate(min(max(bitrate, minBitrate), e.level.Bitrate))
	return e.config.Bitrate, err
}

func (e *encoder) setBitrate(bits int) error {
	var got C.int
	code := C.oh_bitrate(e.c, C.int(bits), &got)
	if got > 0 {
		e.config.Bitrate = int(got)
	}
	if code != 0 {
		return e.fail(fmt.Sprintf("set bit rate to %d", bits), code)
	}
	return nil
}

// Close gives the encoder back. A second Close does nothing.
func (e *encoder) Close() error {
	if e.c != nil {
		C.oh_free(e.c)
	}
	e.c = nil
	return nil
}

// fail makes an error of the library's number (CM_RETURN in codec_app_def.h) and words.
func (e *encoder) fail(what string, code C.int) error {
	var b [256]C.char
	C.oh_text(e.c, &b[0], C.int(len(b)))
	text := C.GoString(&b[0])
	if _, after, ok := strings.Cut(text, "Error:"); ok {
		text = after // in front stands the address of the encoder
	}
	if text = strings.TrimSpace(text); text == "" {
		text = "no reason given"
	}
	return fmt.Errorf("%s: openh264 error %d: %s", what, int(code), text)
}

func ptr(f *media.Frame, i int) *C.uint8_t {
	return (*C.uint8_t)(unsafe.Pointer(unsafe.SliceData(f.Planes[i])))
}
