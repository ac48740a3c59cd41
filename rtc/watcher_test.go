package rtc

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"anchord/internal/media"
)

const patience = 10 * time.Second

// eventually waits until ok says so.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	end := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(end) {
			t.Fatalf("not in %v: %s", patience, what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// publisher is what one session of two tracks needs.
type publisher struct {
	link *Link
	pc   *webrtc.PeerConnection
	wg   sync.WaitGroup
}

// watcher is a pion receiver that writes down everything.
type watcher struct {
	pc   *webrtc.PeerConnection
	mu   sync.Mutex
	rtp  map[webrtc.RTPCodecType][]*rtp.Packet
	sr   map[webrtc.RTPCodecType][]*rtcp.SenderReport
	cvo  uint8
	lvl  uint8
	drop func(seq uint16) bool // nil: none
	wg   sync.WaitGroup

	ready chan webrtc.RTPCodecType // gets each track that can be received from now on
}

// lossy is an interceptor that loses packets before anybody sees them.
type lossy struct {
	interceptor.NoOp
	w *watcher
}

func (l *lossy) NewInterceptor(string) (interceptor.Interceptor, error) { return l, nil }

func (l *lossy) BindRemoteStream(_ *interceptor.StreamInfo, r interceptor.RTPReader) interceptor.RTPReader {
	return interceptor.RTPReaderFunc(func(b []byte, a interceptor.Attributes) (int, interceptor.Attributes, error) {
		for {
			n, a, err := r.Read(b, a)
			if err != nil || l.w.drop == nil || !l.w.drop(uint16(b[2])<<8|uint16(b[3])) {
				return n, a, err
			}
		}
	})
}

func newWatcher(t testing.TB, drop func(uint16) bool, settings webrtc.SettingEngine) *watcher {
	t.Helper()
	w := &watcher{rtp: map[webrtc.RTPCodecType][]*rtp.Packet{}, sr: map[webrtc.RTPCodecType][]*rtcp.SenderReport{}, drop: drop,
		ready: make(chan webrtc.RTPCodecType, 2)}
	engine, err := codecs(LinkConfig{TWCC: true})
	if err != nil {
		t.Fatal(err)
	}
	var registry interceptor.Registry
	registry.Add(&lossy{w: w})
	if err := webrtc.ConfigureNack(engine, &registry); err != nil {
		t.Fatal(err)
	}
	if err := webrtc.ConfigureRTCPReports(&registry); err != nil {
		t.Fatal(err)
	}
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetFireOnTrackBeforeFirstRTP(true)
	settings.DisableSRTPReplayProtection(drop != nil) // packets are lost after SRTP has seen them
	settings.LoggerFactory = pionLog{slog.New(slog.DiscardHandler)}
	settings.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	api := webrtc.NewAPI(webrtc.WithMediaEngine(engine), webrtc.WithInterceptorRegistry(&registry), webrtc.WithSettingEngine(settings))
	if w.pc, err = api.NewPeerConnection(webrtc.Configuration{}); err != nil {
		t.Fatal(err)
	}
	w.pc.OnTrack(func(tr *webrtc.TrackRemote, r *webrtc.RTPReceiver) {
		w.ready <- tr.Kind()
		for _, e := range r.GetParameters().HeaderExtensions {
			w.mu.Lock()
			switch e.URI {
			case videoOrientationURI:
				w.cvo = uint8(e.ID)
			case "urn:ietf:params:rtp-hdrext:ssrc-audio-level":
				w.lvl = uint8(e.ID)
			}
			w.mu.Unlock()
		}
		w.wg.Go(func() {
			for {
				p, _, err := r.ReadRTCP()
				if err != nil {
					return
				}
				for _, p := range p {
					if sr, ok := p.(*rtcp.SenderReport); ok && sr.SSRC == uint32(tr.SSRC()) {
						w.mu.Lock()
						w.sr[tr.Kind()] = append(w.sr[tr.Kind()], sr)
						w.mu.Unlock()
					}
				}
			}
		})
		for {
			p, _, err := tr.ReadRTP()
			if err != nil {
				return
			}
			w.mu.Lock()
			w.rtp[tr.Kind()] = append(w.rtp[tr.Kind()], p)
			w.mu.Unlock()
		}
	})
	return w
}

func (w *watcher) packets(k webrtc.RTPCodecType) []*rtp.Packet {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.rtp[k])
}

func (w *watcher) reports(k webrtc.RTPCodecType) []*rtcp.SenderReport {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.sr[k])
}

// dump helps when something did not come.
func (w *watcher) dump(t testing.TB) {
	for k, ps := range map[string][]*rtp.Packet{"video": w.packets(webrtc.RTPCodecTypeVideo), "audio": w.packets(webrtc.RTPCodecTypeAudio)} {
		var line []uint16
		for _, p := range ps {
			line = append(line, p.SequenceNumber)
		}
		t.Logf("%s: %d packets, complete %d: %v", k, len(ps), complete(ps), line)
	}
}

// publish opens a link and connects it to w; close it with its close.
func publish(t testing.TB, c LinkConfig, w *watcher) *publisher {
	t.Helper()
	c.Log, c.Loopback = slog.New(slog.DiscardHandler), true
	link, err := OpenLink(c)
	if err != nil {
		t.Fatal(err)
	}
	p := &publisher{link: link}
	if p.pc, err = link.API().NewPeerConnection(webrtc.Configuration{}); err != nil {
		t.Fatal(err)
	}
	for _, tr := range []*Track{c.Video, c.Audio} {
		if tr == nil {
			continue
		}
		x, err := p.pc.AddTransceiverFromTrack(tr, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
		if err != nil {
			t.Fatal(err)
		}
		p.drain(x.Sender())
	}
	connect(t, p.pc, w.pc)
	for _, tr := range []*Track{c.Video, c.Audio} {
		if tr == nil {
			continue
		}
		select {
		case <-w.ready:
		case <-time.After(patience):
			t.Fatal("the receiver is not ready")
		}
	}
	return p
}

func (p *publisher) drain(s *webrtc.RTPSender) {
	p.wg.Go(func() {
		b := make([]byte, 1500)
		for {
			if _, _, err := s.Read(b); err != nil {
				return
			}
		}
	})
}

func (p *publisher) close(t testing.TB) {
	t.Helper()
	if err := p.pc.GracefulClose(); err != nil {
		t.Error(err)
	}
	p.wg.Wait()
	if p.link != nil {
		if err := p.link.Close(); err != nil {
			t.Error(err)
		}
	}
}

func (w *watcher) close(t testing.TB) {
	t.Helper()
	if err := w.pc.GracefulClose(); err != nil {
		t.Error(err)
	}
	w.wg.Wait()
}

func connect(t testing.TB, from, to *webrtc.PeerConnection) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	up := make(chan struct{}, 2)
	for _, pc := range []*webrtc.PeerConnection{from, to} {
		var once sync.Once
		pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
			if s == webrtc.PeerConnectionStateConnected {
				once.Do(func() { up <- struct{}{} })
			}
		})
	}
	describe := func(a, b *webrtc.PeerConnection, make func() (webrtc.SessionDescription, error)) {
		t.Helper()
		d, err := make()
		if err != nil {
			t.Fatal(err)
		}
		gathered := webrtc.GatheringCompletePromise(a)
		if err := a.SetLocalDescription(d); err != nil {
			t.Fatal(err)
		}
		<-gathered
		if err := b.SetRemoteDescription(*a.LocalDescription()); err != nil {
			t.Fatal(err)
		}
	}
	describe(from, to, func() (webrtc.SessionDescription, error) { return from.CreateOffer(nil) })
	describe(to, from, func() (webrtc.SessionDescription, error) { return to.CreateAnswer(nil) })
	for range 2 {
		select {
		case <-up:
		case <-ctx.Done():
			t.Fatal("not connected")
		}
	}
}

// clip gives the packets of n pictures of many sizes, 33 ms apart, the first and each
// tenth with parameter sets and 100 kB.
func clip(n int, start media.Time) (p []*media.Packet) {
	for i := range n {
		k := media.NewPacket(nil)
		if k.Key = i%10 == 0; k.Key {
			k.Data = accessUnit(unit(0x67, 25), unit(0x68, 6), unit(0x65, 100_000+i))
		} else {
			k.Data = accessUnit(unit(0x41, 1+i*i*37%16_000))
		}
		k.Marks[media.Captured] = start.Add(time.Duration(i) * 33 * time.Millisecond)
		p = append(p, k)
	}
	return p
}

// pictures puts a watcher's packets in order and together again.
func pictures(t *testing.T, packets []*rtp.Packet) (units [][][]byte, stamps []uint32, last []*rtp.Packet) {
	t.Helper()
	slices.SortStableFunc(packets, func(a, b *rtp.Packet) int { return int(int16(a.SequenceNumber - b.SequenceNumber)) })
	packets = slices.CompactFunc(packets, func(a, b *rtp.Packet) bool { return a.SequenceNumber == b.SequenceNumber })
	var payloads [][]byte
	for i, p := range packets {
		if i > 0 && p.SequenceNumber != packets[i-1].SequenceNumber+1 {
			t.Fatalf("%d follows %d", p.SequenceNumber, packets[i-1].SequenceNumber)
		}
		if n := p.MarshalSize(); n+srtpTag > mtu {
			t.Errorf("packet of %d bytes", n)
		}
		payloads = append(payloads, p.Payload)
		if !p.Marker {
			continue
		}
		nals, err := depacketize(payloads)
		if err != nil {
			t.Fatal(err)
		}
		units, stamps, last, payloads = append(units, nals), append(stamps, p.Timestamp), append(last, p), nil
	}
	if len(payloads) > 0 {
		t.Error("the last picture has no marker")
	}
	return units, stamps, last
}

// complete counts whole pictures, of which any packet may come late.
func complete(packets []*rtp.Packet) int {
	seen := map[uint16]bool{}
	markers := map[uint16]bool{}
	for _, p := range packets {
		seen[p.SequenceNumber] = true
		if p.Marker {
			markers[p.SequenceNumber] = true
		}
	}
	if len(packets) == 0 {
		return 0
	}
	lo, hi := packets[0].SequenceNumber, packets[0].SequenceNumber
	for s := range seen {
		if int16(s-lo) < 0 {
			lo = s
		}
		if int16(s-hi) > 0 {
			hi = s
		}
	}
	for s := lo; s != hi; s++ {
		if !seen[s] {
			return -1
		}
	}
	return len(markers)
}

func check(t *testing.T, sent []*media.Packet, got []*rtp.Packet) (stamps []uint32, last []*rtp.Packet) {
	t.Helper()
	units, stamps, last := pictures(t, got)
	if len(units) != len(sent) {
		t.Fatalf("%d pictures of %d", len(units), len(sent))
	}
	for i, p := range sent {
		if !same(wanted(p.Data), units[i]) {
			t.Fatalf("picture %d differs", i)
		}
		if want := uint32(i * 33 * 90); stamps[i]-stamps[0] != want && stamps[i]-stamps[0] != want-1 && stamps[i]-stamps[0] != want+1 {
			t.Errorf("picture %d is %d ticks after the first, want %d", i, stamps[i]-stamps[0], want)
		}
	}
	return stamps, last
}

// pace calls f at a clip's rate, only faster.
func pace[T any](all []T, f func(T)) {
	tick := time.NewTicker(4 * time.Millisecond)
	defer tick.Stop()
	for _, v := range all {
		f(v)
		<-tick.C
	}
}
