package v4l2

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"anchord/hal"
	"anchord/internal/media"
)

// EncodersConfig says where encoders are. The zero value is right for a real machine.
type EncodersConfig struct {
	Log      *slog.Logger  // nil is silent
	Dev      string        // where device nodes are; "" is /dev
	Sys      string        // where sysfs is mounted; "" is /sys
	Device   string        // the ID of the only one that may be used; "" allows each
	Deadline time.Duration // an encoder that gives nothing for so long is stuck; 0 is 500 ms
	Copy     bool          // never let an encoder read a camera's memory
}

// Encoders is hal.VideoEncoders on the H.264 encoders that have V4L2's memory-to-memory
// interface (https://docs.kernel.org/userspace-api/media/v4l/dev-encoder.html).
type Encoders struct {
	tree
	log      *slog.Logger
	device   string
	deadline time.Duration
	limits   limits
	copies   bool
	stream   uint32
	read     func(s *media.ParameterSets, dst, piece []byte) ([]byte, kind)
	stat     func(path string) (uint64, error)
	node     func(path string) (coder, error)

	mu      sync.Mutex
	known   map[string]found   // what was found out about a node, by its place and driver's name
	stuck   map[uint64]*thread // device numbers that a lost thread hangs in
	written int
}

var _ hal.VideoEncoders = (*Encoders)(nil)

// NewEncoders makes the finder of encoders. It opens nothing.
func NewEncoders(c EncodersConfig) *Encoders {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Encoders{
		tree: treeAt(c.Dev, c.Sys), log: c.Log, device: c.Device, copies: c.Copy,
		deadline: cmp.Or(c.Deadline, 500*time.Millisecond), limits: usualLimits(),
		stream: uint32(media.H264), read: h264,
		stat: linux{}.stat, node: openCoder,
		known: make(map[string]found), stuck: make(map[uint64]*thread),
	}
}

// Name is "v4l2".
func (s *Encoders) Name() string { return "v4l2" }

// Inputs are the formats that any of these encoders takes, since what is copied into its
// memory is converted on the way.
func (s *Encoders) Inputs() []media.PixelFormat { return []media.PixelFormat{media.NV12, media.YU12} }

// WrittenOff counts the threads that hung in a driver and were left behind: all that were,
// and those that have not come back.
func (s *Encoders) WrittenOff() (all, now int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for rdev, t := range s.stuck {
		if t.ended() {
			delete(s.stuck, rdev)
		}
	}
	return s.written, len(s.stuck)
}

// Open opens the first encoder that takes c. Granted are the colour (guessed where it is not
// known) and the bit rate. Errors: hal.ErrUnsupported (there is none, or none that can do it),
// ErrBusy, ErrDenied, ErrStuck.
func (s *Encoders) Open(ctx context.Context, c hal.VideoConfig) (hal.VideoEncoder, hal.VideoConfig, error) {
	if err := check(c); err != nil {
		return nil, c, fmt.Errorf("open encoder: %w: %w", err, hal.ErrUnsupported)
	}
	ds, doubts, err := s.find(ctx)
	if err != nil {
		return nil, c, fmt.Errorf("open encoder: %w", err)
	}
	if s.device != "" {
		ds = slices.DeleteFunc(ds, func(d found) bool { return d.ID != s.device })
	}
	if len(ds) == 0 {
		return nil, c, fmt.Errorf("open encoder: this machine has no V4L2 encoder: %w", cmpErr(doubts, hal.ErrUnsupported))
	}
	c.Input.Colour = c.Input.Colour.Guess(c.Input.Size)
	var errs []error
	for _, d := range ds {
		e := s.newEncoder(d, c)
		if err := e.start(ctx); err != nil {
			errs = append(errs, fmt.Errorf("open encoder %s: %w", d.ID, explainCoder(err)))
			continue
		}
		g := c
		g.Bitrate = e.g.target // the thread is at rest
		s.log.Debug("encoder is open", "device", d.ID, "node", d.Node, "size", c.Input.Size, "fps", c.Rate, "bitrate", g.Bitrate, "level", e.g.s.level)
		return e, g, nil
	}
	return nil, c, errors.Join(errs...)
}

func check(c hal.VideoConfig) error {
	s := c.Input.Size
	switch {
	case c.Input.Pixel != media.NV12 && c.Input.Pixel != media.YU12:
		return fmt.Errorf("pixel format %s, can take %s and %s only", c.Input.Pixel, media.NV12, media.YU12)
	case s.W%2 != 0 || s.H%2 != 0:
		return fmt.Errorf("size %s: width and height must be even", s)
	case s.W < 16 || s.H < 16 || !media.TopLevel().Holds(s):
		return fmt.Errorf("size %s: must be at least 16x16 and within H.264 level 5.2", s)
	case c.Bitrate <= 0:
		return fmt.Errorf("bit rate %d is not positive", c.Bitrate)
	case c.Rate.Float() <= 0:
		return fmt.Errorf("frame rate %d/%d is not positive", c.Rate.Num, c.Rate.Den)
	}
	return nil
}

// found is an encoder that was found.
type found struct {
	hal.Device
	rdev  uint64
	quirk quirk
	no    error // why it is none
}

// List gives the encoders of this machine, in a stable order. ID names the driver, the device
// and where it is; it stays the same across reboots.
func (s *Encoders) List(ctx context.Context) ([]hal.Device, error) {
	fs, _, err := s.find(ctx)
	if err != nil {
		return nil, fmt.Errorf("list encoders: %w", err)
	}
	ds := make([]hal.Device, len(fs))
	for i, f := range fs {
		ds[i] = f.Device
	}
	return ds, nil
}

// find looks at each node that it does not know yet. doubts says which could not be looked
// at, and may be encoders.
func (s *Encoders) find(ctx context.Context) (out []found, doubts, err error) {
	places, err := s.places()
	if err != nil {
		return nil, nil, err
	}
	for _, p := range places {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		f := s.look(ctx, p)
		switch {
		case f.no == nil:
			out = append(out, f)
		case !errors.Is(f.no, hal.ErrUnsupported):
			doubts = errors.Join(doubts, fmt.Errorf("%s: %w", f.Node, explainCoder(f.no)))
		}
	}
	slices.SortStableFunc(out, func(a, b found) int {
		return cmp.Or(strings.Compare(a.Port, b.Port), strings.Compare(a.ID, b.ID), strings.Compare(a.Node, b.Node))
	})
	seen := make(map[string]int, len(out))
	for i := range out { // several of one kind at one place
		id := out[i].ID
		if seen[id]++; seen[id] > 1 {
			out[i].ID = fmt.Sprint(id, atCount, seen[id])
		}
	}
	return out, doubts, nil
}

// look finds out whether a node is an encoder. What was found out once is believed for as
// long as the node stays what it is: opening it again might hang.
func (s *Encoders) look(ctx context.Context, p place) found {
	key := fmt.Sprint(p.name, " ", p.rdev, " ", p.parent, " ", p.label)
	s.mu.Lock()
	f, ok := s.known[key]
	s.mu.Unlock()
	if ok {
		return f
	}
	f = found{Device: hal.Device{Node: filepath.Join(s.dev, p.name), Port: strings.TrimSuffix(p.port, fmt.Sprint("-video-index", p.index))}, rdev: p.rdev}
	if f.no = s.hangs(p.rdev); f.no != nil {
		return f
	}
	t := newThread()
	var k capability
	var err error
	if lost := t.do(ctx, s.limits.probe, func(f found) func() { return func() { k, err = s.ask(f) } }(f)); lost != nil {
		f.no = lost
		s.lose(f, t, lost)
		return f
	}
	t.end()
	if f.no = err; err != nil && !errors.Is(err, hal.ErrUnsupported) {
		return f // it may be different next time
	}
	driver, card := text(k.driver[:]), text(k.card[:])
	f.Name, f.quirk = cmp.Or(card, p.label), quirkOf(driver)
	f.ID = clean(driver) + "-" + clean(f.Name) + atPort + f.Port
	s.mu.Lock()
	s.known[key] = f
	s.mu.Unlock()
	return f
}

// ask asks a node what it can do: an encoder gives the stream, and takes pictures that we
// have.
func (s *Encoders) ask(f found) (k capability, err error) {
	c, err := s.openCoder(f)
	if err != nil {
		return k, err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	if k, err = c.capability(); err != nil {
		return k, err
	}
	if a := k.abilities(); a&capStreaming == 0 || !singlePlanar(a) && !multiPlanar(a) {
		return k, fmt.Errorf("it is no memory-to-memory device: %w", hal.ErrUnsupported)
	}
	if !offers(c, codedSide, func(d formatDesc) bool { return d.pixel == s.stream }) {
		return k, fmt.Errorf("it does not make %s: %w", media.PixelFormat(s.stream), hal.ErrUnsupported)
	}
	if !offers(c, rawSide, func(d formatDesc) bool {
		return slices.ContainsFunc(rawFormats[:], func(r rawFormat) bool { return r.fourcc == d.pixel })
	}) {
		return k, fmt.Errorf("it takes no pictures that we have: %w", hal.ErrUnsupported)
	}
	return k, nil
}

// offers tells whether one of a side's formats is as wanted.
func offers(c coder, s side, wanted func(formatDesc) bool) bool {
	for i := range uint32(mostFormats) {
		d, err := c.enumerate(s, i)
		if err != nil {
			return false
		}
		if wanted(d) {
			return true
		}
	}
	return false
}

// openCoder opens a node if it is still the device that f names.
func (s *Encoders) openCoder(f found) (coder, error) {
	if err := s.hangs(f.rdev); err != nil {
		return nil, err
	}
	gone := fmt.Errorf("%w: %s belongs to another device now", hal.ErrGone, f.Node)
	if rdev, err := s.stat(f.Node); err != nil || rdev != f.rdev {
		return nil, cmpErr(err, gone)
	}
	c, err := s.node(f.Node)
	if err != nil {
		return nil, err
	}
	if rdev, err := c.rdev(); err != nil || rdev != f.rdev {
		return nil, errors.Join(cmpErr(err, gone), c.close())
	}
	if _, err := c.capability(); err != nil { // it learns its interface
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

// lose remembers a thread that hangs in a device.
func (s *Encoders) lose(f found, t *thread, why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stuck[f.rdev] = t
	if !errors.Is(why, hal.ErrStuck) {
		return // nobody waited to the end
	}
	s.written++
	s.log.Error("a request to an encoder's driver does not come back, the encoder is written off", "device", f.ID, "node", f.Node)
}

// hangs tells whether a lost thread still hangs in a device. Then it must not be touched:
// drivers share locks between all who have opened them.
func (s *Encoders) hangs(rdev uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.stuck[rdev]
	if t == nil {
		return nil
	}
	if t.ended() {
		delete(s.stuck, rdev)
		return nil
	}
	return fmt.Errorf("%w: its driver hangs", hal.ErrStuck)
}
