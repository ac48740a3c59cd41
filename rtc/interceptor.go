package rtc

import (
	"encoding/binary"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"

	"anchord/internal/media"
)

// How sending is looked after.
const (
	reportEvery = time.Second
	resendGap   = 20 * time.Millisecond // a packet is not sent again sooner than this nor than a round trip
	longestGap  = time.Second           // whatever round trip the other side claims
	resendEvery = time.Millisecond      // a packet, on average: a room that asks for all cannot make us a flood
	resendBurst = 1024                  // packets at once
	videoRing   = 1024                  // packets: 3.5 s at 2.5 Mbit/s, 1 s at 8 Mbit/s
	audioRing   = 64
)

// factory makes the one interceptor that each PeerConnection of a Link has.
type factory struct {
	tracks []*Track // may hold nil
	sock   *socket
	clock  wall
}

// NewInterceptor is pion's.
func (f *factory) NewInterceptor(string) (interceptor.Interceptor, error) {
	return &sender{factory: f}, nil
}

// sender does for a publisher what pion's NACK responder, sender report and TWCC
// interceptors do together: without an allocation a packet, without a goroutine or
// ticker (sender reports go with packets: a silent stream has nothing to report), and
// with the capture clock in the sender reports instead of the time of sending.
type sender struct {
	interceptor.NoOp
	*factory

	mu      sync.Mutex
	streams atomic.Pointer[[]*stream] // replaced under mu, read without
	rtcp    atomic.Pointer[interceptor.RTCPWriter]
	number  atomic.Uint32 // transport-wide sequence number
}

// stream is one track as one PeerConnection sends it.
type stream struct {
	*sender
	track *Track
	ssrc  uint32
	video bool
	next  interceptor.RTPWriter
	ring  *ring // nil: NACK was not negotiated

	twcc    uint8   // id of the extension; 0: not negotiated
	twccNow [2]byte // what the header's extension points to

	// Of the goroutine that writes the track.
	octets, packets uint32
	reported        media.Time
	sr              rtcp.SenderReport
	reports         []rtcp.Packet

	again   sync.Mutex // of sending again
	spent   allowance
	header  rtp.Header
	scratch [slotSize]byte
}

// BindRTCPWriter is pion's: where sender reports go.
func (s *sender) BindRTCPWriter(w interceptor.RTCPWriter) interceptor.RTCPWriter {
	s.rtcp.Store(&w)
	return w
}

// BindLocalStream is pion's: all packets of a stream pass what it returns. Bind of the
// track was called before.
func (s *sender) BindLocalStream(info *interceptor.StreamInfo, next interceptor.RTPWriter) interceptor.RTPWriter {
	st := &stream{sender: s, ssrc: info.SSRC, next: next}
	for _, t := range s.tracks {
		if t == nil {
			continue
		}
		if b := t.bound.Load(); b != nil && b.ssrc == info.SSRC {
			st.track, st.video = t, t.kind == webrtc.RTPCodecTypeVideo
		}
	}
	if st.track == nil {
		return next // not ours
	}
	for _, e := range info.RTPHeaderExtensions {
		if e.URI == sdp.TransportCCURI {
			st.twcc = uint8(e.ID)
		}
	}
	for _, f := range info.RTCPFeedback {
		if f.Type != "nack" || f.Parameter != "" {
			continue
		}
		if st.ring = newRing(audioRing); st.video {
			st.ring = newRing(videoRing)
		}
	}
	st.sr.SSRC = info.SSRC
	st.reports = []rtcp.Packet{&st.sr, &rtcp.SourceDescription{Chunks: []rtcp.SourceDescriptionChunk{{
		Source: info.SSRC,
		Items:  []rtcp.SourceDescriptionItem{{Type: rtcp.SDESCNAME, Text: st.track.stream}}, // pion's cname in SDP as well
	}}}}
	if st.video && s.sock != nil {
		s.sock.batch(info.SSRC)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	all := append(slices.Clone(s.all()), st)
	s.streams.Store(&all)
	return st
}

// UnbindLocalStream is pion's.
func (s *sender) UnbindLocalStream(info *interceptor.StreamInfo) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.DeleteFunc(slices.Clone(s.all()), func(st *stream) bool { return st.ssrc == info.SSRC })
	s.streams.Store(&all)
}

func (s *sender) all() []*stream {
	if p := s.streams.Load(); p != nil {
		return *p
	}
	return nil
}

func (s *sender) stream(ssrc uint32) *stream {
	for _, st := range s.all() {
		if st.ssrc == ssrc {
			return st
		}
	}
	return nil
}

// Write sends one packet of the track.
func (st *stream) Write(h *rtp.Header, payload []byte, a interceptor.Attributes) (int, error) {
	if st.twcc != 0 {
		binary.BigEndian.PutUint16(st.twccNow[:], uint16(st.number.Add(1)))
		if err := h.SetExtension(st.twcc, st.twccNow[:]); err != nil {
			return 0, err
		}
	}
	if st.ring != nil {
		st.ring.put(h, payload)
	}
	n, err := st.next.Write(h, payload, a)
	if st.video && h.Marker && st.sock != nil {
		st.sock.flush() // if the write did not get as far as the socket, the rest of the picture is there
	}
	if n == 0 || err != nil {
		return n, err
	}
	st.packets++
	st.octets += uint32(len(payload))
	if h.Marker || !st.video {
		if now := media.Now(); st.reported == 0 || now.Sub(st.reported) >= reportEvery {
			st.reported = now
			st.report(now)
		}
	}
	return n, nil
}

// report tells the receiver which RTP time belongs to which wall time.
func (st *stream) report(now media.Time) {
	w := st.rtcp.Load()
	if w == nil {
		return
	}
	st.sr.NTPTime, st.sr.RTPTime = st.clock.ntp(now), st.track.times.at(now)
	st.sr.PacketCount, st.sr.OctetCount = st.packets, st.octets
	_, _ = (*w).Write(st.reports, nil) // the next one comes in a second
}

// BindRTCPReader is pion's: what it returns is read in a loop by whoever holds the
// RTPSender.
func (s *sender) BindRTCPReader(r interceptor.RTCPReader) interceptor.RTCPReader {
	return interceptor.RTCPReaderFunc(func(b []byte, a interceptor.Attributes) (int, interceptor.Attributes, error) {
		n, a, err := r.Read(b, a)
		if err == nil {
			readRTCP(b[:n], (*ears)(s))
		}
		return n, a, err
	})
}

// ears is the side of sender that listens to receivers. A compound packet that is
// about both tracks comes twice, once for each: everything here can bear that.
type ears sender

func (e *ears) find(ssrc uint32) *stream {
	st := (*sender)(e).stream(ssrc)
	if st != nil {
		st.track.fb.heard.Store(int64(media.Now()))
	}
	return st
}

func (e *ears) heard(ssrc uint32) { e.find(ssrc) }

func (e *ears) report(ssrc uint32, r report) {
	st := e.find(ssrc)
	if st == nil {
		return
	}
	f, now := &st.track.fb, media.Now()
	f.loss.Store(uint32(r.fraction))
	f.lost.Store(uint32(r.lost))
	f.jitter.Store(int64(r.jitter) * int64(time.Second) / st.track.times.rate)
	if d := r.roundTrip(e.clock.ntp(now)); d > 0 {
		f.rtt.Store(int64(d))
	}
	if f.highest.Swap(r.highest) != r.highest {
		f.arrived.Store(int64(now))
	}
}

func (e *ears) key(ssrc uint32) {
	if st := e.find(ssrc); st != nil && st.track.onKey != nil {
		st.track.fb.keys.Add(1)
		st.track.onKey()
	}
}

func (e *ears) remb(ssrc uint32, bitrate uint64) {
	if st := e.find(ssrc); st != nil {
		st.track.fb.remb.Store(bitrate)
	}
}

// nack sends again seq and the packets after it that mask has a bit for (RFC 4585
// 6.2.1).
func (e *ears) nack(ssrc uint32, seq, mask uint16) {
	st := e.find(ssrc)
	if st == nil || st.ring == nil {
		return
	}
	st.resend(seq)
	for i := range uint16(16) {
		if mask&(1<<i) != 0 {
			st.resend(seq + i + 1)
		}
	}
}

// resend sends a packet again on its own SSRC, the same to the last bit: SRTP makes
// its nonce of SSRC and sequence number, and AES-GCM with one nonce for two different
// packets would give the authentication key away (RFC 7714 8.1). So the
// transport-wide number stays as well.
func (st *stream) resend(seq uint16) {
	f := &st.track.fb
	st.again.Lock()
	defer st.again.Unlock()
	now := media.Now()
	if st.spent.full(now) {
		f.missing.Add(1)
		return
	}
	head, size, ok := st.ring.get(seq, now, min(max(resendGap, time.Duration(f.rtt.Load())), longestGap), st.scratch[:])
	if !ok {
		f.missing.Add(1)
		return
	}
	if _, err := st.header.Unmarshal(st.scratch[:head]); err != nil {
		return // cannot be: we wrote it
	}
	st.spent.take(now)
	if n, err := st.next.Write(&st.header, st.scratch[head:size], nil); err == nil && n > 0 {
		f.resent.Add(1)
	}
}
