package rtc

import (
	"encoding/binary"
	"time"
)

// RTCP packet types and formats that matter to a sender (RFC 3550 12.1, RFC 4585 6,
// RFC 5104 4.3.1, draft-alvestrand-rmcat-remb-03).
const (
	rtcpSR    = 200
	rtcpRR    = 201
	rtcpRTPFB = 205
	rtcpPSFB  = 206

	fmtNACK = 1  // RTPFB
	fmtTWCC = 15 // RTPFB
	fmtPLI  = 1  // PSFB
	fmtFIR  = 4  // PSFB
	fmtREMB = 15 // PSFB, application layer
)

// report is one reception report block about one of our streams (RFC 3550 6.4.1).
type report struct {
	fraction  uint8
	lost      int32
	highest   uint32
	jitter    uint32 // ticks
	lastSR    uint32 // middle of the NTP time of the sender report that it saw last
	sinceThat uint32 // 1/65536 s
}

// listener is told what a receiver says about the stream ssrc.
type listener interface {
	report(ssrc uint32, r report)
	nack(ssrc uint32, seq, mask uint16)
	key(ssrc uint32)
	remb(ssrc uint32, bitrate uint64)
	heard(ssrc uint32) // anything else about it
}

// readRTCP reads a compound packet from the network. It stops at the first thing that
// is not well formed; what it understood until then counts. pion's own reader makes a
// dozen objects of each packet, here nothing is allocated.
func readRTCP(b []byte, l listener) {
	for len(b) >= 8 && b[0]>>6 == 2 {
		n := 4 * (int(binary.BigEndian.Uint16(b[2:])) + 1)
		if n < 8 || n > len(b) {
			return
		}
		p := b[:n:n]
		b = b[n:]
		if p[0]&0x20 != 0 { // padding; only a last packet has it
			pad := int(p[n-1])
			if pad == 0 || pad > n-8 {
				return
			}
			p = p[:n-pad]
		}
		count := int(p[0] & 0x1f)
		switch p[1] {
		case rtcpSR:
			if len(p) >= 28 {
				readReports(p[28:], count, l)
			}
		case rtcpRR:
			readReports(p[8:], count, l)
		case rtcpRTPFB:
			readTransport(p, count, l)
		case rtcpPSFB:
			readPayload(p, count, l)
		}
	}
}

func readReports(b []byte, count int, l listener) {
	for ; count > 0 && len(b) >= 24; count, b = count-1, b[24:] {
		u := binary.BigEndian.Uint32
		l.report(u(b), report{fraction: b[4], lost: int32(u(b[4:])<<8) >> 8, highest: u(b[8:]),
			jitter: u(b[12:]), lastSR: u(b[16:]), sinceThat: u(b[20:])})
	}
}

func readTransport(p []byte, format int, l listener) {
	if len(p) < 12 {
		return
	}
	ssrc := binary.BigEndian.Uint32(p[8:])
	switch format {
	case fmtNACK:
		for f := p[12:]; len(f) >= 4; f = f[4:] {
			l.nack(ssrc, binary.BigEndian.Uint16(f), binary.BigEndian.Uint16(f[2:]))
		}
	case fmtTWCC:
		l.heard(ssrc)
	}
}

func readPayload(p []byte, format int, l listener) {
	if len(p) < 12 {
		return
	}
	switch format {
	case fmtPLI:
		l.key(binary.BigEndian.Uint32(p[8:]))
	case fmtFIR:
		for f := p[12:]; len(f) >= 8; f = f[8:] {
			l.key(binary.BigEndian.Uint32(f))
		}
	case fmtREMB:
		if len(p) < 20 || string(p[12:16]) != "REMB" {
			return
		}
		exp := p[17] >> 2
		rate := uint64(p[17]&3)<<16 | uint64(binary.BigEndian.Uint16(p[18:]))
		if exp > 44 { // more than 62 bits
			return
		}
		n := int(p[16])
		for f := p[20:]; n > 0 && len(f) >= 4; n, f = n-1, f[4:] {
			l.remb(binary.BigEndian.Uint32(f), rate<<exp)
		}
	}
}

// roundTrip gives the way there and back that r tells, when now (NTP, 32.32) is the
// time of its arrival (RFC 3550 6.4.1); 0 when it tells none.
func (r report) roundTrip(now uint64) time.Duration {
	if r.lastSR == 0 {
		return 0
	}
	d := int32(uint32(now>>16) - r.lastSR - r.sinceThat)
	if d < 0 {
		return 0 // rounding, or nonsense
	}
	return time.Duration(int64(d) * int64(time.Second) >> 16)
}
