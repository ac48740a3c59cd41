package media

import "errors"

// SPS is what a sequence parameter set says (H.264 7.3.2.1.1 and annex E).
type SPS struct {
	Profile, Constraints, Level uint8 // the three bytes of SDP's profile-level-id (RFC 6184 8.1)
	Size                        Size  // visible, after cropping
	Colour                      Colour
	Bumping                     int // max_num_reorder_frames; -1 when not stated
}

var errSPS = errors.New("sequence parameter set: not valid")

// ParseSPS reads a sequence parameter set NAL unit (without a start code).
func ParseSPS(nal []byte) (SPS, error) {
	if len(nal) < 4 || TypeOf(nal) != NALSPS {
		return SPS{}, errSPS
	}
	r := bits{b: unescape(nal[1:])}
	s := SPS{Bumping: -1}
	s.Profile, s.Constraints, s.Level = uint8(r.u(8)), uint8(r.u(8)), uint8(r.u(8))
	r.ue() // seq_parameter_set_id
	chroma, separate := uint(1), uint(0)
	switch s.Profile {
	case 100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135:
		if chroma = r.ue(); chroma == 3 {
			separate = r.u(1)
		}
		r.ue() // bit_depth_luma_minus8
		r.ue()
		r.u(1)
		if r.u(1) == 1 { // seq_scaling_matrix_present_flag
			n := 8
			if chroma == 3 {
				n = 12
			}
			for i := range n {
				if r.u(1) == 1 {
					r.scaling(16 + 48*(i/6))
				}
			}
		}
	}
	r.ue() // log2_max_frame_num_minus4
	switch r.ue() {
	case 0:
		r.ue()
	case 1:
		r.u(1)
		r.ue()
		r.ue()
		n := r.ue()
		if n > 255 {
			return SPS{}, errSPS
		}
		for range n {
			r.ue()
		}
	}
	r.ue() // max_num_ref_frames
	r.u(1)
	w, h := int(r.ue())+1, int(r.ue())+1
	frame := r.u(1)
	if frame == 0 {
		h *= 2
		r.u(1)
	}
	r.u(1) // direct_8x8_inference_flag
	s.Size = Size{16 * w, 16 * h}
	if r.u(1) == 1 { // frame_cropping_flag
		cx, cy := 1, 2-int(frame)
		if separate == 0 {
			if chroma == 1 || chroma == 2 {
				cx = 2
			}
			if chroma == 1 {
				cy *= 2
			}
		}
		s.Size.W -= cx * int(r.ue()+r.ue())
		s.Size.H -= cy * int(r.ue()+r.ue())
	}
	if r.u(1) == 1 {
		s.vui(&r)
	}
	if r.bad || s.Size.W <= 0 || s.Size.H <= 0 || s.Size.W > 16384 || s.Size.H > 16384 {
		return SPS{}, errSPS
	}
	return s, nil
}

func (s *SPS) vui(r *bits) {
	if r.u(1) == 1 && r.u(8) == 255 { // aspect_ratio_idc, Extended_SAR
		r.u(16)
		r.u(16)
	}
	if r.u(1) == 1 {
		r.u(1) // overscan
	}
	if r.u(1) == 1 { // video_signal_type_present_flag
		r.u(3)
		s.Colour.Full = r.u(1) == 1
		if r.u(1) == 1 {
			s.Colour.Primaries, s.Colour.Transfer, s.Colour.Matrix = uint8(r.u(8)), uint8(r.u(8)), uint8(r.u(8))
		}
	}
	if r.u(1) == 1 { // chroma_loc_info_present_flag
		r.ue()
		r.ue()
	}
	if r.u(1) == 1 { // timing_info_present_flag
		r.u(32)
		r.u(32)
		r.u(1)
	}
	nal := r.u(1)
	if nal == 1 {
		r.hrd()
	}
	vcl := r.u(1)
	if vcl == 1 {
		r.hrd()
	}
	if nal == 1 || vcl == 1 {
		r.u(1)
	}
	r.u(1)           // pic_struct_present_flag
	if r.u(1) == 1 { // bitstream_restriction_flag
		r.u(1)
		r.ue()
		r.ue()
		r.ue()
		r.ue()
		if n := r.ue(); n <= 16 {
			s.Bumping = int(n)
		}
	}
}

// bits reads a bit string; past its end everything is 0 and bad is set.
type bits struct {
	b   []byte
	i   int
	bad bool
}

func (r *bits) u(n int) (v uint) {
	for range n {
		if r.i >= 8*len(r.b) {
			r.bad = true
			return 0
		}
		v = v<<1 | uint(r.b[r.i/8]>>(7-r.i%8)&1)
		r.i++
	}
	return v
}

// ue reads an Exp-Golomb number (H.264 9.1).
func (r *bits) ue() uint {
	z := 0
	for r.u(1) == 0 {
		if z++; z > 31 || r.bad {
			r.bad = true
			return 0
		}
	}
	return 1<<z - 1 + r.u(z)
}

func (r *bits) scaling(n int) {
	last, next := 8, 8
	for range n {
		if next != 0 {
			k := r.ue()
			d := int(k+1) / 2
			if k%2 == 0 {
				d = -d
			}
			next = (last + d + 256) % 256
		}
		if next != 0 {
			last = next
		}
		if r.bad {
			return
		}
	}
}

func (r *bits) hrd() {
	n := r.ue()
	if n > 31 {
		r.bad = true
		return
	}
	r.u(8)
	for range n + 1 {
		r.ue()
		r.ue()
		r.u(1)
	}
	r.u(20)
}

// unescape takes the emulation prevention bytes out (H.264 7.4.1).
func unescape(b []byte) []byte {
	out := make([]byte, 0, len(b))
	z := 0
	for _, c := range b {
		if z >= 2 && c == 3 {
			z = 0
			continue
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
