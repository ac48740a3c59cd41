package capture

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"anchord/hal"
	"anchord/internal/media"
	"anchord/internal/pixel"
)

// stub is a camera whose frames come when the test says so.
type stub struct {
	format media.Format
	rate   media.Rate
	frames *media.Pool[*media.Frame]
	next   chan struct{}
	ctx    context.Context
	at     media.Time
	closed int
	gives  media.PixelFormat // granted instead of what was asked, if not 0
	lists  func() []hal.Device
}

func newStub(p media.PixelFormat, w, h int) *stub {
	s := &stub{format: media.Format{Pixel: p, Size: media.Size{W: w, H: h}}, rate: media.FPS(30), next: make(chan struct{}), at: media.Time(time.Hour)}
	s.frames = media.NewFrames(s.format, 4)
	return s
}

func (s *stub) List(context.Context) ([]hal.Device, error) {
	if s.lists != nil {
		return s.lists(), nil
	}
	return []hal.Device{usb}, nil
}
func (s *stub) Watch(ctx context.Context, _ func()) error { <-ctx.Done(); return ctx.Err() }
func (s *stub) Open(context.Context, hal.Device) (hal.Camera, error) {
	return s, nil
}
func (s *stub) Modes() ([]hal.Mode, error) {
	return []hal.Mode{{Pixel: s.format.Pixel, Size: s.format.Size, Rate: s.rate}}, nil
}
func (s *stub) Start(ctx context.Context, m hal.Mode) (hal.Mode, error) {
	s.ctx = ctx
	m.Pixel = cmp.Or(s.gives, m.Pixel)
	return m, nil
}
func (s *stub) Faults() hal.Faults { return hal.Faults{Lost: 3} }
func (s *stub) Close() error {
	s.closed++
	if n := s.frames.Out(); n != 0 {
		return errors.New("frames are out")
	}
	return nil
}
func (s *stub) Next() (*media.Frame, error) {
	select {
	case <-s.next:
	case <-s.ctx.Done():
		return nil, hal.ErrStopped
	}
	f := s.frames.Get()
	if f == nil {
		return nil, hal.ErrStuck
	}
	if s.format.Pixel == media.MJPG {
		f.Planes[0] = []byte("not a JPEG")
	}
	s.at = s.at.Add(s.rate.Interval())
	f.Marks[media.Captured], f.Marks[media.Arrived] = s.at, s.at
	return f, nil
}

// play runs a Camera over the stub with a reader that does as put says.
func play(t testing.TB, s *stub, set CameraSettings, put func(*media.Frame)) (c *Camera, stop func() error, ended chan error) {
	var tap media.Tap[*media.Frame]
	var demand media.Demand
	set.Match, set.Want = "any", Want{Size: s.format.Size, Rate: s.rate}
	c = NewCamera(CameraConfig{Log: quiet, Cameras: s, Out: &tap, Pixel: media.YU12, Demand: &demand}, set)
	tap.Add(put)
	demand.Sink().Set(media.Wish{Subscribed: true})
	ctx, cancel := context.WithCancel(t.Context())
	ended = make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	return c, func() error { cancel(); return <-ended }, ended
}

// TestNothingIsAllocatedPerFrame goes from the camera to the reader, as it is, converted
// and turned.
func TestNothingIsAllocatedPerFrame(t *testing.T) {
	for _, c := range []struct {
		name string
		px   media.PixelFormat
		turn media.Turn
	}{{"as it is", media.YU12, media.Turn{}}, {"converted", media.NV12, media.Turn{}}, {"turned", media.YU12, media.Turn{Rotation: 90, Mirror: true}}} {
		s := newStub(c.px, 320, 240)
		box := media.NewLatest()
		_, stop, _ := play(t, s, CameraSettings{Turn: c.turn}, box.Put)
		one := func() {
			s.next <- struct{}{}
			f := <-box.C()
			f.Release()
		}
		for range 10 {
			one()
		}
		if n := testing.AllocsPerRun(200, one); n != 0 {
			t.Errorf("%s: %v allocations a frame", c.name, n)
		}
		if err := stop(); !errors.Is(err, context.Canceled) || s.closed != 1 {
			t.Errorf("%s: %v, closed %d times", c.name, err, s.closed)
		}
	}
}

// TestReaderThatKeepsFrames makes the pool run dry, and not the machine.
func TestReaderThatKeepsFrames(t *testing.T) {
	s := newStub(media.NV12, 64, 64)
	var kept []*media.Frame
	c, stop, _ := play(t, s, CameraSettings{}, func(f *media.Frame) { kept = append(kept, f) })
	for range poolSize + 5 {
		s.next <- struct{}{}
	}
	if err := stop(); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if st := c.Status(); len(kept) != poolSize || st.Frames != poolSize || st.Late != 5 {
		t.Errorf("%d frames are kept: %+v", len(kept), st)
	}
	for _, f := range kept {
		f.Release()
	}
	if n := s.frames.Out(); n != 0 {
		t.Errorf("%d of the driver's frames are out", n)
	}
}

func TestCorruptFramesAreCounted(t *testing.T) {
	s := newStub(media.MJPG, 64, 64)
	c, stop, _ := play(t, s, CameraSettings{}, func(f *media.Frame) { t.Error("a frame came of it"); f.Release() })
	for range 3 {
		s.next <- struct{}{}
	}
	if err := stop(); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if st := c.Status(); st.Corrupt != 3 || st.Frames != 0 || st.Faults.Lost != 3 {
		t.Errorf("%+v", st)
	}
	// The next camera begins to count anew; what is shown goes on.
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	s.next <- struct{}{}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if st := c.Status(); st.Corrupt != 4 || st.Faults.Lost != 6 {
		t.Errorf("%+v", st)
	}
}

// TestNothingButDamage: a camera whose pictures all are damaged is as stuck as a silent one,
// and one good picture makes up for the damaged ones before it.
func TestNothingButDamage(t *testing.T) {
	s := newStub(media.MJPG, 64, 64)
	c, _, ended := play(t, s, CameraSettings{}, func(f *media.Frame) { f.Release() })
	for range mostDamaged {
		s.next <- struct{}{}
	}
	if err := <-ended; !errors.Is(err, hal.ErrStuck) || !errors.Is(err, pixel.ErrCorrupt) || !strings.Contains(err.Error(), "cable") {
		t.Error(err)
	}
	if st := c.Status(); st.Corrupt != mostDamaged || s.closed != 1 || s.frames.Out() != 0 {
		t.Errorf("%+v, closed %d times", st, s.closed)
	}
}

// A driver that grants what it was not asked for, and what nobody here can use.
func TestAnotherFormatThanAsked(t *testing.T) {
	s := newStub(media.NV12, 64, 64)
	s.gives = media.H264
	_, _, ended := play(t, s, CameraSettings{}, func(f *media.Frame) { t.Error("a frame came"); f.Release() })
	if err := <-ended; !errors.Is(err, hal.ErrUnsupported) || s.closed != 1 {
		t.Errorf("%v, closed %d times", err, s.closed)
	}
}

// While a camera streams a finder may learn less of it: that is no other camera.
func TestTheSameCameraUnderAnotherName(t *testing.T) {
	s := newStub(media.YU12, 64, 64)
	lists := 0
	looked := make(chan struct{}, 8)
	s.lists = func() []hal.Device {
		d := usb
		if lists++; lists > 1 {
			d.Name = "video0"
		}
		looked <- struct{}{}
		return []hal.Device{d}
	}
	c, stop, _ := play(t, s, CameraSettings{}, func(f *media.Frame) { f.Release() })
	<-looked
	for range 3 {
		s.next <- struct{}{}
		c.Changed()
		<-looked
	}
	s.next <- struct{}{}
	if err := stop(); !errors.Is(err, context.Canceled) || s.closed != 1 {
		t.Errorf("%v, closed %d times", err, s.closed)
	}
}

func BenchmarkCameraToReader(b *testing.B) {
	for _, px := range []media.PixelFormat{media.YU12, media.NV12} {
		b.Run(px.String(), func(b *testing.B) {
			s := newStub(px, 1280, 720)
			box := media.NewLatest()
			_, stop, _ := play(b, s, CameraSettings{}, box.Put)
			b.ReportAllocs()
			for b.Loop() {
				s.next <- struct{}{}
				f := <-box.C()
				f.Release()
			}
			b.StopTimer()
			if err := stop(); !errors.Is(err, context.Canceled) {
				b.Error(err)
			}
		})
	}
}
