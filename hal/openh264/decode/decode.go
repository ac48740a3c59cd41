// Package decode decodes H.264 by OpenH264, so that tests can see the pictures that were
// sent.
package decode

/*
#cgo LDFLAGS: -lopenh264 -lstdc++ -lm -lpthread
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <wels/codec_api.h>

typedef struct {
	ISVCDecoder *d;
	unsigned char *plane[3];
	SBufferInfo picture;
} od;

static void od_free(od *o) {
	if (o->d) {
		(*o->d)->Uninitialize(o->d);
		WelsDestroyDecoder(o->d);
	}
	free(o);
}

static od *od_new(void) {
	od *o = calloc(1, sizeof *o);
	if (!o)
		return NULL;
	SDecodingParam p;
	memset(&p, 0, sizeof p);
	p.sVideoProperty.size = sizeof p.sVideoProperty;
	p.sVideoProperty.eVideoBsType = VIDEO_BITSTREAM_AVC;
	p.eEcActiveIdc = ERROR_CON_DISABLE;
	p.uiTargetDqLayer = 255;
	int level = WELS_LOG_QUIET;
	if (WelsCreateDecoder(&o->d) || !o->d
		|| ((*o->d)->SetOption(o->d, DECODER_OPTION_TRACE_LEVEL, &level), (*o->d)->Initialize(o->d, &p))) {
		od_free(o);
		return NULL;
	}
	return o;
}

static int od_decode(od *o, const uint8_t *au, int n) {
	memset(&o->picture, 0, sizeof o->picture);
	return (*o->d)->DecodeFrameNoDelay(o->d, au, n, o->plane, &o->picture);
}

static int od_width(od *o) { return o->picture.UsrData.sSystemBuffer.iWidth; }
static int od_height(od *o) { return o->picture.UsrData.sSystemBuffer.iHeight; }
static int od_stride(od *o, int i) { return o->picture.UsrData.sSystemBuffer.iStride[i > 0]; }
*/
import "C"

import (
	"errors"
	"fmt"
	"unsafe"

	"anchord/internal/media"
)

// Decoder decodes one stream. It is used by one goroutine at a time.
type Decoder struct{ d *C.od }

// New makes a decoder, which must be closed.
func New() (*Decoder, error) {
	d := C.od_new()
	if d == nil {
		return nil, errors.New("open H.264 decoder: the library gives none")
	}
	return &Decoder{d}, nil
}

// Decode decodes one access unit (Annex B) and copies its picture into dst, which becomes
// YU12 and gets memory of the right size if it has it not. ok is false if there was no
// picture in it. An error means that the unit is damaged, or that the picture it builds on
// never came; nothing is concealed.
func (d *Decoder) Decode(au []byte, dst *media.Frame) (ok bool, err error) {
	if d.d == nil {
		return false, errors.New("decode picture: decoder is closed")
	}
	if len(au) == 0 {
		return false, nil
	}
	if code := C.od_decode(d.d, (*C.uint8_t)(unsafe.Pointer(&au[0])), C.int(len(au))); code != 0 {
		return false, fmt.Errorf("decode picture: openh264 state %#x", int(code)) // DECODING_STATE in codec_app_def.h
	}
	if d.d.picture.iBufferStatus != 1 {
		return false, nil
	}
	s := media.Size{W: int(C.od_width(d.d)), H: int(C.od_height(d.d))}
	if dst.Pixel != media.YU12 || dst.Size != s || dst.Planes[0] == nil {
		media.Layout(dst, media.Format{Pixel: media.YU12, Size: s})
	}
	for i := range 3 {
		w, h := s.W, s.H
		if i > 0 {
			w, h = (w+1)/2, (h+1)/2
		}
		stride := int(C.od_stride(d.d, C.int(i)))
		from := unsafe.Slice((*byte)(d.d.plane[i]), stride*(h-1)+w)
		for y := range h {
			copy(dst.Planes[i][y*dst.Stride[i]:][:w], from[y*stride:])
		}
	}
	return true, nil
}

// Close gives the decoder back. A second Close does nothing.
func (d *Decoder) Close() {
	if d.d != nil {
		C.od_free(d.d)
	}
	d.d = nil
}
