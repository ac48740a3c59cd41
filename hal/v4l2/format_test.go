package v4l2

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v4l "github.com/vladimirvivien/go4vl/v4l2"
	"golang.org/x/sys/unix"

	"anchord/hal"
	"anchord/internal/media"
)

func TestColour(t *testing.T) {
	jpeg := media.Colour{Primaries: 1, Transfer: 13, Matrix: 5, Full: true}
	for _, tt := range []struct {
		name string
		in   v4l.PixFormat
		want media.Colour
	}{
		{"a webcam", v4l.PixFormat{Colorspace: v4l.ColorspaceSRGB}, media.Colour{Primaries: 1, Transfer: 13, Matrix: 6}},
		{"uvcvideo's usual descriptor", v4l.PixFormat{Colorspace: v4l.ColorspaceSRGB, XferFunc: v4l.XferFunc709, YcbcrEnc: v4l.YCbCrEncoding601},
			media.Colour{Primaries: 1, Transfer: 1, Matrix: 6}},
		{"standard definition", v4l.PixFormat{Colorspace: v4l.ColorspaceSMPTE170M}, media.Colour{Primaries: 6, Transfer: 6, Matrix: 6}},
		{"high definition", v4l.PixFormat{Colorspace: v4l.ColorspaceREC709}, media.Colour{Primaries: 1, Transfer: 1, Matrix: 1}},
		{"high definition, full range", v4l.PixFormat{Colorspace: v4l.ColorspaceREC709, Quantization: v4l.QuantizationFullRange},
			media.Colour{Primaries: 1, Transfer: 1, Matrix: 1, Full: true}},
		{"an ISP that makes JPEG colours", v4l.PixFormat{Colorspace: v4l.ColorspaceJPEG}, jpeg},
		{"the same, limited", v4l.PixFormat{Colorspace: v4l.ColorspaceJPEG, Quantization: v4l.QuantizationLimitedRange},
			media.Colour{Primaries: 1, Transfer: 13, Matrix: 5}},
		{"motion JPEG", v4l.PixFormat{PixelFormat: uint32(media.MJPG), Colorspace: v4l.ColorspaceSRGB}, jpeg},
		{"motion JPEG of unknown colour", v4l.PixFormat{PixelFormat: uint32(media.MJPG)}, jpeg},
		{"ultra high definition", v4l.PixFormat{Colorspace: v4l.ColorspaceBT2020, XferFunc: v4l.XferFuncSMPTE2084},
			media.Colour{Primaries: 9, Transfer: 16, Matrix: 9}},
		{"old American HDTV", v4l.PixFormat{Colorspace: v4l.ColorspaceSMPTE240M}, media.Colour{Primaries: 7, Transfer: 7, Matrix: 7}},
		{"a driver that says nothing", v4l.PixFormat{}, media.Colour{}},
		{"values from the future", v4l.PixFormat{Colorspace: 99, YcbcrEnc: 99, XferFunc: 99, Quantization: 99}, media.Colour{}},
	} {
		if diff := cmp.Diff(tt.want, colour(tt.in)); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}

func TestLayout(t *testing.T) {
	type planes struct{ Stride, Len [3]int }
	for _, tt := range []struct {
		name   string
		pixel  media.PixelFormat
		w, h   uint32
		stride uint32
		bytes  int // of the buffer
		want   planes
		need   int
	}{
		{"YUYV", media.YUYV, 640, 480, 1280, 640 * 480 * 2, planes{[3]int{1280}, [3]int{1280 * 480}}, 640 * 480 * 2},
		{"YUYV with padded lines", media.YUYV, 640, 480, 1344, 1344*479 + 1280, planes{[3]int{1344}, [3]int{1344*479 + 1280}}, 1344*479 + 1280},
		{"YUYV, stride not said", media.YUYV, 4, 2, 0, 16, planes{[3]int{8}, [3]int{16}}, 16},
		{"NV12", media.NV12, 64, 48, 64, 64 * 72, planes{[3]int{64, 64}, [3]int{64 * 48, 64 * 24}}, 64 * 72},
		{"NV12 with odd height", media.NV12, 4, 3, 8, 40, planes{[3]int{8, 8}, [3]int{24, 16}}, 24 + 8 + 4},
		{"YU12", media.YU12, 64, 48, 64, 64 * 72, planes{[3]int{64, 32, 32}, [3]int{64 * 48, 32 * 24, 32 * 24}}, 64 * 72},
		{"YU12 with padded lines and room behind", media.YU12, 60, 48, 64, 1 << 16, planes{[3]int{64, 32, 32}, [3]int{64 * 48, 32 * 24, 32 * 24}}, 64*48 + 32*24 + 32*23 + 30},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, err := layoutOf(v4l.PixFormat{PixelFormat: uint32(tt.pixel), Width: tt.w, Height: tt.h, BytesPerLine: tt.stride})
			if err != nil {
				t.Fatal(err)
			}
			if l.need != tt.need {
				t.Errorf("needs %d bytes, want %d", l.need, tt.need)
			}
			f := media.NewFrame(nil)
			if !l.fill(f, make([]byte, tt.bytes)) {
				t.Fatal("called short")
			}
			got := planes{f.Stride, [3]int{len(f.Planes[0]), len(f.Planes[1]), len(f.Planes[2])}}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if l.fill(f, make([]byte, l.need-1)) {
				t.Error("one byte too few is a picture")
			}
		})
	}
}

func TestLayoutsThatAreRefused(t *testing.T) {
	for name, f := range map[string]v4l.PixFormat{
		"no size":         {PixelFormat: uint32(media.YUYV)},
		"no height":       {PixelFormat: uint32(media.MJPG), Width: 640},
		"huge":            {PixelFormat: uint32(media.NV12), Width: 1 << 31, Height: 1 << 31},
		"huge stride":     {PixelFormat: uint32(media.NV12), Width: 64, Height: 48, BytesPerLine: 1 << 31},
		"lines too short": {PixelFormat: uint32(media.YUYV), Width: 64, Height: 48, BytesPerLine: 64},
		"too much":        {PixelFormat: uint32(media.YUYV), Width: 16384, Height: 16384},
		"other format":    {PixelFormat: uint32(v4l.PixelFmtRGB24), Width: 64, Height: 48},
	} {
		if _, err := layoutOf(f); !errors.Is(err, hal.ErrUnsupported) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRate(t *testing.T) {
	for in, want := range map[v4l.Fract]media.Rate{
		{Numerator: 1, Denominator: 30}:            media.FPS(30),
		{Numerator: 333333, Denominator: 10000000}: {Num: 10000000, Den: 333333},
		{Numerator: 2, Denominator: 60}:            media.FPS(30),
		{Numerator: 5, Denominator: 1}:             {Num: 1, Den: 5},
		{Numerator: 1 << 30, Denominator: 1}:       {},
		{}:                                         {},
		{Numerator: 1}:                             {},
		{Denominator: 30}:                          {},
		{Numerator: 1, Denominator: 1 << 30}:       {},
	} {
		if got := rate(in); got != want {
			t.Errorf("%v: %v, want %v", in, got, want)
		}
	}
}

func TestCaptureTimes(t *testing.T) {
	const ms = media.Time(time.Millisecond)
	const start = 1000_000 * ms
	type step struct {
		stamp, now, want media.Time // from start
		unknown          bool
		stale            bool
	}
	for name, steps := range map[string][]step{
		"sane":                {{stamp: 0, now: 20 * ms, want: 0}, {stamp: 33 * ms, now: 50 * ms, want: 33 * ms}},
		"not on our clock":    {{stamp: 5 * ms, now: 20 * ms, want: 20 * ms, unknown: true}, {stamp: 0, now: 50 * ms, want: 50 * ms, unknown: true}},
		"in the future, once": {{stamp: 0, now: 50 * ms, want: 0}, {stamp: 999 * ms, now: 83 * ms, want: 33 * ms, stale: true}, {stamp: 66 * ms, now: 116 * ms, want: 66 * ms}},
		"goes back": {{stamp: 500 * ms, now: 550 * ms, want: 500 * ms}, {stamp: 100 * ms, now: 583 * ms, want: 533 * ms, stale: true},
			{stamp: 133 * ms, now: 616 * ms, want: 566 * ms, stale: true}, {stamp: 600 * ms, now: 649 * ms, want: 600 * ms}},
		"stands still":  {{stamp: 0, now: 10 * ms, want: 0}, {stamp: 0, now: 43 * ms, want: 33 * ms, stale: true}},
		"far off":       {{stamp: -11000 * ms, now: 0, want: 0, stale: true}},
		"never set":     {{stamp: -start, now: 10 * ms, want: 10 * ms, stale: true}},
		"before zero":   {{stamp: -2 * start, now: 10 * ms, want: 10 * ms, stale: true}},
		"arrivals rise": {{stamp: 20 * ms, now: 30 * ms, want: 20 * ms}, {stamp: 25 * ms, now: 30 * ms, want: 25 * ms}, {stamp: 99 * ms, now: 30 * ms, want: 25*ms + 1, stale: true}},
	} {
		t.Run(name, func(t *testing.T) {
			var k clock
			for i, s := range steps {
				b := buffer{flags: v4l.BufFlagTimestampMonotonic, timestamp: unix.NsecToTimeval(int64(start + s.stamp))}
				if s.unknown {
					b.flags = 0
				}
				got, ok := k.captured(&b, start+s.now)
				if got != start+s.want || ok == s.stale {
					t.Errorf("step %d: %v, ok %v; want %v", i, time.Duration(got-start), ok, time.Duration(s.want))
				}
			}
		})
	}
}

func TestNumbers(t *testing.T) {
	var k clock
	for i, s := range []struct {
		seq, num uint32
		lost     uint64
	}{
		{7, 7, 0}, {8, 8, 0}, {10, 10, 1}, // one is missing
		{10, 11, 0}, {9, 12, 0}, // twice, back
		{1 << 20, 13, 0}, {1<<20 + 3, 16, 2}, // anew
		{0xffffffff, 17, 0}, {1, 19, 1}, // round the end
	} {
		if num, lost := k.number(s.seq); num != s.num || lost != s.lost {
			t.Errorf("step %d, number %d: %d and %d lost, want %d and %d", i, s.seq, num, lost, s.num, s.lost)
		}
	}
}
