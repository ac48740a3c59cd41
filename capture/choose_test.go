package capture

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"anchord/hal"
	"anchord/internal/media"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func mode(p media.PixelFormat, w, h, fps int) hal.Mode {
	return hal.Mode{Pixel: p, Size: media.Size{W: w, H: h}, Rate: media.FPS(fps)}
}

func TestChoose(t *testing.T) {
	const (
		yuyv, mjpg, nv12, yu12, h264 = media.YUYV, media.MJPG, media.NV12, media.YU12, media.H264
	)
	usb2 := []hal.Mode{mode(yuyv, 640, 480, 30), mode(yuyv, 1280, 720, 10), mode(yuyv, 1920, 1080, 5),
		mode(mjpg, 640, 480, 30), mode(mjpg, 1280, 720, 30), mode(mjpg, 1920, 1080, 30)}
	for _, c := range []struct {
		name  string
		modes []hal.Mode
		w, h  int
		fps   int
		only  media.PixelFormat
		want  hal.Mode // zero: none
	}{
		{"too slow without compression", usb2, 1280, 720, 30, 0, mode(mjpg, 1280, 720, 30)},
		{"fast enough without", usb2, 1280, 720, 10, 0, mode(yuyv, 1280, 720, 10)},
		{"VGA", usb2, 640, 480, 30, 0, mode(yuyv, 640, 480, 30)},
		{"less than it does", usb2, 640, 480, 15, 0, mode(yuyv, 640, 480, 15)},
		{"the only format that is allowed", usb2, 640, 480, 30, mjpg, mode(mjpg, 640, 480, 30)},
		{"a format that it has not", usb2, 640, 480, 30, nv12, hal.Mode{}},
		{"the nearest size", usb2, 1024, 576, 15, 0, mode(mjpg, 1280, 720, 15)},
		{"shape before area", []hal.Mode{mode(nv12, 640, 480, 30), mode(nv12, 1280, 720, 30)}, 640, 360, 30, 0, mode(nv12, 640, 480, 30)},
		{"the same shape", []hal.Mode{mode(nv12, 640, 480, 30), mode(nv12, 960, 540, 30)}, 800, 450, 30, 0, mode(nv12, 960, 540, 30)},
		{"size before rate", []hal.Mode{mode(nv12, 1280, 720, 5), mode(nv12, 640, 360, 60)}, 1280, 720, 30, 0, mode(nv12, 1280, 720, 5)},
		{"the cheapest format", []hal.Mode{mode(mjpg, 640, 480, 30), mode(yuyv, 640, 480, 30), mode(nv12, 640, 480, 30), mode(yu12, 640, 480, 30)}, 640, 480, 30, 0, mode(yu12, 640, 480, 30)},
		{"29.97 is 30", []hal.Mode{{Pixel: yuyv, Size: media.Size{W: 640, H: 480}, Rate: media.Rate{Num: 30000, Den: 1001}}, mode(mjpg, 640, 480, 30)}, 640, 480, 30, 0,
			hal.Mode{Pixel: yuyv, Size: media.Size{W: 640, H: 480}, Rate: media.Rate{Num: 30000, Den: 1001}}},
		{"nothing that can be used", []hal.Mode{mode(h264, 640, 480, 30)}, 640, 480, 30, 0, hal.Mode{}},
		{"a rate that is not known is asked for", []hal.Mode{{Pixel: yuyv, Size: media.Size{W: 640, H: 480}}}, 640, 480, 25, 0, mode(yuyv, 640, 480, 25)},
		{"larger than any encoder takes", []hal.Mode{mode(yu12, 16384, 16384, 30)}, 640, 480, 30, 0, hal.Mode{}},
		{"nothing", nil, 640, 480, 30, 0, hal.Mode{}},
	} {
		got, ok := choose(c.modes, Want{Size: media.Size{W: c.w, H: c.h}, Rate: media.FPS(c.fps), Format: c.only})
		if got != c.want || ok != (c.want != hal.Mode{}) {
			t.Errorf("%s: %v %v %v, %t", c.name, got.Pixel, got.Size, got.Rate, ok)
		}
	}
}

func TestPick(t *testing.T) {
	cam := func(id, name, node, port string) hal.Device {
		return hal.Device{ID: id, Name: name, Node: node, Port: port}
	}
	a := cam("usb-Logitech_C920_1", "HD Pro Webcam C920", "/dev/video0", "usb-0:1.1")
	b := cam("usb-Logitech_C920_2", "HD Pro Webcam C920", "/dev/video2", "usb-0:1.2")
	e := cam("usb-Elgato", "Facecam", "/dev/video4", "usb-0:1.3")
	odd := cam("C920", "Mini", "/dev/video6", "")
	test := cam("test-picture", "Test picture", "fake:picture", "fake")
	for _, c := range []struct {
		match      string
		real, test []hal.Device
		want       hal.Device
		err        error
	}{
		{"any", []hal.Device{a, e}, []hal.Device{test}, a, nil},
		{"any", nil, []hal.Device{test}, hal.Device{}, hal.ErrGone},
		{"test", []hal.Device{a}, []hal.Device{test}, test, nil},
		{"any, test", nil, []hal.Device{test}, test, nil},
		{"any,test", []hal.Device{e}, []hal.Device{test}, e, nil},
		{"test, any", []hal.Device{a}, nil, a, nil},
		{a.ID, []hal.Device{b, a}, nil, a, nil},
		{"usb-0:1.2", []hal.Device{a, b}, nil, b, nil},
		{"/dev/video2", []hal.Device{a, b}, nil, b, nil},
		{"facecam", []hal.Device{a, b, e}, nil, e, nil},
		{"ELGATO", []hal.Device{a, b, e}, nil, e, nil},
		{"c920", []hal.Device{a, e}, nil, a, nil},
		{"c920", []hal.Device{a, b}, nil, hal.Device{}, hal.ErrUnsupported}, // twins
		{"C920", []hal.Device{a, b, odd}, nil, odd, nil},                    // in full, whatever else it is a part of
		{"nothing, facecam", []hal.Device{a, e}, nil, e, nil},
		{"facecam, c920", []hal.Device{a, b}, nil, hal.Device{}, hal.ErrUnsupported},
		{"", []hal.Device{a}, []hal.Device{test}, hal.Device{}, hal.ErrGone},
		{" , ", []hal.Device{odd}, nil, hal.Device{}, hal.ErrGone},
		{"test picture", []hal.Device{a}, []hal.Device{test}, hal.Device{}, hal.ErrGone}, // only the word names it
	} {
		got, isTest, err := pick(c.match, c.real, c.test)
		if got != c.want || isTest != (err == nil && got == test) || !errors.Is(err, c.err) {
			t.Errorf("%q of %d: %v, %v", c.match, len(c.real), got.ID, err)
		}
		if errors.Is(err, ErrNoMatch) != (c.err == hal.ErrGone) || errors.Is(err, ErrAmbiguous) != (c.err == hal.ErrUnsupported) {
			t.Errorf("%q of %d: %v", c.match, len(c.real), err)
		}
	}
}

type list struct {
	d   []hal.Device
	err error
}

func (l *list) List(context.Context) ([]hal.Device, error) { return l.d, l.err }
func (l *list) Open(context.Context, hal.Device) (hal.Camera, error) {
	return nil, hal.ErrGone
}
func (l *list) Watch(ctx context.Context, _ func()) error { <-ctx.Done(); return ctx.Err() }

func TestFind(t *testing.T) {
	down := errors.New("no sound server")
	test := hal.Device{ID: "test"}
	for _, c := range []struct {
		match      string
		real, test hal.Cameras
		isTest     bool
		err        error
	}{
		{"any, test", &list{err: down}, &list{d: []hal.Device{test}}, true, nil},
		{"any", &list{err: down}, &list{d: []hal.Device{test}}, false, down},
		{"any", nil, nil, false, hal.ErrGone},
		{"test", nil, &list{err: down}, false, down},
		{"any, test", &list{d: []hal.Device{{ID: "a"}}}, &list{d: []hal.Device{test}}, false, nil},
	} {
		s := NewCamera(CameraConfig{Cameras: c.real, Test: c.test}, CameraSettings{})
		_, from, err := s.find(t.Context(), c.match)
		if isTest := from != nil && from == s.test; isTest != c.isTest || !errors.Is(err, c.err) {
			t.Errorf("%s: %t, %v", c.match, isTest, err)
		}
	}
}

func TestThinner(t *testing.T) {
	const second = media.Time(time.Second)
	at := func(n, fps int) media.Time { return second*7 + media.Time(n)*second/media.Time(fps) }
	jitter := func(n int) media.Time { return media.Time(n*7919%11-5) * media.Time(time.Millisecond) } // ±5 ms
	for _, c := range []struct {
		name        string
		frames, fps int // the camera's
		want        int
		jitter      bool
		low, high   int // passed
	}{
		{"60 to 30", 600, 60, 30, false, 300, 301},
		{"60 to 30, trembling", 600, 60, 30, true, 298, 302},
		{"30 to 15", 300, 30, 15, false, 150, 151},
		{"30 to 15, trembling", 300, 30, 15, true, 149, 151},
		{"30 to 30", 300, 30, 30, false, 300, 300},
		{"30 to 30, trembling", 300, 30, 30, true, 299, 300},
		{"30 to 20", 300, 30, 20, false, 198, 202},
		{"24 to 15", 240, 24, 15, false, 148, 152},
		{"10 to 30", 100, 10, 30, false, 100, 100},
		{"any rate", 100, 60, 0, true, 100, 100},
	} {
		var th thinner
		n := 0
		for i := range c.frames {
			when := at(i, c.fps)
			if c.jitter {
				when += jitter(i)
			}
			if th.pass(when, media.FPS(c.want)) {
				n++
			}
		}
		if n < c.low || n > c.high {
			t.Errorf("%s: %d of %d pass, not %d to %d", c.name, n, c.frames, c.low, c.high)
		}
	}
	// A clock that makes a step costs no more than a few frames.
	for _, step := range []time.Duration{time.Hour, -time.Hour, time.Second, -time.Second, 100 * time.Millisecond, -100 * time.Millisecond} {
		var th thinner
		n := 0
		for i := range 300 {
			when := at(i, 30)
			if i >= 150 {
				when = when.Add(step)
			}
			if th.pass(when, media.FPS(30)) {
				n++
			}
		}
		if n < 290 {
			t.Errorf("a step of %v: %d of 300 frames pass", step, n)
		}
	}
}
