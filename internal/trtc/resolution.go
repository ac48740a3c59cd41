package trtc

import (
	"fmt"
	"strings"
)

// Resolution is one line of TRTCVideoResolution. TRTC's numbers are always landscape;
// portrait swaps width and height. Bit rates are what TRTC recommends at 15 frames a
// second, in kbit/s.
type Resolution struct {
	Number   int // of the enumeration
	W, H     int // pixels
	CallKbps int // for calls
	LiveKbps int // for live rooms
}

// Limits and defaults of TRTCVideoEncParam.
const (
	DefaultResolution = 108 // 640x360
	DefaultFPS        = 15
	MaxFPS            = 30
)

var resolutions = []Resolution{
	{1, 120, 120, 80, 120},
	{3, 160, 160, 100, 150},
	{5, 270, 270, 200, 300},
	{7, 480, 480, 350, 500},
	{50, 160, 120, 100, 150},
	{52, 240, 180, 150, 250},
	{54, 280, 210, 200, 300},
	{56, 320, 240, 250, 375},
	{58, 400, 300, 300, 450},
	{60, 480, 360, 400, 600},
	{62, 640, 480, 600, 900},
	{64, 960, 720, 1000, 1500},
	{100, 160, 90, 150, 250},
	{102, 256, 144, 200, 300},
	{104, 320, 180, 250, 400},
	{106, 480, 270, 350, 550},
	{108, 640, 360, 500, 900},
	{110, 960, 540, 850, 1300},
	{112, 1280, 720, 1200, 1800},
	{114, 1920, 1080, 2000, 3000},
	// TRTC publishes no rates for this one: those of 1080p by the number of pixels.
	{116, 2560, 1440, 3500, 5300},
}

// Resolutions gives the whole table, in the order of the numbers.
func Resolutions() []Resolution { return append([]Resolution(nil), resolutions...) }

// String gives "1280x720".
func (r Resolution) String() string { return fmt.Sprintf("%dx%d", r.W, r.H) }

// Name gives TRTC's name, such as TRTCVideoResolution_1280_720.
func (r Resolution) Name() string { return fmt.Sprintf("TRTCVideoResolution_%d_%d", r.W, r.H) }

// ByNumber finds a resolution by its number in the enumeration.
func ByNumber(n int) (Resolution, bool) {
	for _, r := range resolutions {
		if r.Number == n {
			return r, true
		}
	}
	return Resolution{}, false
}

// Nearest gives the resolution of the table with the nearest number of pixels, the one
// of the same shape when there are two: what a picture of this size is recommended to
// have.
func Nearest(w, h int) Resolution {
	best := resolutions[0]
	for _, r := range resolutions[1:] {
		a, b := abs(r.W*r.H-w*h), abs(best.W*best.H-w*h)
		if a < b || a == b && abs(r.W*h-r.H*w) < abs(best.W*h-best.H*w) {
			best = r
		}
	}
	return best
}

func abs(n int) int {
	if n < 0 {
		return -n
	}
	return n
}

// ParseResolution understands "112", "1280x720", "1280*720", "720p" and TRTC's name,
// in any case.
func ParseResolution(s string) (Resolution, error) {
	t := strings.ToLower(strings.TrimSpace(s))
	t = strings.TrimPrefix(t, "trtcvideoresolution_")
	t = strings.NewReplacer("*", "x", "_", "x").Replace(t)
	for _, r := range resolutions {
		wide := r.Number >= 100
		if t == r.String() || t == fmt.Sprint(r.Number) || wide && t == fmt.Sprintf("%dp", r.H) {
			return r, nil
		}
	}
	return Resolution{}, fmt.Errorf("resolution %q is not one of TRTC's: use such as 1280x720, 720p or 112", s)
}
