// Package media is what all parts of anchord speak: frames, packets and sound with
// counted references, the mailboxes and taps that carry them between parts, Annex B
// H.264, and Demand, the one thing that flows back upstream.
package media

import (
	"fmt"
	"time"
)

// PixelFormat is a V4L2 FourCC code
// (https://docs.kernel.org/userspace-api/media/v4l/pixfmt.html).
type PixelFormat uint32

// The formats that parts exchange. MJPG and H264 frames carry their compressed
// bytes in Planes[0].
const (
	YU12 PixelFormat = 'Y' | 'U'<<8 | '1'<<16 | '2'<<24 // planar 4:2:0, also called I420
	NV12 PixelFormat = 'N' | 'V'<<8 | '1'<<16 | '2'<<24 // 4:2:0, U and V interleaved
	YUYV PixelFormat = 'Y' | 'U'<<8 | 'Y'<<16 | 'V'<<24 // packed 4:2:2
	MJPG PixelFormat = 'M' | 'J'<<8 | 'P'<<16 | 'G'<<24 // a JPEG picture a frame
	H264 PixelFormat = 'H' | '2'<<8 | '6'<<16 | '4'<<24 // Annex B
)

// String gives the four characters.
func (p PixelFormat) String() string {
	b := [4]byte{byte(p), byte(p >> 8), byte(p >> 16), byte(p >> 24)}
	for i, c := range b {
		if c < ' ' || c > '~' {
			b[i] = '?'
		}
	}
	return string(b[:])
}

// Compressed tells whether a frame of this format is a bitstream and not pixels.
func (p PixelFormat) Compressed() bool { return p == MJPG || p == H264 }

// Size is a picture's width and height in pixels.
type Size struct{ W, H int }

// String gives "1280x720".
func (s Size) String() string { return fmt.Sprintf("%dx%d", s.W, s.H) }

// Area is the number of pixels.
func (s Size) Area() int { return s.W * s.H }

// Turned gives the size after a rotation.
func (s Size) Turned(r Rotation) Size {
	if r == Rotate90 || r == Rotate270 {
		return Size{s.H, s.W}
	}
	return s
}

// Rate is frames a second as a fraction: Num frames in Den seconds.
type Rate struct{ Num, Den int }

// FPS makes a whole rate.
func FPS(n int) Rate { return Rate{n, 1} }

// Float gives frames a second; 0 when the rate is not known.
func (r Rate) Float() float64 {
	if r.Den == 0 {
		return 0
	}
	return float64(r.Num) / float64(r.Den)
}

// Interval is the time between two frames; 0 when the rate is not known.
func (r Rate) Interval() time.Duration {
	if r.Num == 0 {
		return 0
	}
	return time.Duration(int64(time.Second) * int64(r.Den) / int64(r.Num))
}

// String gives "30" or "29.97".
func (r Rate) String() string { return fmt.Sprintf("%.4g", r.Float()) }

// Rotation is clockwise, in degrees: 0, 90, 180 or 270. It is TRTC's
// TRTCVideoRotation.
type Rotation int

// The four rotations.
const (
	Rotate0   Rotation = 0
	Rotate90  Rotation = 90
	Rotate180 Rotation = 180
	Rotate270 Rotation = 270
)

// Plus composes two rotations.
func (r Rotation) Plus(q Rotation) Rotation { return (r + q) % 360 }

// Valid tells whether r is one of the four.
func (r Rotation) Valid() bool {
	return r == Rotate0 || r == Rotate90 || r == Rotate180 || r == Rotate270
}

// Turn is what must still be done to a picture before it is upright: first mirror it
// left to right, then rotate it clockwise.
type Turn struct {
	Rotation Rotation
	Mirror   bool
}

// Zero tells whether nothing is owed.
func (t Turn) Zero() bool { return t == Turn{} }

// Colour says how numbers mean colours, in the code points of ITU-T H.273, which are
// also those of the H.264 VUI (H.264 annex E). The zero value means "not known": BT.601
// below 720 lines and BT.709 from there on is the usual reading.
type Colour struct {
	Primaries, Transfer, Matrix uint8
	Full                        bool // 0…255 instead of 16…235 (240)
}

// Code points of H.273 that cameras use.
const (
	BT709  uint8 = 1 // primaries, transfer and matrix
	BT601  uint8 = 6 // SMPTE 170M: primaries, transfer and matrix (525 lines)
	BT470B uint8 = 5 // matrix of JPEG (JFIF) and of 625 lines
	SRGB   uint8 = 13
)

// Known tells whether the matrix is stated.
func (c Colour) Known() bool { return c.Matrix != 0 }

// Guess fills what is not known by the picture's height.
func (c Colour) Guess(s Size) Colour {
	k := BT601
	if s.H >= 720 {
		k = BT709
	}
	if c.Primaries == 0 {
		c.Primaries = k
	}
	if c.Transfer == 0 {
		c.Transfer = k
	}
	if c.Matrix == 0 {
		c.Matrix = k
	}
	return c
}

// Format says what the bytes of a raw picture mean.
type Format struct {
	Pixel  PixelFormat
	Size   Size
	Colour Colour
}

// String gives "NV12 1280x720".
func (f Format) String() string { return f.Pixel.String() + " " + f.Size.String() }

// Bytes is the size of a picture without padding; 0 for compressed formats.
func (f Format) Bytes() int {
	w, h := f.Size.W, f.Size.H
	switch f.Pixel {
	case YU12, NV12:
		return w*h + 2*((w+1)/2)*((h+1)/2)
	case YUYV:
		return (w + 1) / 2 * 4 * h
	}
	return 0
}
