package v4l2

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	v4l "github.com/vladimirvivien/go4vl/v4l2"

	"anchord/hal"
	"anchord/internal/media"
)

func TestModes(t *testing.T) {
	d := newDriver()
	d.formats = append(d.formats, 'R'|'G'<<8|'B'<<16|'3'<<24)
	c := &camera{node: d}
	got, err := c.Modes()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]hal.Mode{yuyv, mjpg}, got); diff != "" {
		t.Error(diff)
	}

	d.sizes = []v4l.FrameSizeEnum{{Type: v4l.FrameSizeTypeStepwise,
		Size: v4l.FrameSize{MinWidth: 32, MaxWidth: 1280, StepWidth: 16, MinHeight: 16, MaxHeight: 720, StepHeight: 8}}}
	d.intervals = []frameInterval{{typ: v4l.FrameIntervalTypeContinuous, min: v4l.Fract{Numerator: 1001, Denominator: 60000}}}
	d.formats = []media.PixelFormat{media.NV12}
	if got, err = c.Modes(); err != nil {
		t.Fatal(err)
	}
	hd := hal.Mode{Pixel: media.NV12, Size: media.Size{W: 1280, H: 720}, Rate: media.Rate{Num: 60000, Den: 1001}}
	if !slices.Contains(got, hd) || slices.ContainsFunc(got, func(m hal.Mode) bool { return m.Size.W > 1280 || m.Size.H == 180 }) {
		t.Errorf("modes %v", got)
	}

	d.sizes, d.intervals = nil, nil // a bridge: what it is set to now
	d.fmt = v4l.PixFormat{Width: 1920, Height: 1080}
	if got, err = c.Modes(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]hal.Mode{{Pixel: media.NV12, Size: media.Size{W: 1920, H: 1080}}}, got); diff != "" {
		t.Error(diff)
	}

	d.formats = []media.PixelFormat{1}
	if _, err = c.Modes(); !errors.Is(err, hal.ErrUnsupported) {
		t.Error(err)
	}
	d.gone = true
	if _, err = c.Modes(); !errors.Is(err, hal.ErrGone) {
		t.Error(err)
	}
}
