package pixel

/*
#include "pixel.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"slices"
	"unsafe"

	"anchord/internal/media"
)

// inspect reads a JPEG's markers (ITU-T T.81 annex B) up to its first scan and refuses
// what no camera makes, before the decoder sees it and allocates for it.
func inspect(b []byte, want media.Size) error {
	if len(b) < 4 || b[0] != 0xff || b[1] != 0xd8 {
		return fmt.Errorf("%w: does not begin like one", ErrCorrupt)
	}
	framed := false
	for i := 2; ; {
		for i < len(b) && b[i] != 0xff { // bytes between markers: the decoder warns of them
			i++
		}
		for i < len(b) && b[i] == 0xff {
			i++
		}
		if i >= len(b) {
			return fmt.Errorf("%w: ends within its header", ErrCorrupt)
		}
		m := b[i]
		i++
		switch {
		case m == 0xda:
			if !framed {
				return fmt.Errorf("%w: has no frame header", ErrCorrupt)
			}
			return nil
		case m == 0xd9:
			return fmt.Errorf("%w: has no picture", ErrCorrupt)
		case m <= 1 || m >= 0xd0 && m <= 0xd8: // stand alone
			continue
		}
		if i+2 > len(b) {
			return fmt.Errorf("%w: ends within its header", ErrCorrupt)
		}
		n := int(b[i])<<8 | int(b[i+1])
		if n < 2 || i+n > len(b) {
			return fmt.Errorf("%w: ends within its header", ErrCorrupt)
		}
		if m >= 0xc0 && m <= 0xcf && m != 0xc4 && m != 0xc8 && m != 0xcc {
			if m > 0xc1 {
				return fmt.Errorf("%w: frame type %#02x, only baseline can be read", ErrCorrupt, m)
			}
			if n < 8 || framed {
				return fmt.Errorf("%w: frame header is damaged", ErrCorrupt)
			}
			if b[i+2] != 8 {
				return fmt.Errorf("%w: %d bits a sample", ErrCorrupt, b[i+2])
			}
			got := media.Size{W: int(b[i+5])<<8 | int(b[i+6]), H: int(b[i+3])<<8 | int(b[i+4])}
			if got != want {
				return fmt.Errorf("%w: it is %s, the camera promised %s", ErrCorrupt, got, want)
			}
			framed = true
		}
		i += n
	}
}

// EncodeJPEG appends src, a YU12 or NV12 picture, to dst as a JPEG (JFIF, 4:2:0) of
// quality 1 to 100 and gives the result. The turn that src still owes is not done. It
// takes memory each time: for snapshots, not for streams. It is safe for use by many
// goroutines.
func EncodeJPEG(dst []byte, src *media.Frame, quality int) ([]byte, error) {
	return encode(dst, src, quality, sub420)
}

// Subsamplings by libturbojpeg's numbers (turbojpeg.h, enum TJSAMP).
const (
	sub444 = iota
	sub422
	sub420
	subGrey
	sub440
	sub411
)

func encode(dst []byte, src *media.Frame, quality, sub int) ([]byte, error) {
	if src.Pixel != media.YU12 && src.Pixel != media.NV12 {
		return dst, fmt.Errorf("encode JPEG picture: from %s, can do YU12 and NV12 only", src.Pixel)
	}
	if quality < 1 || quality > 100 {
		return dst, fmt.Errorf("encode JPEG picture: quality %d is not between 1 and 100", quality)
	}
	if err := check("source", src); err != nil {
		return dst, err
	}
	w, h := C.int(src.Size.W), C.int(src.Size.H)
	room := int(C.px_jpeg_room(w, h, C.int(sub)))
	dst = slices.Grow(dst, room)
	out := dst[len(dst) : len(dst)+room]
	var text [200]byte
	n := C.px_jpeg(flag(src.Pixel == media.NV12), flag(src.Colour.Guess(src.Size).Matrix == media.BT709),
		flag(src.Colour.Full), C.int(quality), C.int(sub), ptr(src, 0), ptr(src, 1), ptr(src, 2),
		C.int(src.Stride[0]), C.int(src.Stride[1]), C.int(src.Stride[2]), w, h,
		(*C.uint8_t)(unsafe.Pointer(&out[0])), C.ulong(room), (*C.char)(unsafe.Pointer(&text[0])), C.int(len(text)))
	if n == 0 {
		return dst, errors.New("encode JPEG picture: " + C.GoString((*C.char)(unsafe.Pointer(&text[0]))))
	}
	return dst[:len(dst)+int(n)], nil
}
