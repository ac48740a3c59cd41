// Package pixel turns, converts and scales pictures, and reads and writes JPEG, by
// libyuv (https://chromium.googlesource.com/libyuv/libyuv) and libturbojpeg
// (https://libjpeg-turbo.org).
package pixel

/*
#cgo CFLAGS: -O3
#cgo LDFLAGS: -lyuv -lturbojpeg -lstdc++ -lm
#cgo noescape px_convert
#cgo nocallback px_convert
#cgo noescape px_scale
#cgo nocallback px_scale
#include "pixel.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"unsafe"

	"anchord/internal/media"
)

// ErrCorrupt says that a JPEG picture cannot be used: it is cut off, damaged, of another
// size than promised, or of a kind that cameras do not make. The next may be good.
var ErrCorrupt = errors.New("corrupt JPEG picture")

var (
	errClosed = errors.New("convert picture: converter is closed")
	errMemory = errors.New("convert picture: no memory for a scratch picture")
)

// maxArea bounds the scratch pictures: 8192 × 8192.
const maxArea = 1 << 26

// Converter brings pictures into an encoder's format: upright, 4:2:0, video range. It
// keeps scratch memory from picture to picture. It is used by one goroutine at a time.
// The zero Converter is ready.
type Converter struct {
	c      *C.px
	sloppy int // how much the camera leaves bytes over at the end of its JPEG pictures
	closed bool
}

// Close gives the scratch memory back. A second Close does nothing.
func (c *Converter) Close() {
	if c.c != nil {
		C.px_free(c.c)
	}
	c.c, c.closed = nil, true
}

// Outcome says what Convert makes of the colours of a picture of format f: the same
// primaries, transfer and matrix, which nobody has to convert because the H.264 VUI
// carries them, in video range, because many decoders take no other. A JPEG picture that
// says nothing is JFIF (ITU-T T.871): sRGB by the matrix of BT.601.
func Outcome(f media.Format) media.Colour {
	o := f.Colour
	if f.Pixel == media.MJPG {
		if o.Primaries == 0 {
			o.Primaries = media.BT709 // sRGB has BT.709's
		}
		if o.Transfer == 0 {
			o.Transfer = media.SRGB
		}
		if o.Matrix == 0 {
			o.Matrix = media.BT601
		}
	}
	o.Full = false
	return o
}

// Convert fills dst with src in dst's format, mirrored and turned as src.Turn says,
// squeezed from full into video range if need be (MJPG always is full range). dst is
// YU12 or NV12 with planes of its own, of src's size after the turn. src is YUYV, NV12,
// YU12 or MJPG. dst gets Outcome's colour, src's Seq and Marks, the mark Converted, and
// no turn.
//
// It gives ErrCorrupt for a JPEG picture that is not whole; dst is then not to be used.
// One kind of damage is let pass once it is seen to be a habit of the camera: a few bytes
// left over in front of a marker, which common webcams make in pictures that look well
// (https://github.com/Motion-Project/motion/issues/65,
// https://github.com/libavg/libavg/issues/782).
func (c *Converter) Convert(dst, src *media.Frame) error {
	if c.closed {
		return errClosed
	}
	to, ok := code(dst.Pixel)
	if !ok || to > C.PX_NV12 {
		return fmt.Errorf("convert picture: cannot make %s, only YU12 and NV12", dst.Pixel)
	}
	from, ok := code(src.Pixel)
	if !ok {
		return fmt.Errorf("convert picture: cannot read %s", src.Pixel)
	}
	if !src.Turn.Rotation.Valid() {
		return fmt.Errorf("convert picture: turn by %d degrees, not 0, 90, 180 or 270", src.Turn.Rotation)
	}
	if err := check("source", src); err != nil {
		return err
	}
	if want := src.Size.Turned(src.Turn.Rotation); dst.Size != want {
		return fmt.Errorf("convert picture: room for %s, the upright picture is %s", dst.Size, want)
	}
	if err := check("destination", dst); err != nil {
		return err
	}
	if from == C.PX_MJPG {
		if err := inspect(src.Planes[0], src.Size); err != nil {
			return err
		}
	}
	if c.c == nil {
		if c.c = C.px_new(); c.c == nil {
			return errMemory
		}
	}
	narrow := src.Colour.Full || from == C.PX_MJPG
	code := C.px_convert(c.c, from, ptr(src, 0), ptr(src, 1), ptr(src, 2),
		C.int(src.Stride[0]), C.int(src.Stride[1]), C.int(src.Stride[2]), C.ulong(len(src.Planes[0])),
		C.int(src.Size.W), C.int(src.Size.H),
		C.int(src.Turn.Rotation), flag(src.Turn.Mirror), flag(narrow), flag(c.sloppy >= sloppyHabit),
		to, ptr(dst, 0), ptr(dst, 1), ptr(dst, 2),
		C.int(dst.Stride[0]), C.int(dst.Stride[1]), C.int(dst.Stride[2]))
	if err := c.judge(code, src); err != nil {
		return err
	}
	dst.Colour = Outcome(src.Format)
	dst.Turn, dst.Seq, dst.Marks = media.Turn{}, src.Seq, src.Marks
	dst.Marks[media.Converted] = media.Now()
	return nil
}

// A camera that leaves bytes over in more than a fifth of its pictures does it by habit:
// damage by noise would break most of the others in other ways.
const (
	sloppyStep  = 4
	sloppyHabit = 32
	sloppyMost  = 128
)

func (c *Converter) judge(code C.int, src *media.Frame) error {
	switch code {
	case C.PX_OK:
		if c.sloppy > 0 && c.sloppy < sloppyHabit {
			c.sloppy--
		}
		return nil
	case C.PX_SLOPPY:
		c.sloppy = min(c.sloppy+sloppyStep, sloppyMost)
		return fmt.Errorf("%w: %s", ErrCorrupt, C.GoString(&c.c.text[0]))
	case C.PX_CORRUPT:
		return fmt.Errorf("%w: %s", ErrCorrupt, C.GoString(&c.c.text[0]))
	case C.PX_SIZE:
		return fmt.Errorf("%w: it is %dx%d, the camera promised %s", ErrCorrupt, int(c.c.w), int(c.c.h), src.Size)
	}
	return errMemory
}

// Scale fills dst with src, stretched to dst's size. Both are YU12 or both NV12. dst gets
// src's colour, turn, Seq and Marks. It is safe for use by many goroutines.
func Scale(dst, src *media.Frame) error {
	if src.Pixel != dst.Pixel || (src.Pixel != media.YU12 && src.Pixel != media.NV12) {
		return fmt.Errorf("scale picture: from %s to %s, can do YU12 and NV12 only", src.Pixel, dst.Pixel)
	}
	if err := check("source", src); err != nil {
		return err
	}
	if err := check("destination", dst); err != nil {
		return err
	}
	C.px_scale(flag(src.Pixel == media.NV12), ptr(src, 0), ptr(src, 1), ptr(src, 2),
		C.int(src.Stride[0]), C.int(src.Stride[1]), C.int(src.Stride[2]), C.int(src.Size.W), C.int(src.Size.H),
		ptr(dst, 0), ptr(dst, 1), ptr(dst, 2),
		C.int(dst.Stride[0]), C.int(dst.Stride[1]), C.int(dst.Stride[2]), C.int(dst.Size.W), C.int(dst.Size.H))
	dst.Colour, dst.Turn, dst.Seq, dst.Marks = src.Colour, src.Turn, src.Seq, src.Marks
	return nil
}

// check makes sure that every byte that C will touch lies within the planes.
func check(what string, f *media.Frame) error {
	w, h := f.Size.W, f.Size.H
	if w <= 0 || h <= 0 || w > 1<<14 || h > 1<<14 || w*h > maxArea {
		return fmt.Errorf("picture of %s: size not possible", f.Size)
	}
	cw, ch := (w+1)/2, (h+1)/2
	var line, lines [3]int
	switch f.Pixel {
	case media.YU12:
		line, lines = [3]int{w, cw, cw}, [3]int{h, ch, ch}
	case media.NV12:
		line, lines = [3]int{w, 2 * cw}, [3]int{h, ch}
	case media.YUYV:
		line, lines = [3]int{4 * cw}, [3]int{h}
	case media.MJPG:
		if len(f.Planes[0]) == 0 {
			return fmt.Errorf("%w: empty", ErrCorrupt)
		}
	}
	for i, n := range line {
		if n == 0 {
			continue
		}
		s := f.Stride[i]
		if s < n || s > 1<<20 || len(f.Planes[i]) < s*(lines[i]-1)+n {
			return fmt.Errorf("%s picture %s: plane %d has %d bytes with lines of %d, too few", what, f.Format, i, len(f.Planes[i]), s)
		}
	}
	return nil
}

func code(p media.PixelFormat) (C.int, bool) {
	switch p {
	case media.YU12:
		return C.PX_YU12, true
	case media.NV12:
		return C.PX_NV12, true
	case media.YUYV:
		return C.PX_YUYV, true
	case media.MJPG:
		return C.PX_MJPG, true
	}
	return 0, false
}

func ptr(f *media.Frame, i int) *C.uint8_t {
	return (*C.uint8_t)(unsafe.Pointer(unsafe.SliceData(f.Planes[i])))
}

func flag(b bool) C.int {
	if b {
		return 1
	}
	return 0
}
