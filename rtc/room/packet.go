package room

import (
	"encoding/binary"
	"time"
)

// maxPacket is the largest RTP packet that is forwarded, in bytes.
const maxPacket = 1500

// packet is one RTP packet of an anchor, as far as a forwarder has to know it. It points into
// the buffer that it was parsed from.
type packet struct {
	payload []byte
	at      time.Time // when it arrived
	ts      uint32
	seq     uint16
	marker  bool
	key     bool // a decoder can start here
	hasTurn bool
	hasLoud bool
	turn    byte // urn:3gpp:video-orientation, as on the wire
	loud    byte // urn:ietf:params:rtp-hdrext:ssrc-audio-level, as on the wire
}

// parse reads a whole RTP packet (RFC 3550, RFC 8285). ext is the id of the one header
// extension that is carried on (orientation of video, level of audio), 0 for none.
func (p *packet) parse(b []byte, ext byte, video bool) bool {
	*p = packet{}
	if len(b) < 12 || len(b) > maxPacket || b[0]>>6 != 2 {
		return false
	}
	n := 12 + 4*int(b[0]&0xf)
	var exts []byte
	var profile uint16
	if b[0]&0x10 != 0 {
		if len(b) < n+4 {
			return false
		}
		profile = binary.BigEndian.Uint16(b[n:])
		size := 4 * int(binary.BigEndian.Uint16(b[n+2:]))
		n += 4
		if len(b) < n+size {
			return false
		}
		exts = b[n : n+size]
		n += size
	}
	end := len(b)
	if b[0]&0x20 != 0 {
		end -= int(b[end-1])
	}
	if n > end {
		return false
	}
	p.payload = b[n:end]
	p.marker = b[1]&0x80 != 0
	p.seq = binary.BigEndian.Uint16(b[2:])
	p.ts = binary.BigEndian.Uint32(b[4:])
	if v, ok := findExtension(exts, profile, ext); ok {
		if video {
			p.turn, p.hasTurn = v, true
		} else {
			p.loud, p.hasLoud = v, true
		}
	}
	p.key = !video || startsKeyFrame(p.payload)
	return true
}

// findExtension gives the first byte of the header extension id (RFC 8285, one-byte and
// two-byte form).
func findExtension(b []byte, profile uint16, id byte) (byte, bool) {
	if id == 0 {
		return 0, false
	}
	twoByte := profile&0xfff0 == 0x1000
	if !twoByte && profile != 0xbede {
		return 0, false
	}
	for len(b) > 0 {
		if b[0] == 0 { // padding
			b = b[1:]
			continue
		}
		var this byte
		var size int
		if twoByte {
			if len(b) < 2 {
				return 0, false
			}
			this, size, b = b[0], int(b[1]), b[2:]
		} else {
			this, size, b = b[0]>>4, int(b[0]&0xf)+1, b[1:]
			if this == 15 {
				return 0, false
			}
		}
		if len(b) < size {
			return 0, false
		}
		if this == id && size > 0 {
			return b[0], true
		}
		b = b[size:]
	}
	return 0, false
}

// startsKeyFrame says whether an H.264 payload (RFC 6184) begins with a sequence parameter
// set or an IDR slice: a decoder that knows nothing yet can start at this packet.
func startsKeyFrame(b []byte) bool {
	if len(b) < 2 {
		return false
	}
	const idr, sps, stapA, fuA = 5, 7, 24, 28
	switch b[0] & 0x1f {
	case idr, sps:
		return true
	case stapA:
		for b = b[1:]; len(b) > 2; {
			size := int(binary.BigEndian.Uint16(b))
			if t := b[2] & 0x1f; t == idr || t == sps {
				return true
			}
			if b = b[2:]; len(b) < size {
				return false
			}
			b = b[size:]
		}
	case fuA:
		t := b[1] & 0x1f
		return b[1]&0x80 != 0 && (t == idr || t == sps)
	}
	return false
}
