package room

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// sink is one medium on its way to one viewer. Each has its own SSRC, payload type and, once
// its anchor has come back, its own sequence numbers and times, so that the viewer sees one
// unbroken stream. It is a webrtc.TrackLocal.
type sink struct {
	relay   *relay
	session *session
	user    string // the anchor

	mu     sync.Mutex
	ready  bool // the viewer is connected
	out    webrtc.TrackLocalWriter
	ext    byte // id of the carried header extension, 0: not agreed on
	ssrc   uint32
	plain  rtp.Header // reused for each packet
	marked rtp.Header // the same with the header extension
	value  [1]byte    // of the header extension

	src     *source   // what it follows; nil before the first packet
	begun   bool      // something was sent, ever
	seqOff  uint16    // added to the source's sequence numbers
	tsOff   uint32    // added to the source's times
	highest uint16    // of the source's numbers, sent
	span    uint16    // how many numbers before highest belong to this viewer
	lastTS  uint32    // sent, of highest
	lastAt  time.Time // when
	packets uint64
	octets  uint64

	budget   int       // packets that may still be sent again
	refilled time.Time // when budget was full
}

var _ webrtc.TrackLocal = (*sink)(nil)

// resendsPerSecond bounds what one viewer's NACKs can cost.
const resendsPerSecond = 1000

// ID names the track in the viewer's SDP.
func (k *sink) ID() string {
	if k.relay.video {
		return "video"
	}
	return "audio"
}

// RID is empty: there are no layers.
func (k *sink) RID() string { return "" }

// StreamID is the anchor's user id: tracks of one stream are played in sync.
func (k *sink) StreamID() string { return k.user }

// Kind is audio or video.
func (k *sink) Kind() webrtc.RTPCodecType {
	if k.relay.video {
		return webrtc.RTPCodecTypeVideo
	}
	return webrtc.RTPCodecTypeAudio
}

// Bind is called by pion once the codec is agreed on.
func (k *sink) Bind(c webrtc.TrackLocalContext) (webrtc.RTPCodecParameters, error) {
	codec, ok := chooseCodec(c.CodecParameters(), k.relay.video)
	if !ok {
		return codec, problem(http.StatusUnprocessableEntity, "no_common_codec", "no common codec", "offer H.264 (packetization-mode=1) and Opus")
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.out, k.ssrc = c.WriteStream(), uint32(c.SSRC())
	k.ext = extensionID(c.HeaderExtensions(), k.relay.video)
	k.plain = rtp.Header{Version: 2, SSRC: k.ssrc, PayloadType: uint8(codec.PayloadType)}
	k.marked = k.plain
	if k.ext != 0 {
		if err := k.marked.SetExtension(k.ext, k.value[:]); err != nil {
			return codec, err
		}
	}
	return codec, nil
}

// connected lets media flow. told says that the anchor was told of a new subscriber, for whom it
// makes a key frame by itself.
func (k *sink) connected(told bool) {
	k.mu.Lock()
	k.ready = true
	k.mu.Unlock()
	switch {
	case !k.relay.video:
	case told:
		k.relay.expectKey(time.Now())
	default:
		k.relay.needKey(time.Now())
	}
}

func (k *sink) isReady() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.ready
}

// Unbind is called by pion when the track is stopped.
func (k *sink) Unbind(webrtc.TrackLocalContext) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.out = nil
	return nil
}

// chooseCodec prefers constrained baseline, which every decoder has: the payload type only
// names the format, the stream's own parameter sets say the rest.
func chooseCodec(all []webrtc.RTPCodecParameters, video bool) (webrtc.RTPCodecParameters, bool) {
	mime := webrtc.MimeTypeOpus
	if video {
		mime = webrtc.MimeTypeH264
	}
	usable := func(c webrtc.RTPCodecParameters) bool { return strings.EqualFold(c.MimeType, mime) }
	i := slices.IndexFunc(all, func(c webrtc.RTPCodecParameters) bool {
		return usable(c) && strings.Contains(c.SDPFmtpLine, "profile-level-id=42e0")
	})
	if i < 0 {
		i = slices.IndexFunc(all, usable)
	}
	if i < 0 {
		return webrtc.RTPCodecParameters{}, false
	}
	return all[i], true
}

// write sends a packet of the anchor. It returns false when the viewer has to wait for a key
// frame.
func (k *sink) write(src *source, p *packet) bool {
	k.mu.Lock()
	if k.out == nil || !k.ready {
		k.mu.Unlock()
		return true // nobody there yet: nothing to wait for
	}
	if k.src == src {
		if d := p.seq - k.highest; d != 0 && int16(d) > 0 {
			k.span = uint16(min(int(k.span)+int(d), 1<<15-1))
			k.highest, k.lastTS, k.lastAt = p.seq, p.ts+k.tsOff, p.at
		} else if -d > k.span { // from before this viewer came
			k.mu.Unlock()
			return true
		}
		k.emit(p)
		k.mu.Unlock()
		return true
	}
	if k.src != nil && src.age < k.src.age { // a last packet of the session before
		k.mu.Unlock()
		return true
	}
	if !p.key {
		k.mu.Unlock()
		return false
	}
	began := k.begin(src, p)
	k.mu.Unlock()
	if began {
		for _, r := range src.pastReports() {
			k.report(src, r)
		}
	}
	return began
}

// begin goes over to a source at packet p; it returns false when the viewer's connection does
// not carry media yet.
func (k *sink) begin(src *source, p *packet) bool {
	seqOff, tsOff := k.seqOff, k.tsOff
	if k.begun {
		passed := uint32(p.at.Sub(k.lastAt).Seconds() * float64(k.relay.rate()))
		k.seqOff = k.highest + k.seqOff + 1 - p.seq
		k.tsOff = k.lastTS + max(passed, 1) - p.ts
	}
	if !k.emit(p) {
		k.seqOff, k.tsOff = seqOff, tsOff
		return false
	}
	k.src, k.begun, k.span = src, true, 0
	k.highest, k.lastTS, k.lastAt = p.seq, p.ts+k.tsOff, p.at
	return true
}

// emit writes p under the viewer's numbering.
func (k *sink) emit(p *packet) bool {
	h := &k.plain
	switch {
	case k.ext == 0:
	case p.hasTurn:
		h, k.value[0] = &k.marked, p.turn
	case p.hasLoud:
		h, k.value[0] = &k.marked, p.loud
	}
	h.Marker, h.SequenceNumber, h.Timestamp = p.marker, p.seq+k.seqOff, p.ts+k.tsOff
	n, err := k.out.WriteRTP(h, p.payload)
	if err != nil || n == 0 { // n is 0 before the keys are there
		return false
	}
	k.packets++
	k.octets += uint64(len(p.payload))
	return true
}

// original translates a viewer's sequence number to the source's.
func (k *sink) original(seq uint16) (*source, uint16, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	orig := seq - k.seqOff
	if k.src == nil || k.highest-orig > k.span {
		return nil, 0, false
	}
	return k.src, orig, true
}

// again sends p once more.
func (k *sink) again(src *source, p *packet) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.out == nil || k.src != src || k.budget <= 0 {
		return false
	}
	k.budget--
	return k.emit(p)
}

// may says whether packets may be sent again still: whoever asks for all that there is shall not
// keep the ring from those who send.
func (k *sink) may() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.budget > 0
}

// refill gives back what the time since the last call is worth of resending.
func (k *sink) refill(now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	gain := resendsPerSecond
	if !k.refilled.IsZero() {
		gain = int(min(now.Sub(k.refilled), time.Second) * resendsPerSecond / time.Second)
	}
	if gain > 0 {
		k.budget, k.refilled = min(k.budget+gain, resendsPerSecond), now
	}
}

// report sends the times of the source, as far as this viewer follows it.
func (k *sink) report(src *source, r moment) {
	k.mu.Lock()
	if k.src != src || k.out == nil {
		k.mu.Unlock()
		return
	}
	sr := &rtcp.SenderReport{
		SSRC: k.ssrc, NTPTime: r.ntp, RTPTime: r.rtp + k.tsOff,
		PacketCount: uint32(k.packets), OctetCount: uint32(k.octets),
	}
	k.mu.Unlock()
	_ = k.session.send(sr) // a viewer that went is noticed elsewhere
}

// listen obeys the viewer's RTCP until the sender is stopped.
func (k *sink) listen(sender *webrtc.RTPSender) {
	buf := make([]byte, maxPacket)
	scratch := make([]byte, maxPacket)
	for {
		n, _, err := sender.Read(buf)
		if err != nil {
			return
		}
		packets, err := rtcp.Unmarshal(buf[:n])
		if err != nil {
			continue
		}
		for _, p := range packets {
			switch p := p.(type) {
			case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
				if k.relay.video {
					k.relay.needKey(time.Now())
				}
			case *rtcp.TransportLayerNack:
				if p.MediaSSRC != k.ssrc {
					continue
				}
				if k.refill(time.Now()); !k.may() {
					continue
				}
				for _, pair := range p.Nacks {
					pair.Range(func(seq uint16) bool {
						k.relay.resend(k, seq, scratch)
						return k.may()
					})
				}
			}
		}
	}
}
