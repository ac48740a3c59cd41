package v4l2

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"

	v4l "github.com/vladimirvivien/go4vl/v4l2"
	"golang.org/x/sys/unix"

	"anchord/hal"
	"anchord/internal/media"
)

// session is one opening of an encoder's node, set up and streaming, as
// https://docs.kernel.org/userspace-api/media/v4l/dev-encoder.html has it. It lives on
// its thread.
type session struct {
	c      coder
	log    *slog.Logger
	name   string
	quirk  *quirk
	stream uint32 // fourcc of what it makes: H.264

	layout   rawLayout
	memory   uint32     // of the pictures' buffers
	granted  media.Rate // nominal
	bits     int        // granted bit rate
	level    int        // level_idc that was set; 0: the driver's own
	mostBits int        // bits a second that it allows
	visible  bool       // it was told what part of its pictures is to be seen

	raw   []rawSlot
	coded []codedSlot
	on    [2]bool // that side streams

	arg   parcel // argument of QBUF and DQBUF
	ended bool   // the coded side has given its last buffer

	endless bool // a drain had no end
}

// rawSlot is a buffer for a picture.
type rawSlot struct {
	pieces [maxPlanes][]byte // nil with memoryDMABUF
	fd     int32             // with memoryDMABUF: what it was last queued with
	out    bool              // the driver has it
}

// codedSlot is a buffer for the stream.
type codedSlot struct {
	bytes []byte
	out   bool // the driver has it
}

// plan is what a session is opened for.
type plan struct {
	hal.VideoConfig
	size uint32 // bytes of a buffer for the stream
	dma  bool   // pictures are DMA buffers with VideoConfig's strides
}

// setUp does everything up to streaming. After an error close gives back what there is.
func (s *session) setUp(p plan) error {
	if err := s.formats(p); err != nil {
		return err
	}
	s.interval(p.Rate)
	s.crop()
	s.bits = s.control(p)
	if err := s.buffers(p); err != nil {
		return err
	}
	return s.start()
}

// formats sets the coded format first: it rules what pictures can be given.
func (s *session) formats(p plan) error {
	in := p.Input
	want := picFormat{pixel: s.stream, width: uint32(in.Size.W), height: uint32(in.Size.H), planes: 1, size: [maxPlanes]uint32{p.size}}
	got, err := s.c.setFormat(codedSide, want)
	if err != nil {
		return fmt.Errorf("set the format of the stream: %w", err)
	}
	if got.pixel != s.stream {
		return fmt.Errorf("the driver makes %s, not %s: %w", media.PixelFormat(got.pixel), media.PixelFormat(s.stream), hal.ErrUnsupported)
	}
	f, err := s.pictures(p)
	if err != nil {
		return err
	}
	// The pictures' size may have set the stream's buffers back.
	if got, err = s.c.format(codedSide); err == nil && got.size[0] < p.size {
		want.width, want.height, want.size = got.width, got.height, [maxPlanes]uint32{p.size}
		if _, err := s.c.setFormat(codedSide, want); err == nil {
			if f, err = s.c.format(rawSide); err != nil {
				return fmt.Errorf("read the format of the pictures back: %w", err)
			}
		}
	}
	s.layout, err = rawLayoutOf(f, in.Size)
	return err
}

// pictures sets the format of the pictures: the one that they have, or else one that they
// can be converted to while they are copied.
func (s *session) pictures(p plan) (picFormat, error) {
	formats := s.rawFormats(p.Input.Pixel)
	if len(formats) == 0 {
		return picFormat{}, fmt.Errorf("the driver takes no pictures that we have: %w", hal.ErrUnsupported)
	}
	var errs []error
	for _, r := range formats {
		want := picFormat{pixel: r.fourcc, width: uint32(p.Input.Size.W), height: uint32(p.Input.Size.H), planes: r.pieces}
		if p.dma && r.pieces == 1 {
			want.stride[0] = uint32(p.Stride[0])
		}
		coloursOf(p.Input.Colour, &want)
		f, err := s.c.setFormat(rawSide, want)
		if err == nil {
			_, err = rawLayoutOf(f, p.Input.Size)
		}
		if err == nil {
			return f, nil
		}
		errs = append(errs, fmt.Errorf("set the format of the pictures to %s %s: %w", media.PixelFormat(r.fourcc), p.Input.Size, err))
	}
	return picFormat{}, errors.Join(errs...)
}

// rawFormats lists what the driver takes and we can fill, best first.
func (s *session) rawFormats(pixel media.PixelFormat) []rawFormat {
	var out []rawFormat
	for i := range uint32(mostFormats) {
		d, err := s.c.enumerate(rawSide, i)
		if err != nil {
			break
		}
		for _, r := range rawFormats {
			if r.fourcc == d.pixel {
				out = append(out, r)
			}
		}
	}
	slices.SortStableFunc(out, func(a, b rawFormat) int {
		if d := a.rank(pixel) - b.rank(pixel); d != 0 {
			return d
		}
		return a.pieces - b.pieces
	})
	return out
}

// interval sets the nominal frame rate, by which many drivers budget their bits: some begin
// with 15 a second, some with none at all. Refused, it stays the driver's.
func (s *session) interval(r media.Rate) {
	s.granted = r
	r = s.quirk.rate(r)
	num, den, err := s.c.setInterval(uint32(r.Den), uint32(r.Num))
	if err != nil {
		s.log.Debug("encoder leaves the frame rate as it is", "device", s.name, "fps", r, "err", err)
		return
	}
	if got := rate(v4l.Fract{Numerator: num, Denominator: den}); got.Num > 0 {
		s.granted = got
	}
}

// crop names the picture within what is coded, where that is more. Where it cannot be
// named, the stream shows the rest too.
func (s *session) crop() {
	s.visible = true
	l := &s.layout
	want := rect{width: uint32(l.size.W), height: uint32(l.size.H)}
	got, err := s.c.crop(want)
	if l.coded == l.size {
		return // whatever it said
	}
	if err != nil || got != want {
		s.visible = false
		s.log.Warn("encoder shows lines or columns that are no part of the picture", "device", s.name, "size", l.size, "coded", l.coded, "granted", fmt.Sprint(got), "err", err)
	}
}

// control sets what can be set and gives the bit rate that was granted.
func (s *session) control(p plan) int {
	k := controls{c: s.c}
	bits := k.stream(s.quirk, p.Bitrate)
	level := media.FitLevel(p.Input.Size, max(s.granted.Float(), p.Rate.Float(), leastLevelFPS), p.Bitrate*levelRoom)
	s.level, s.mostBits = k.level(level.IDC), level.Bitrate
	k.log(s.log, s.name)
	return bits
}

const (
	// The level allows for a bit rate and a frame rate that rise later: it cannot be
	// changed in mid-stream.
	levelRoom     = 2
	leastLevelFPS = 30
)

// How many buffers are asked for. One picture is coded at a time; a driver's own minimum
// comes on top. DMA buffers cost nothing here, and each camera's buffer finds its place
// mapped when it has one of its own.
const (
	rawBuffers   = 2
	dmaBuffers   = 8
	codedBuffers = 4
	mostBuffers  = 32
)

func (s *session) buffers(p plan) error {
	n := uint32(rawBuffers)
	s.memory = memoryMMAP
	if p.dma {
		n, s.memory = dmaBuffers, memoryDMABUF
	}
	if least, err := s.c.control(cidMinBuffersForOutput); err == nil && least > 0 && least < mostBuffers {
		n = max(n, uint32(least)+1)
	}
	n, err := s.c.request(rawSide, s.memory, n)
	if err != nil || n < 1 || n > mostBuffers {
		return fmt.Errorf("get buffers for pictures: %d, %w", n, cmpErr(err, hal.ErrUnsupported))
	}
	s.raw = make([]rawSlot, n)
	for i := range s.raw {
		s.raw[i].fd = -1
		if s.memory == memoryDMABUF {
			continue
		}
		if s.raw[i].pieces, err = s.mapped(rawSide, i, s.layout.pieces, s.layout.need); err != nil {
			return err
		}
	}
	want := uint32(codedBuffers)
	if least, err := s.c.control(cidMinBuffersForCapture); err == nil && least > 0 && least < mostBuffers {
		want = max(want, uint32(least)+1)
	}
	n, err = s.c.request(codedSide, memoryMMAP, want)
	if err != nil || n < 1 || n > mostBuffers {
		return fmt.Errorf("get buffers for the stream: %d, %w", n, cmpErr(err, hal.ErrUnsupported))
	}
	s.coded = make([]codedSlot, n)
	for i := range s.coded {
		pieces, err := s.mapped(codedSide, i, 1, [maxPlanes]int{1})
		if err != nil {
			return err
		}
		s.coded[i].bytes = pieces[0]
	}
	return nil
}

// cmpErr is the first that is not nil.
func cmpErr(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// mapped maps the pieces of one buffer, of which each must have need bytes.
func (s *session) mapped(side side, i, pieces int, need [maxPlanes]int) (out [maxPlanes][]byte, err error) {
	p := parcel{side: side, memory: memoryMMAP, index: uint32(i), planes: pieces}
	if err := s.c.query(&p); err != nil {
		return out, fmt.Errorf("look at a buffer: %w", err)
	}
	if p.planes != pieces {
		return out, fmt.Errorf("the driver's buffers have %d planes, not %d: %w", p.planes, pieces, hal.ErrUnsupported)
	}
	for k := range pieces {
		if p.length[k] > mostBytes || int(p.length[k]) < need[k] {
			return out, fmt.Errorf("the driver's buffers have %d bytes, %d are needed: %w", p.length[k], need[k], hal.ErrUnsupported)
		}
		if out[k], err = s.c.mmap(int64(p.offset[k]), int(p.length[k])); err != nil {
			return out, fmt.Errorf("map a buffer: %w", err)
		}
	}
	return out, nil
}

// start queues the stream's buffers and starts both sides. A driver that says ESRCH or
// EINVAL may find its level too low for what it is to do
// (https://github.com/raspberrypi/linux/issues/3974), although it took it: it gets higher ones.
func (s *session) start() error {
	for i := range s.coded {
		if err := s.giveCoded(i); err != nil {
			return err
		}
	}
	for {
		err := s.startSide(rawSide)
		if err == nil {
			err = s.startSide(codedSide)
		}
		if err == nil {
			return nil
		}
		if (!errors.Is(err, unix.ESRCH) && !errors.Is(err, unix.EINVAL)) || !s.raiseLevel(err) {
			return fmt.Errorf("start the stream: %w", err)
		}
	}
}

// raiseLevel sets the next higher level, if there is one.
func (s *session) raiseLevel(why error) bool {
	if s.level == 0 {
		return false
	}
	k := controls{c: s.c}
	higher := k.level(s.level + 1)
	if higher <= s.level {
		return false
	}
	s.log.Info("encoder is given a higher level", "device", s.name, "level", s.level, "higher", higher, "err", why)
	s.level = higher
	return true
}
