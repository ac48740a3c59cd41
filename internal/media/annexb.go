package media

import "bytes"

// NALType is the nal_unit_type of H.264 (ITU-T H.264 table 7-1).
type NALType uint8

// The types that a sender has to know.
const (
	NALSlice NALType = 1
	NALIDR   NALType = 5
	NALSEI   NALType = 6
	NALSPS   NALType = 7
	NALPPS   NALType = 8
	NALAUD   NALType = 9
)

// TypeOf gives a NAL unit's type; 0 for an empty one.
func TypeOf(nal []byte) NALType {
	if len(nal) == 0 {
		return 0
	}
	return NALType(nal[0] & 0x1f)
}

// NextNAL gives the first NAL unit of an Annex B stream (H.264 annex B), without its
// start code and trailing zeros, and what follows it. nal is empty when there is no
// more. Bytes in front of the first start code are passed over. Nothing is copied.
func NextNAL(b []byte) (nal, rest []byte) {
	i := startCode(b)
	for i >= 0 {
		b = b[i+3:]
		i = startCode(b)
		end := len(b)
		if i >= 0 {
			end = i
		}
		nal = bytes.TrimRight(b[:end], "\x00")
		if len(nal) > 0 {
			return nal, b[end:]
		}
	}
	return nil, nil
}

// startCode gives the place of the next 00 00 01, or -1.
func startCode(b []byte) int {
	for i := 0; ; {
		k := bytes.IndexByte(b[i:], 1)
		if k < 0 {
			return -1
		}
		if i += k; i >= 2 && b[i-1] == 0 && b[i-2] == 0 {
			return i - 2
		}
		i++
	}
}

// IsKey tells whether an access unit has an IDR slice in it: decoding can start there
// when parameter sets are known. Drivers' key frame flags are not to be trusted.
func IsKey(au []byte) bool {
	for nal, rest := NextNAL(au); len(nal) > 0; nal, rest = NextNAL(rest) {
		switch TypeOf(nal) {
		case NALIDR:
			return true
		case NALSlice:
			return false // slices of one picture are all of one kind
		}
	}
	return false
}

// ParameterSets remembers the newest SPS and PPS of a stream and puts them in front of
// the key pictures that lack them: many encoders send them only once, or in a buffer
// of their own (https://github.com/raspberrypi/firmware/issues/1612), and a late
// joiner would see nothing.
type ParameterSets struct{ sps, pps []byte } // each with its start code

// Complete tells whether both are known.
func (s *ParameterSets) Complete() bool { return len(s.sps) > 0 && len(s.pps) > 0 }

// SPS gives the newest sequence parameter set without a start code, or nil. It is
// valid until the next call of Append.
func (s *ParameterSets) SPS() []byte {
	if len(s.sps) < 4 {
		return nil
	}
	return s.sps[4:]
}

// Append appends the access unit au to dst, with the parameter sets in front if it is
// a key picture without them, and gives the result. key tells whether it is a key
// picture; usable is false if there is no slice in it, or if it is a key picture whose
// parameter sets were never seen.
func (s *ParameterSets) Append(dst, au []byte) (out []byte, key, usable bool) {
	key, whole, usable := s.Look(au)
	if key && !usable {
		return dst, key, usable
	}
	if !whole {
		dst = append(append(dst, s.sps...), s.pps...)
	}
	return append(dst, au...), key, usable
}

// Look takes note of the parameter sets in the access unit au. key and usable are as with
// Append, and whole says that Append would add nothing.
func (s *ParameterSets) Look(au []byte) (key, whole, usable bool) {
	var sps, pps, slice bool
	for nal, rest := NextNAL(au); len(nal) > 0; nal, rest = NextNAL(rest) {
		switch TypeOf(nal) {
		case NALSPS:
			s.sps, sps = keep(s.sps, nal), true
		case NALPPS:
			s.pps, pps = keep(s.pps, nal), true
		case NALIDR:
			key, slice = true, true
		case NALSlice:
			slice = true
		}
		if slice {
			break // parameter sets come before the first slice of their picture
		}
	}
	whole = !key || sps && pps
	return key, whole, slice && (whole || s.Complete())
}

func keep(old, nal []byte) []byte { return append(append(old[:0], 0, 0, 0, 1), nal...) }
