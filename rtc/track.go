package rtc

import (
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/pion/rtp"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"

	"anchord/internal/media"
)

// ErrNotSending says that a packet went nowhere because no session carries the track
// at the moment: no PeerConnection, or one that is not connected (any more).
var ErrNotSending = errors.New("the track is not sending")

// What an RTP packet may have on the wire, without IP and UDP: WebRTC's customary
// limit, which passes every tunnel.
const (
	mtu       = 1200
	srtpTag   = 16 // of AES-GCM, the longest
	rtpHeader = 12
)

const videoOrientationURI = "urn:3gpp:video-orientation"

// Track is the anchor's picture (H.264) or sound (Opus) as pion sends it. It outlives
// PeerConnections: give it to AddTrack or AddTransceiverFromTrack of each new one.
// Sequence numbers and time stamps go on over all of them. WriteVideo or WriteAudio is
// for one goroutine; everything else may be called from any.
type Track struct {
	kind       webrtc.RTPCodecType
	id, stream string
	onKey      func()

	bound atomic.Pointer[binding]
	fb    feedback

	mu   sync.Mutex // the writer's: Unbind must not wait for a send that hangs
	cut  packetizer
	last *binding // that the header was made for
	// Two headers, because taking an extension out of one and putting it in again
	// costs more than to have both.
	plain, tagged rtp.Header
	ext           [1]byte
	seq           uint16
	times         timeline
}

// binding is what one PeerConnection said about the track.
type binding struct {
	id     string
	stream webrtc.TrackLocalWriter
	ssrc   uint32
	pt     uint8
	ext    uint8 // negotiated id of CVO (picture) or of the audio level (sound); 0: none
	twcc   bool
}

// NewVideoTrack makes the picture's track. stream is the name of the MediaStream that
// ties it to its sound. onKey is called when a receiver asks for a key picture (PLI,
// FIR), on a goroutine that must not be held up.
func NewVideoTrack(stream string, onKey func()) *Track {
	t := newTrack(webrtc.RTPCodecTypeVideo, "video", stream, 90000)
	t.onKey = onKey
	return t
}

// NewAudioTrack makes the sound's track, of the MediaStream named stream.
func NewAudioTrack(stream string) *Track {
	return newTrack(webrtc.RTPCodecTypeAudio, "audio", stream, 48000)
}

func newTrack(k webrtc.RTPCodecType, id, stream string, rate int64) *Track {
	return &Track{kind: k, id: id, stream: stream,
		seq:   uint16(rand.Uint32N(1 << 15)), // RFC 3711 3.3.1 has reasons for the lower half
		times: timeline{rate: rate, offset: rand.Uint32()}}
}

// ID is "video" or "audio".
func (t *Track) ID() string { return t.id }

// RID is empty: there is one encoding.
func (t *Track) RID() string { return "" }

// StreamID is the name of the MediaStream.
func (t *Track) StreamID() string { return t.stream }

// Kind tells picture from sound.
func (t *Track) Kind() webrtc.RTPCodecType { return t.kind }

// Bind is pion's: it takes the track into a PeerConnection whose answer has come.
func (t *Track) Bind(c webrtc.TrackLocalContext) (webrtc.RTPCodecParameters, error) {
	codec, ok := t.choose(c.CodecParameters())
	if !ok {
		return webrtc.RTPCodecParameters{}, webrtc.ErrUnsupportedCodec
	}
	b := &binding{id: c.ID(), stream: c.WriteStream(), ssrc: uint32(c.SSRC()), pt: uint8(codec.PayloadType)}
	own := videoOrientationURI
	if t.kind == webrtc.RTPCodecTypeAudio {
		own = sdp.AudioLevelURI
	}
	for _, e := range c.HeaderExtensions() {
		switch e.URI {
		case own:
			b.ext = uint8(e.ID)
		case sdp.TransportCCURI:
			b.twcc = true
		}
	}
	t.fb.reset()
	t.bound.Store(b)
	return codec, nil
}

// Unbind is pion's: it takes the track out of a PeerConnection. A newer binding stays.
func (t *Track) Unbind(c webrtc.TrackLocalContext) error {
	if b := t.bound.Load(); b != nil && b.id == c.ID() {
		t.bound.CompareAndSwap(b, nil)
	}
	return nil
}

func (t *Track) choose(codecs []webrtc.RTPCodecParameters) (webrtc.RTPCodecParameters, bool) {
	for _, c := range codecs {
		switch {
		case t.kind == webrtc.RTPCodecTypeAudio && strings.EqualFold(c.MimeType, webrtc.MimeTypeOpus),
			t.kind == webrtc.RTPCodecTypeVideo && strings.EqualFold(c.MimeType, webrtc.MimeTypeH264) &&
				strings.Contains(c.SDPFmtpLine, "packetization-mode=1"):
			return c, true
		}
	}
	return webrtc.RTPCodecParameters{}, false
}

// Turns tells whether the receiver takes the picture's orientation (CVO): then the
// track passes Packet.Turn on.
func (t *Track) Turns() bool {
	b := t.bound.Load()
	return b != nil && b.ext != 0 && t.kind == webrtc.RTPCodecTypeVideo
}

// WriteVideo sends one access unit and gives its marks with Packetized and Sent
// filled; Sent is zero when it was not sent. The packet stays the caller's. An error
// loses this picture only: it is ErrNotSending while there is no connection.
func (t *Track) WriteVideo(p *media.Packet) (media.Marks, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := p.Marks
	b := t.bind()
	if b == nil {
		t.fb.unsent.Add(1)
		return m, ErrNotSending
	}
	size, tail := mtu-rtpHeader-srtpTag, 0
	switch { // one-byte header extensions (RFC 8285): 4 bytes, then id and value, padded to 4
	case b.twcc && b.ext != 0:
		size, tail = size-8, 4 // 3 bytes; 5 with CVO
	case b.twcc:
		size -= 8
	case b.ext != 0:
		tail = 8
	}
	payloads := t.cut.cut(p.Data, size, tail)
	m[media.Packetized] = media.Now()
	ts := t.times.picture(captured(&m))
	t.ext[0] = cvo(p.Turn)
	for i, payload := range payloads {
		h := &t.plain
		if i == len(payloads)-1 {
			h = &t.tagged
			h.Marker = true
		}
		if err := t.write(b, h, ts, payload); err != nil {
			t.fb.unsent.Add(1)
			return m, err
		}
	}
	if len(payloads) > 0 {
		m[media.Sent] = media.Now()
		t.fb.frames.Add(1)
	}
	return m, nil
}

// WriteAudio sends one Opus packet; the rest is as WriteVideo.
func (t *Track) WriteAudio(p *media.Packet) (media.Marks, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := p.Marks
	// Time goes on while nobody listens, so that no block seems to be missing later.
	ts, gap := t.times.sound(captured(&m), p.Samples)
	b := t.bind()
	if b == nil {
		t.fb.unsent.Add(1)
		return m, ErrNotSending
	}
	m[media.Packetized] = media.Now()
	t.ext[0] = min(p.Level, 127)
	if p.Voice {
		t.ext[0] |= 0x80
	}
	t.tagged.Marker = gap // the begin of a talk spurt (RFC 3551 4.1)
	if err := t.write(b, &t.tagged, ts, p.Data); err != nil {
		t.fb.unsent.Add(1)
		return m, err
	}
	m[media.Sent] = media.Now()
	t.fb.frames.Add(1)
	return m, nil
}

// bind makes the headers ready for the current binding.
func (t *Track) bind() *binding {
	b := t.bound.Load()
	if b == t.last || b == nil {
		return b
	}
	t.last = b
	if t.seq >= 0xfc00 {
		// A receiver that misses the first packets of an SRTP stream which wraps at once
		// guesses the wrong roll-over counter and never decrypts anything
		// (RFC 3711 3.3.1). The SSRC is new: nobody sees the gap.
		t.seq = 0
	}
	t.plain = rtp.Header{Version: 2, PayloadType: b.pt, SSRC: b.ssrc, Extensions: t.plain.Extensions[:0]}
	t.tagged = rtp.Header{Version: 2, PayloadType: b.pt, SSRC: b.ssrc, Extensions: t.tagged.Extensions[:0]}
	if b.ext != 0 {
		_ = t.tagged.SetExtension(b.ext, t.ext[:]) // cannot fail on an empty header
	}
	return b
}

func (t *Track) write(b *binding, h *rtp.Header, ts uint32, payload []byte) error {
	h.SequenceNumber, h.Timestamp = t.seq, ts
	n, err := b.stream.WriteRTP(h, payload)
	// Whatever came of it: it may have been encrypted and kept for sending again, and a
	// number must never stand for two packets.
	t.seq++
	switch {
	case errors.Is(err, io.ErrClosedPipe), err == nil && n == 0: // pion gives 0, nil when it could not send
		return ErrNotSending
	case err != nil:
		t.fb.errors.Add(1)
		return err
	}
	t.fb.packets.Add(1)
	t.fb.bytes.Add(uint64(n))
	return nil
}

// captured gives the time to stamp with: a source that does not know its own gets
// the time of sending.
func captured(m *media.Marks) media.Time {
	if m[media.Captured] != 0 {
		return m[media.Captured]
	}
	return media.Now()
}

// cvo makes the byte of 3GPP TS 26.114 7.4.5: flip in bit 2, then quarter turns.
func cvo(t media.Turn) byte {
	b := byte(t.Rotation/90) & 3
	if t.Mirror {
		b |= 4
	}
	return b
}
