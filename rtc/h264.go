package rtc

import "anchord/internal/media"

// Payload structures of RFC 6184 5.2 that share the byte of nal_unit_type.
const (
	stapA = 24
	fuA   = 28

	fuStart = 0x80
	fuEnd   = 0x40

	nalFiller = 12 // filler data, H.264 table 7-1
)

// packetizer cuts access units into RTP payloads as packetization-mode 1 of RFC 6184
// allows: small NAL units travel together (STAP-A), large ones in pieces (FU-A). The
// pieces of one unit are equal but for the last, which is what UDP GSO asks for. What
// it gives lies in its own memory, which is used again for the next access unit.
type packetizer struct {
	buf  []byte
	out  [][]byte
	held [][]byte // NAL units that wait for more to travel with
	room int      // bytes left in the packet of held
}

// cut gives the payloads of au (Annex B), each of at most max bytes, the last at least
// tail bytes smaller than that, for the header extension which only the last packet
// has. They are valid until the next call. Access unit delimiters and filler are
// dropped, as are units of types that mean something else in RTP. max is more than
// tail+100.
func (p *packetizer) cut(au []byte, max, tail int) [][]byte {
	p.out = p.out[:0]
	// A start code is at least three bytes long: what single units and STAP-A need on
	// top of a unit is not more than that. So only the pieces can make it grow.
	if need := len(au) + 2*(len(au)/(max-tail-2)) + 64; cap(p.buf) < need {
		p.buf = make([]byte, 0, need+need/4)
	}
	p.buf = p.buf[:0]
	p.hold(max - tail)
	for nal, rest := media.NextNAL(au); len(nal) > 0; nal, rest = media.NextNAL(rest) {
		switch t := media.TypeOf(nal); {
		case t == media.NALAUD || t == nalFiller || t == 0 || t >= stapA:
			continue
		case len(nal) > max-tail:
			p.flush(max - tail)
			p.pieces(nal, max, tail)
			continue
		}
		if len(nal)+2 > p.room {
			p.flush(max - tail)
		}
		p.held = append(p.held, nal)
		p.room -= len(nal) + 2
	}
	p.flush(max - tail)
	clear(p.held[:cap(p.held)]) // au belongs to somebody else
	return p.out
}

func (p *packetizer) hold(room int) {
	p.held = p.held[:0]
	p.room = room - 1 // the STAP-A header
}

// flush sends the held units on: one as it is, several as STAP-A (RFC 6184 5.7.1).
func (p *packetizer) flush(room int) {
	start := len(p.buf)
	switch len(p.held) {
	case 0:
		return
	case 1:
		p.buf = append(p.buf, p.held[0]...)
	default:
		var head byte // forbidden bit of any, highest nal_ref_idc
		for _, n := range p.held {
			head = head&0x80 | n[0]&0x80 | max(head&0x60, n[0]&0x60)
		}
		p.buf = append(p.buf, head|stapA)
		for _, n := range p.held {
			p.buf = append(append(p.buf, byte(len(n)>>8), byte(len(n))), n...)
		}
	}
	p.out = append(p.out, p.buf[start:len(p.buf):len(p.buf)])
	p.hold(room)
}

// pieces sends one unit on as FU-A (RFC 6184 5.8).
func (p *packetizer) pieces(nal []byte, max, tail int) {
	indicator, kind := nal[0]&0xe0|fuA, nal[0]&0x1f
	body := nal[1:]
	size := pieceSize(len(body), max-2, tail)
	for head := byte(fuStart); len(body) > 0; head = 0 {
		n := min(size, len(body))
		if n == len(body) {
			head |= fuEnd
		}
		start := len(p.buf)
		p.buf = append(append(p.buf, indicator, head|kind), body[:n]...)
		p.out = append(p.out, p.buf[start:len(p.buf):len(p.buf)])
		body = body[n:]
	}
}

// pieceSize gives the size of all pieces of n bytes but the last, which is tail bytes
// smaller still, or as near to that as n allows, so that with its extension it is not
// longer than the others.
func pieceSize(n, max, tail int) int {
	k := (n + tail + max - 1) / max
	size := (n + tail + k - 1) / k
	if size*(k-1) >= n { // so many pieces that rounding leaves nothing for the last
		return max - tail
	}
	return size
}
