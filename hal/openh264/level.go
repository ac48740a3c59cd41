package openh264

import "anchord/internal/media"

// level is a line of H.264's table A-1.
type level struct {
	idc     int
	mbps    int // macroblocks a second
	blocks  int // macroblocks a picture
	bitrate int // bits a second, baseline profile
}

var levels = [...]level{
	{10, 1485, 99, 64e3}, {11, 3000, 396, 192e3}, {12, 6000, 396, 384e3}, {13, 11880, 396, 768e3},
	{20, 11880, 396, 2e6}, {21, 19800, 792, 4e6}, {22, 20250, 1620, 4e6},
	{30, 40500, 1620, 10e6}, {31, 108000, 3600, 14e6}, {32, 216000, 5120, 20e6},
	{40, 245760, 8192, 20e6}, {41, 245760, 8192, 50e6}, {42, 522240, 8704, 50e6},
	{50, 589824, 22080, 135e6}, {51, 983040, 36864, 240e6}, {52, 2073600, 36864, 240e6},
}

// fit gives the lowest level that allows a picture size, a frame rate and a bit rate;
// the highest if none does.
func fit(s media.Size, fps float64, bitrate int) level {
	w, h := (s.W+15)/16, (s.H+15)/16
	for _, l := range levels {
		// A side is at most √(8 · blocks) macroblocks long (H.264 A.3.1).
		if w*h <= l.blocks && max(w*w, h*h) <= 8*l.blocks && float64(w*h)*fps <= float64(l.mbps) && bitrate <= l.bitrate {
			return l
		}
	}
	return levels[len(levels)-1]
}
