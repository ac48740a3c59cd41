package capture

import (
	"bytes"
	"context"
	"errors"
	"image/color"
	"image/jpeg"
	"log/slog"
	"testing"
	"time"

	"anchord/hal"
	"anchord/hal/fake"
	"anchord/internal/media"
	"anchord/internal/pixel"
)

var (
	quiet = slog.New(slog.DiscardHandler)
	usb   = hal.Device{ID: "usb-camera", Name: "Camera", Node: "fake:usb", Port: "1"}
	other = hal.Device{ID: "usb-other", Name: "Other", Node: "fake:other", Port: "2"}
)

const longest = 5 * time.Second

// studio is a Camera that runs, and a reader.
type studio struct {
	*Camera
	t      *testing.T
	tap    media.Tap[*media.Frame]
	demand media.Demand
	sink   *media.Sink
	box    *media.Latest
	lost   chan error // what Ready was told
	ready  chan CameraStatus
	ended  chan error
	cancel func()
}

// open runs a Camera; its reader is subscribed.
func open(t *testing.T, real, test hal.Cameras, s CameraSettings) *studio {
	t.Helper()
	st := &studio{t: t, box: media.NewLatest(), lost: make(chan error, 64), ready: make(chan CameraStatus, 64), ended: make(chan error, 1)}
	if s.Want == (Want{}) {
		s.Want = want(320, 240)
	}
	st.Camera = NewCamera(CameraConfig{Log: quiet, Cameras: real, Test: test, Out: &st.tap, Pixel: media.YU12, Demand: &st.demand,
		Ready: func(s CameraStatus, err error) {
			if err != nil {
				st.lost <- err
			} else {
				st.ready <- s
			}
		}}, s)
	st.tap.Add(st.box.Put)
	st.sink = st.demand.Sink()
	st.sink.Set(media.Wish{Subscribed: true})
	ctx, cancel := context.WithCancel(t.Context())
	st.cancel = cancel
	ended := st.ended
	go func() { ended <- st.Run(ctx) }()
	t.Cleanup(func() {
		if cancel(); st.ended != nil {
			st.end()
		}
		st.box.Clear()
	})
	return st
}

func want(w, h int) Want { return Want{Size: media.Size{W: w, H: h}, Rate: media.FPS(60)} }

// end waits for the end of Run.
func (s *studio) end() error {
	s.t.Helper()
	c := s.ended
	s.ended = nil
	late := time.After(longest)
	for {
		select {
		case err := <-c:
			return err
		case f := <-s.box.C(): // frames that are out keep the device open
			f.Release()
		case <-late:
			s.t.Error("Run does not end")
			return nil
		}
	}
}

// until takes frames until one fits, and hands that over.
func (s *studio) until(what string, fits func(*media.Frame) bool) *media.Frame {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), longest)
	defer cancel()
	for {
		f, err := s.box.Get(ctx)
		if err != nil {
			s.t.Fatalf("%s: no such frame came; %+v", what, s.Status())
		}
		if fits(f) {
			return f
		}
		f.Release()
	}
}

func upright(f *media.Frame) bool { _, err := fake.Read(f); return err == nil && f.Turn.Zero() }

// undone tells whether the pixels were turned like this.
func undone(t *testing.T, f *media.Frame, done media.Turn) bool {
	back := done
	if !done.Mirror {
		back.Rotation = (360 - done.Rotation) % 360
	}
	return upright(paid(t, f, back))
}

// paid gives a copy of f to which a turn was done.
func paid(t *testing.T, f *media.Frame, turn media.Turn) *media.Frame {
	var conv pixel.Converter
	defer conv.Close()
	src := media.NewFrame(nil).Lend()
	src.Format, src.Planes, src.Stride, src.Turn = f.Format, f.Planes, f.Stride, turn
	g := media.NewFrames(media.Format{Pixel: media.YU12, Size: f.Size.Turned(turn.Rotation)}, 1).Get()
	if err := conv.Convert(g, src); err != nil {
		t.Fatal(err)
	}
	return g
}

func (s *studio) nothing(what string) {
	s.t.Helper()
	s.box.Clear()
	select {
	case f := <-s.box.C(): // one may have been on its way
		f.Release()
	case <-time.After(50 * time.Millisecond):
	}
	n := s.Status().Frames
	select {
	case f := <-s.box.C():
		f.Release()
		s.t.Errorf("%s: a frame comes", what)
	case <-time.After(150 * time.Millisecond):
	}
	if m := s.Status().Frames; m != n {
		s.t.Errorf("%s: %d frames are handed on", what, m-n)
	}
}

func TestCamera(t *testing.T) {
	for _, px := range []media.PixelFormat{media.YU12, media.NV12} {
		w := want(640, 360)
		w.Format = px
		s := open(t, fake.NewCameras(usb), nil, CameraSettings{Match: "any", Want: w})
		f := s.until("upright", upright)
		if f.Pixel != media.YU12 || f.Size != w.Size || f.Marks[media.Captured] == 0 ||
			f.Marks[media.Captured] > f.Marks[media.Arrived] || f.Marks[media.Arrived] > f.Marks[media.Converted] {
			t.Errorf("%v: %v %v", px, f.Format, f.Marks)
		}
		f.Release()
		if st := <-s.ready; st.Device != usb || st.Mode.Size != w.Size || st.Mode.Pixel != px {
			t.Errorf("%+v", st)
		}
		if st := s.Status(); st.Device != usb || st.Frames == 0 || st.Arrived < st.Frames || st.Late+st.Corrupt != 0 {
			t.Errorf("%+v", st)
		}
		s.cancel()
		if err := s.end(); err != context.Canceled || len(s.lost) != 0 {
			t.Errorf("an ordinary end: %v, %d cameras are said to be lost", err, len(s.lost))
		}
		if st := s.Status(); st.Device.ID != "" {
			t.Errorf("after the end: %+v", st)
		}
	}
}

func TestCameraEndsWithItsError(t *testing.T) {
	cs := fake.NewCameras(usb)
	s := open(t, cs, nil, CameraSettings{Match: "any"})
	s.until("upright", upright).Release()
	cs.Unplug(usb.ID)
	if err := s.end(); !errors.Is(err, hal.ErrGone) {
		t.Error(err)
	}
	if err := <-s.lost; !errors.Is(err, hal.ErrGone) {
		t.Error(err)
	}
	if s := open(t, cs, nil, CameraSettings{Match: "any"}); true {
		if err := s.end(); !errors.Is(err, hal.ErrGone) {
			t.Errorf("nothing is plugged in: %v", err)
		}
	}
	cs.Plug(usb)
	cs.Set(usb.ID, fake.Busy)
	if s := open(t, cs, nil, CameraSettings{Match: "any"}); true {
		if err := s.end(); !errors.Is(err, hal.ErrBusy) {
			t.Errorf("busy: %v", err)
		}
	}
	cs.Set(usb.ID, fake.Healthy)
	if s := open(t, cs, nil, CameraSettings{Match: "any", Want: Want{Size: media.Size{W: 640, H: 480}, Format: media.MJPG}}); true {
		if err := s.end(); !errors.Is(err, hal.ErrUnsupported) {
			t.Errorf("no such format: %v", err)
		}
	}
	// It is free again after each.
	s = open(t, cs, nil, CameraSettings{Match: "any"})
	s.until("upright", upright).Release()
}

// TestCameraFallsBack plays the supervisor, which runs it again after each end, and the
// watcher, which says that something was plugged in.
func TestCameraFallsBack(t *testing.T) {
	real, test := fake.NewCameras(), fake.NewCameras(fake.TestPicture)
	c := CameraSettings{Match: "usb-camera, any, test"}
	s := open(t, real, test, c)
	uses := func(s *studio, d hal.Device) {
		t.Helper()
		for {
			select {
			case st := <-s.ready:
				if st.Device == d {
					s.box.Clear()
					s.until("upright", upright).Release()
					return
				}
			case <-time.After(longest):
				t.Fatalf("%s is not used: %+v", d.ID, s.Status())
			}
		}
	}
	uses(s, fake.TestPicture)
	real.Plug(other)
	s.Changed()
	uses(s, other)
	real.Plug(usb) // named before it
	s.Changed()
	uses(s, usb)
	real.Unplug(usb.ID)
	if err := s.end(); !errors.Is(err, hal.ErrGone) {
		t.Error(err)
	}
	s = open(t, real, test, c)
	uses(s, other)
	real.Unplug(other.ID)
	if err := s.end(); !errors.Is(err, hal.ErrGone) {
		t.Error(err)
	}
	s = open(t, real, test, c)
	uses(s, fake.TestPicture)
	s.Changed() // nothing better: nothing happens
	s.until("upright", upright).Release()
}

func TestCameraSettingsWhileRunning(t *testing.T) {
	cs := fake.NewCameras(usb, other)
	s := open(t, cs, nil, CameraSettings{Match: "any"})
	set := func(edit func(*CameraSettings)) { v := s.Settings(); edit(&v); s.Set(v) }
	s.until("upright", upright).Release()

	set(func(v *CameraSettings) { v.Muted = true })
	s.nothing("muted")
	if st := s.Status(); st.Device != usb {
		t.Errorf("muted: the device is closed: %+v", st)
	}
	set(func(v *CameraSettings) { v.Muted = false })
	s.until("after mute", upright).Release()

	set(func(v *CameraSettings) { v.Off = true })
	if err := <-s.lostNothing(); err != nil {
		t.Error(err)
	}
	s.nothing("off")
	if c, err := cs.Open(t.Context(), usb); err != nil {
		t.Errorf("off: the device is in use: %v", err)
	} else {
		c.Close()
	}
	set(func(v *CameraSettings) { v.Off = false })
	s.until("after off", upright).Release()

	set(func(v *CameraSettings) { v.Want = want(640, 480) })
	s.until("another size", func(f *media.Frame) bool { return upright(f) && f.Size == media.Size{W: 640, H: 480} }).Release()

	set(func(v *CameraSettings) { v.Match = "other" })
	s.until("another camera", func(*media.Frame) bool { return s.Status().Device == other }).Release()

	// One that is not there: the camera in use is not the one that is wanted, and is let go.
	set(func(v *CameraSettings) { v.Match = "third" })
	if err := s.end(); !errors.Is(err, hal.ErrGone) {
		t.Errorf("%v", err)
	}
	if c, err := cs.Open(t.Context(), other); err != nil {
		t.Errorf("the camera that is not wanted is kept: %v", err)
	} else {
		c.Close()
	}
}

// lostNothing gives nil once the camera is closed by its settings, or what Ready was told.
func (s *studio) lostNothing() <-chan error {
	c := make(chan error, 1)
	for end := time.Now().Add(longest); s.Status().Device.ID != ""; {
		s.box.Clear()
		select {
		case err := <-s.lost:
			c <- err
			return c
		default:
		}
		if time.Now().After(end) {
			c <- errors.New("the device stays open")
			return c
		}
	}
	c <- nil
	return c
}

func TestCameraTurns(t *testing.T) {
	s := open(t, fake.NewCameras(usb), nil, CameraSettings{Match: "any"})
	for _, turn := range []media.Turn{{Rotation: 90}, {Rotation: 180}, {Rotation: 270}, {Mirror: true}, {Rotation: 90, Mirror: true}, {Rotation: 270, Mirror: true}, {}} {
		v := s.Settings()
		v.Turn = turn
		s.Set(v)
		f := s.until("turned in pixels", func(f *media.Frame) bool { return undone(t, f, turn) })
		if (f.Size != media.Size{W: 320, H: 240}.Turned(turn.Rotation)) || !f.Turn.Zero() || upright(f) != turn.Zero() {
			t.Errorf("%v: %v owes %v", turn, f.Size, f.Turn)
		}
		f.Release()
		// Receivers that turn by themselves: the mirror is paid, the rotation is not.
		s.sink.Set(media.Wish{Subscribed: true, Turn: true})
		f = s.until("turn owed", func(f *media.Frame) bool {
			return f.Turn == media.Turn{Rotation: turn.Rotation} && f.Size == media.Size{W: 320, H: 240}
		})
		if !undone(t, &media.Frame{Format: f.Format, Planes: f.Planes, Stride: f.Stride}, media.Turn{Mirror: turn.Mirror}) {
			t.Errorf("%v: the mirror is not paid", turn)
		}
		f.Release()
		s.sink.Set(media.Wish{Subscribed: true})
	}
}

func TestCameraRests(t *testing.T) {
	w := want(320, 240)
	w.Format = media.NV12 // has to be converted
	s := open(t, fake.NewCameras(usb), nil, CameraSettings{Match: "any", Want: w})
	s.until("upright", upright).Release()
	s.sink.Set(media.Wish{})
	s.nothing("nobody subscribes")
	if s.Status().Device != usb {
		t.Error("the device is closed")
	}
	s.sink.Set(media.Wish{Subscribed: true})
	s.until("subscribed", upright).Release()
}

func TestSnapshot(t *testing.T) {
	s := open(t, fake.NewCameras(usb), nil, CameraSettings{Match: "any"})
	s.sink.Set(media.Wish{}) // nobody watches
	for _, turn := range []media.Rotation{0, 90, 180, 270} {
		v := s.Settings()
		v.Turn.Rotation = turn
		s.Set(v)
		ctx, cancel := context.WithTimeout(t.Context(), longest)
		b, size, err := Snapshot(ctx, &s.tap, &s.demand, 90)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		p, err := jpeg.Decode(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if got := (media.Size{W: p.Bounds().Dx(), H: p.Bounds().Dy()}); got != size || size != (media.Size{W: 320, H: 240}).Turned(turn) {
			t.Errorf("%d°: %v, said to be %v", turn, got, size)
		}
		// The red corner goes around clockwise; 8 pixels in are in it after any turn.
		x := map[media.Rotation]int{0: 8, 90: size.W - 8, 180: size.W - 8, 270: 8}[turn]
		y := map[media.Rotation]int{0: 8, 90: 8, 180: size.H - 8, 270: size.H - 8}[turn]
		if c := color.RGBAModel.Convert(p.At(x, y)).(color.RGBA); c.R < 200 || c.G > 60 || c.B > 60 {
			t.Errorf("%d°: the corner is %v", turn, c)
		}
		if s.demand.Wish().Subscribed || s.tap.Readers() != 1 {
			t.Error("the snapshot's reader stays")
		}
	}
	v := s.Settings()
	v.Muted = true
	s.Set(v)
	s.nothing("muted")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if b, _, err := Snapshot(ctx, &s.tap, &s.demand, 90); !errors.Is(err, context.DeadlineExceeded) || b != nil {
		t.Errorf("muted: %d bytes, %v", len(b), err)
	}
}
