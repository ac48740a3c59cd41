// SPDX-License-Identifier: Apache-2.0

package main

// Just enough of H.264 (ITU-T Rec. H.264, 7.3) for lossless pictures.

import "bytes"

const (
	mbSize     = 384        // bytes of a macroblock, 4:2:0
	fourccNV12 = 0x3231564e // otherwise it is YU12
)

// bits writes an RBSP.
type bits struct {
	b   []byte
	cur byte
	n   uint
}

func (w *bits) u(n uint, v uint32) {
	for n > 0 {
		n--
		w.cur = w.cur<<1 | byte(v>>n&1)
		if w.n++; w.n == 8 {
			w.b, w.cur, w.n = append(w.b, w.cur), 0, 0
		}
	}
}
func (w *bits) ue(v uint32) {
	v++
	n := uint(0)
	for x := v; x > 1; x >>= 1 {
		n++
	}
	w.u(n, 0)
	w.u(n+1, v)
}
func (w *bits) align() {
	for w.n != 0 {
		w.u(1, 0)
	}
}
func (w *bits) trail() []byte { w.u(1, 1); w.align(); return w.b }

// nal adds a NAL unit with emulation prevention.
func nal(out []byte, head byte, rbsp []byte) []byte {
	out = append(out, 0, 0, 0, 1, head)
	z := 0
	for _, c := range rbsp {
		if z >= 2 && c <= 3 {
			out, z = append(out, 3), 0
		}
		if c == 0 {
			z++
		} else {
			z = 0
		}
		out = append(out, c)
	}
	return out
}

// lossless is what that engine remembers between pictures.
type lossless struct {
	num uint32 // frame_num
	idr uint32 // idr_pic_id
	n   uint32 // pictures since the last key frame
	ref []byte // the macroblocks of the last picture
}

// sps gives a sequence parameter set of constrained baseline profile.
func sps(j *job) []byte {
	w := &bits{b: []byte{66, 0xc0, byte(j.Level)}}
	w.ue(0)
	w.ue(0)
	w.ue(2)
	w.ue(1)
	w.u(1, 0)
	w.ue((j.Width+15)/16 - 1)
	w.ue((j.Height+15)/16 - 1)
	w.u(2, 3)
	cw, ch := (j.Width+15)&^15-j.CropW, (j.Height+15)&^15-j.CropH
	if cw|ch != 0 {
		w.u(1, 1)
		w.ue(0)
		w.ue(cw / 2)
		w.ue(0)
		w.ue(ch / 2)
	} else {
		w.u(1, 0)
	}
	if j.FpsNum > 0 { // VUI: timing only
		w.u(1, 1)
		w.u(4, 0) // aspect, overscan, signal type, chroma location
		w.u(1, 1)
		w.u(32, j.FpsDen)
		w.u(32, j.FpsNum*2)
		w.u(1, 1)
		w.u(4, 0) // NAL HRD, VCL HRD, pic_struct, bitstream restriction
	} else {
		w.u(1, 0)
	}
	return w.trail()
}

// pps gives a picture parameter set: CAVLC, no deblocking control, one slice group.
func pps() []byte {
	w := &bits{}
	w.ue(0)
	w.ue(0)
	w.u(2, 0)
	w.ue(0)
	w.ue(0)
	w.ue(0)
	w.u(3, 0)
	w.ue(0)
	w.ue(0)
	w.ue(0)
	w.u(3, 4)
	return w.trail()
}

// blocks cuts a frame into macroblocks: Y, Cb, Cr.
func blocks(j *job, p []byte) []byte {
	s, mw, mh := int(j.Stride), int(j.Width+15)/16, int(j.Height+15)/16
	hh := int(j.Height)
	o := make([]byte, 0, mw*mh*mbSize)
	nv12 := j.Fourcc == fourccNV12
	c := s * hh
	row := func(base, stride, y, limit, x, n int) []byte {
		i := base + min(y, limit-1)*stride + x
		return p[i : i+n]
	}
	for my := 0; my < mh; my++ {
		for mx := 0; mx < mw; mx++ {
			for y := 0; y < 16; y++ {
				o = append(o, row(0, s, my*16+y, hh, mx*16, 16)...)
			}
			for k := 0; k < 2; k++ {
				for y := 0; y < 8; y++ {
					if nv12 {
						r := row(c, s, my*8+y, hh/2, mx*16, 16)
						for x := 0; x < 8; x++ {
							o = append(o, r[2*x+k])
						}
					} else {
						o = append(o, row(c+k*c/4, s/2, my*8+y, hh/2, mx*8, 8)...)
					}
				}
			}
		}
	}
	return o
}

// encode gives one access unit: blocks that changed as I_PCM, the others as P_Skip.
func (t *lossless) encode(j *job, p []byte) (coded, error) {
	mb := blocks(j, p)
	key := j.Flags&flagKey != 0 || t.ref == nil || len(t.ref) != len(mb) || (j.Gop > 0 && t.n >= j.Gop)
	w := &bits{}
	w.ue(0)
	out := nal(nil, 9, []byte{0xf0}) // access unit delimiter
	head := 0
	if key {
		t.n, t.num = 0, 0
		t.idr = (t.idr + 1) & 1
		out = nal(nal(out, 0x67, sps(j)), 0x68, pps())
		head = len(out)
		w.ue(7)
		w.ue(0)
		w.u(4, 0)
		w.ue(t.idr)
		w.u(2, 0)
	} else {
		w.ue(5)
		w.ue(0)
		w.u(4, t.num&15)
		w.u(3, 0)
	}
	w.ue(0)
	w.ue(1)
	skip := uint32(0)
	for i := 0; i < len(mb); i += mbSize {
		if !key {
			if bytes.Equal(mb[i:i+mbSize], t.ref[i:i+mbSize]) {
				skip++
				continue
			}
			w.ue(skip)
			skip = 0
			w.ue(30)
		} else {
			w.ue(25)
		}
		w.align()
		w.b = append(w.b, mb[i:i+mbSize]...)
	}
	if skip > 0 {
		w.ue(skip)
	}
	slice := byte(0x41)
	if key {
		slice = 0x65
	}
	out = nal(out, slice, w.trail())
	t.ref = mb
	t.n++
	t.num++
	return coded{out, head, key}, nil
}

func (t *lossless) close() {}
