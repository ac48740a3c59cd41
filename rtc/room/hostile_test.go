package room

import (
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// single is the peer's offer of nothing but video, without the lines that name its SSRC: what
// pion then takes for a track is whatever comes.
func single(p *peer) string {
	p.t.Helper()
	var b strings.Builder
	for line := range strings.Lines(p.offer()) {
		if !strings.HasPrefix(line, "a=ssrc") {
			b.WriteString(line)
		}
	}
	return b.String()
}

func TestGhostsLeaveNothingBehind(t *testing.T) {
	s, url := start(t, Config{})
	// While one viewer is on its way, another goes whose anchor never came.
	s.mu.Lock()
	h := s.hall("9")
	s.mu.Unlock()
	slow := &session{id: "slow", server: s, over: make(chan struct{})}
	if _, err := s.reserve(slow, "9", "awaited"); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		v := viewer(t)
		v.enter(fmt.Sprintf("%s/whep/9/ghost%d", url, i))
		do(t, http.MethodDelete, v.where, "", "", nil)
	}
	if s.mu.Lock(); len(h.anchors) != 1 {
		t.Errorf("%d anchors are kept, want the one that is awaited", len(h.anchors))
	}
	s.mu.Unlock()
	s.giveBack(slow)
	s.wg.Done()
	if s.mu.Lock(); len(s.halls) != 0 || s.viewers != 0 {
		t.Errorf("%d rooms and %d viewers are left", len(s.halls), s.viewers)
	}
	s.mu.Unlock()
}

func TestOneNumberIsOnePacket(t *testing.T) {
	_, url := start(t, Config{})
	p, v := publisher(t), viewer(t)
	p.enter(url + "/whip/1?user=a")
	v.enter(url + "/whep/1/a")
	wait(t, "the request for a key frame", func() bool { return p.count(&p.plis) > 0 })
	p.sendVideo(100, 0, keyFrame(1))
	wait(t, "the key frame", func() bool { return len(v.packets(video)) == 1 })
	// Encrypted again under the same number, another payload would give AES-GCM's key away.
	p.sendVideo(100, 0, keyFrame(2))
	p.sendVideo(101, 3000, delta(3))
	wait(t, "the next packet", func() bool { return len(v.packets(video)) >= 2 })
	for seq := uint16(103); seq < 403; seq++ {
		p.sendVideo(seq, 6000, delta(4))
	}
	p.sendVideo(102, 6000, delta(5)) // was asked for again
	wait(t, "the packet that comes late", func() bool {
		return slices.ContainsFunc(v.packets(video), func(one rtp.Packet) bool { return one.Payload[2] == 5 })
	})
	all := v.packets(video)
	if all[1].SequenceNumber == all[0].SequenceNumber {
		t.Error("a second packet with the number of the first was passed on")
	}
}

func TestManyStreamsOfOnePeerEndItsSession(t *testing.T) {
	s, url := start(t, Config{})
	for _, path := range []string{"/whip/1?user=a", "/whep/1/a"} {
		many := &shifter{}
		p := newPeer(t, func(_ *webrtc.MediaEngine, r *interceptor.Registry) { r.Add(many) })
		track, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeH264, ClockRate: 90000,
			SDPFmtpLine: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"}, "v", "s")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.pc.AddTrack(track); err != nil {
			t.Fatal(err)
		}
		res, text := do(t, http.MethodPost, url+path, typeSDP, single(p), nil)
		if res.StatusCode != http.StatusCreated {
			t.Fatalf("%d %s", res.StatusCode, text)
		}
		p.answer(text)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for i := range 3000 {
			if err := track.WriteRTP(&rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: uint16(i)}, Payload: keyFrame(1)}); err != nil {
				break // thrown out
			}
		}
		wait(t, "the session ends", func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return len(s.sessions) == 0
		})
		runtime.ReadMemStats(&after)
		if grew := int64(after.TotalAlloc-before.TotalAlloc) >> 20; grew > 60 {
			t.Errorf("%s: %d MiB were taken", path, grew)
		}
	}
}

// shifter sends every packet on an SSRC of its own.
type shifter struct{ interceptor.NoOp }

func (s *shifter) NewInterceptor(string) (interceptor.Interceptor, error) { return s, nil }

func (s *shifter) BindLocalStream(_ *interceptor.StreamInfo, next interceptor.RTPWriter) interceptor.RTPWriter {
	return interceptor.RTPWriterFunc(func(h *rtp.Header, payload []byte, a interceptor.Attributes) (int, error) {
		h.SSRC = 1000 + uint32(h.SequenceNumber)
		return next.Write(h, payload, a)
	})
}

func TestCandidatesAreBounded(t *testing.T) {
	_, url := start(t, Config{})
	p := publisher(t)
	p.enter(url + "/whip/1?user=a")
	tag := http.Header{"If-Match": {p.header.Get("ETag")}}
	refused := 0
	for n := range 20 {
		var b strings.Builder
		b.WriteString("m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n")
		for i := range 60 {
			fmt.Fprintf(&b, "a=candidate:%d 1 udp 2130706431 192.0.2.1 %d typ host\r\n", i, 1000+n*60+i)
		}
		res, _ := do(t, http.MethodPatch, p.where, typeFrag, b.String(), tag)
		if res.StatusCode == http.StatusUnprocessableEntity {
			refused++
		}
	}
	if refused < 15 {
		t.Errorf("%d of 20 floods of candidates were refused", refused)
	}
	whole := publisher(t).offer()
	for _, before := range []string{"", "\r"} { // what stands between two lines is passed over when SDP is read
		offer := whole + strings.Repeat(before+"a=candidate:1 1 udp 2130706431 192.0.2.1 9 typ host\r\n", 500)
		if res, text := do(t, http.MethodPost, url+"/whip/1?user=b", typeSDP, offer, nil); res.StatusCode != http.StatusBadRequest {
			t.Errorf("an offer with 500 candidates after %q: %d %s", before, res.StatusCode, text)
		}
	}
}

func TestALongLifeHasManyRestarts(t *testing.T) {
	_, url := start(t, Config{})
	p := publisher(t)
	p.enter(url + "/whip/1?user=a")
	for n := range 50 {
		var b strings.Builder
		fmt.Fprintf(&b, "a=ice-ufrag:abcd%04d\r\na=ice-pwd:0123456789012345678901\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n", n)
		for i := range 10 {
			fmt.Fprintf(&b, "a=candidate:%d 1 udp 2130706431 192.0.2.1 %d typ host\r\n", i, 1000+n*10+i)
		}
		if res, text := do(t, http.MethodPatch, p.where, typeFrag, b.String(), http.Header{"If-Match": {"*"}}); res.StatusCode != http.StatusOK {
			t.Fatalf("restart %d: %d %s", n, res.StatusCode, text)
		}
	}
}

func TestPlacesAreNotHeldByOffersAlone(t *testing.T) {
	_, url := start(t, Config{})
	p := publisher(t)
	offer := p.offer()
	last := 0
	for i := range maxPending + 1 {
		res, _ := do(t, http.MethodPost, fmt.Sprintf("%s/whip/%d?user=a", url, i+1), typeSDP, offer, nil)
		if last = res.StatusCode; last == http.StatusServiceUnavailable && res.Header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
	}
	if last != http.StatusServiceUnavailable {
		t.Errorf("status %d for the last of %d offers that never connect", last, maxPending+1)
	}
}

func TestRestartsLeaveNothingBehind(t *testing.T) {
	_, url := start(t, Config{})
	p := publisher(t)
	p.enter(url + "/whip/1?user=a")
	restart := func(i int) {
		body := fmt.Sprintf("a=ice-ufrag:abcd%04d\r\na=ice-pwd:0123456789012345678901\r\n", i)
		if res, text := do(t, http.MethodPatch, p.where, typeFrag, body, http.Header{"If-Match": {"*"}}); res.StatusCode != http.StatusOK {
			t.Fatalf("restart %d: %d %s", i, res.StatusCode, text)
		}
	}
	restart(0)
	before := runtime.NumGoroutine()
	for i := range 100 {
		restart(i + 1)
	}
	wait(t, "as few goroutines as before", func() bool { return runtime.NumGoroutine() <= before+2 })
}

func TestNackFloodIsCheap(t *testing.T) {
	k := &sink{relay: &relay{video: true, epoch: time.Now()}}
	now := time.Now()
	k.refill(now)
	for range resendsPerSecond {
		if !k.may() {
			t.Fatal("too few packets are sent again")
		}
		k.budget--
	}
	if k.refill(now); k.may() {
		t.Error("there is no bound")
	}
	if k.refill(now.Add(100 * time.Millisecond)); !k.may() {
		t.Error("the bound stays")
	}
}
