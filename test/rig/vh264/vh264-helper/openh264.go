// SPDX-License-Identifier: Apache-2.0

package main

/*
#cgo LDFLAGS: -lopenh264 -lstdc++ -lm -lpthread
#include <stdlib.h>
#include "openh264.h"
*/
import "C"

import (
	"fmt"
	"unsafe"

	"anchord/internal/media"
)

// real codes as hardware does: at the bit rate that it is told. Its time is the nominal frame rate,
// whatever the time stamps say, as with most drivers. It is not the daemon's own OpenH264 encoder: that
// one leaves pictures out to keep the rate.
type real struct {
	o        *C.vo // C memory: it keeps pointers
	w, h     int
	bitrate  uint32
	fps      float64
	since    uint32  // pictures since the last key frame
	ms       float64 // the stream's time
	pictures uint32
	i420     []byte
}

func (r *real) encode(j *job, p []byte) (coded, error) {
	if err := r.prepare(j); err != nil {
		return coded{}, err
	}
	r.fill(j, p)
	key := j.Flags&flagKey != 0 || r.since == 0 || j.Gop > 0 && r.since >= j.Gop
	flag := C.int(0)
	if key {
		flag = 1
	}
	if e := C.vo_encode(r.o, (*C.uint8_t)(unsafe.Pointer(&r.i420[0])), flag, C.longlong(r.ms)); e != 0 {
		return coded{}, fmt.Errorf("openh264 error %d", int(e))
	}
	r.ms += 1000 / r.fps
	r.pictures++
	r.since++
	c := coded{data: C.GoBytes(unsafe.Pointer(r.o.out.sLayerInfo[0].pBsBuf), r.o.length), key: key}
	if key {
		r.since = 1
		c.head = setLevel(c.data, byte(j.Level))
	}
	return c, nil
}

// prepare opens the encoder for a new size, and tells it new rates.
func (r *real) prepare(j *job) error {
	w, h := int(j.CropW), int(j.CropH)
	fps := min(max(float64(j.FpsNum)/float64(max(j.FpsDen, 1)), 1), 60)
	var e C.int
	switch {
	case r.o == nil || w != r.w || h != r.h || (j.Bitrate == 0) != (r.bitrate == 0):
		r.close()
		r.o = (*C.vo)(C.calloc(1, C.sizeof_vo))
		r.w, r.h, r.since, r.i420 = w, h, 0, make([]byte, w*h*3/2)
		if e = C.vo_open(r.o, C.int(w), C.int(h), C.int(j.Bitrate), C.float(fps)); e != 0 {
			r.close()
		}
	case j.Bitrate != r.bitrate || fps != r.fps:
		e = C.vo_rate(r.o, C.int(j.Bitrate), C.float(fps))
	}
	r.bitrate, r.fps = j.Bitrate, fps
	if e != 0 {
		return fmt.Errorf("openh264 at %dx%d, %.4g/s, %d bit/s: error %d", w, h, fps, j.Bitrate, int(e))
	}
	return nil
}

// fill copies the visible part of the job's frame.
func (r *real) fill(j *job, p []byte) {
	s, w := int(j.Stride), r.w
	y, c := p[:s*int(j.Height)], p[s*int(j.Height):]
	for i := range r.h {
		copy(r.i420[i*w:][:w], y[i*s:])
	}
	us, vs := r.i420[w*r.h:], r.i420[w*r.h*5/4:]
	w /= 2
	for i := range r.h / 2 {
		u, v := us[i*w:][:w], vs[i*w:][:w]
		if j.Fourcc != fourccNV12 {
			copy(u, c[i*s/2:])
			copy(v, c[len(y)/4+i*s/2:])
			continue
		}
		for x := range u {
			u[x], v[x] = c[i*s+2*x], c[i*s+2*x+1]
		}
	}
}

func (r *real) close() {
	if r.o != nil {
		C.vo_close(r.o)
		C.free(unsafe.Pointer(r.o))
		r.o = nil
	}
}

// setLevel writes level_idc into the parameter sets that a key picture begins with, and gives their
// length.
func setLevel(au []byte, idc byte) (head int) {
	for rest := au; ; {
		nal, next := media.NextNAL(rest)
		switch media.TypeOf(nal) {
		case media.NALSPS:
			if len(nal) > 3 {
				nal[3] = idc
			}
		case media.NALPPS:
		default:
			return head
		}
		rest = next
		head = len(au) - len(next)
	}
}
