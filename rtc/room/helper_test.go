package room

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"go.uber.org/goleak"

	"anchord/rtc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what should come at once.
const patience = 10 * time.Second

// start runs a server behind a real HTTP listener until the test ends.
func start(t testing.TB, cfg Config) (*Server, string) {
	t.Helper()
	cfg.Log = slog.New(slog.DiscardHandler)
	if cfg.Authorize == nil {
		cfg.Open = true
	}
	s := New(cfg)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	wait(t, "the server runs", func() bool { return s.Addr() != nil })
	web := httptest.NewServer(s.Handler())
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		web.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return s, web.URL
}

func wait(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("never came: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// peer is a client: one pion connection and its session on the server.
type peer struct {
	t         testing.TB
	pc        *webrtc.PeerConnection
	where     string // of the session
	header    http.Header
	connected chan struct{}

	video, audio *webrtc.TrackLocalStaticRTP
	vSender      *webrtc.RTPSender

	mu    sync.Mutex
	got   map[webrtc.RTPCodecType][]rtp.Packet
	srs   map[webrtc.RTPCodecType][]rtcp.SenderReport
	plis  int
	nacks int
	ssrcs map[webrtc.RTPCodecType]webrtc.SSRC
}

func newPeer(t testing.TB, build func(*webrtc.MediaEngine, *interceptor.Registry)) *peer {
	t.Helper()
	media := &webrtc.MediaEngine{}
	if err := register(media, &interceptor.Registry{}, false, nil); err != nil {
		t.Fatal(err)
	}
	registry := &interceptor.Registry{}
	if build != nil {
		build(media, registry)
	}
	var set webrtc.SettingEngine
	set.SetIncludeLoopbackCandidate(true)
	set.DisableSRTPReplayProtection(true) // so that tests can drop packets above SRTP and get them again
	set.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	set.LoggerFactory = rtc.PionLog(slog.New(slog.DiscardHandler))
	return newPeerWith(t, media, registry, set)
}

func newPeerWith(t testing.TB, media *webrtc.MediaEngine, registry *interceptor.Registry, set webrtc.SettingEngine) *peer {
	t.Helper()
	pc, err := webrtc.NewAPI(webrtc.WithMediaEngine(media), webrtc.WithInterceptorRegistry(registry), webrtc.WithSettingEngine(set)).
		NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{
		t: t, pc: pc, connected: make(chan struct{}),
		got:   map[webrtc.RTPCodecType][]rtp.Packet{},
		srs:   map[webrtc.RTPCodecType][]rtcp.SenderReport{},
		ssrcs: map[webrtc.RTPCodecType]webrtc.SSRC{},
	}
	var once sync.Once
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s == webrtc.PeerConnectionStateConnected {
			once.Do(func() { close(p.connected) })
		}
	})
	t.Cleanup(p.close)
	return p
}

func (p *peer) close() { _ = p.pc.GracefulClose() }

func (p *peer) offer() string {
	p.t.Helper()
	offer, err := p.pc.CreateOffer(nil)
	if err != nil {
		p.t.Fatal(err)
	}
	return p.local(offer)
}

func (p *peer) local(offer webrtc.SessionDescription) string {
	p.t.Helper()
	gathered := webrtc.GatheringCompletePromise(p.pc)
	if err := p.pc.SetLocalDescription(offer); err != nil {
		p.t.Fatal(err)
	}
	<-gathered
	return p.pc.LocalDescription().SDP
}

// enter POSTs the offer and waits for the connection.
func (p *peer) enter(url string) {
	p.t.Helper()
	res, text := do(p.t, http.MethodPost, url, typeSDP, p.offer(), nil)
	if res.StatusCode != http.StatusCreated {
		p.t.Fatalf("POST %s: %d %s", url, res.StatusCode, text)
	}
	where, err := res.Location()
	if err != nil {
		p.t.Fatal(err)
	}
	p.where, p.header = where.String(), res.Header
	p.answer(text)
}

func (p *peer) answer(text string) {
	p.t.Helper()
	if err := p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: text}); err != nil {
		p.t.Fatal(err)
	}
	select {
	case <-p.connected:
	case <-time.After(patience):
		p.t.Fatal("never connected")
	}
}

func do(t testing.TB, method, url, kind, body string, header http.Header) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	if host := header.Get("Host"); host != "" {
		req.Host = host
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(b)
}

// publisher makes a peer that sends H.264 and Opus; the test writes the packets.
func publisher(t testing.TB) *peer {
	t.Helper()
	return publisherWith(t, nil)
}

func publisherWith(t testing.TB, build func(*webrtc.MediaEngine, *interceptor.Registry)) *peer {
	t.Helper()
	p := newPeer(t, build)
	p.addTracks()
	return p
}

func (p *peer) addTracks() {
	p.t.Helper()
	var err error
	p.video, err = webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeH264, ClockRate: 90000,
		SDPFmtpLine: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"}, "v", "s")
	if err != nil {
		p.t.Fatal(err)
	}
	p.audio, err = webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}, "a", "s")
	if err != nil {
		p.t.Fatal(err)
	}
	for _, track := range []*webrtc.TrackLocalStaticRTP{p.audio, p.video} {
		tr, err := p.pc.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
		if err != nil {
			p.t.Fatal(err)
		}
		sender := tr.Sender()
		if track == p.video {
			p.vSender = sender
		}
		p.ssrcs[track.Kind()] = sender.GetParameters().Encodings[0].SSRC
		go func() {
			for {
				packets, _, err := sender.ReadRTCP()
				if err != nil {
					return
				}
				p.mu.Lock()
				for _, one := range packets {
					switch one := one.(type) {
					case *rtcp.PictureLossIndication:
						p.plis++
					case *rtcp.TransportLayerNack:
						for _, n := range one.Nacks {
							p.nacks += len(n.PacketList())
						}
					}
				}
				p.mu.Unlock()
			}
		}()
	}
}

// viewer makes a peer that keeps all it gets.
func viewer(t testing.TB) *peer {
	t.Helper()
	return viewerWith(t, nil)
}

func viewerWith(t testing.TB, build func(*webrtc.MediaEngine, *interceptor.Registry)) *peer {
	t.Helper()
	p := newPeer(t, build)
	for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeAudio, webrtc.RTPCodecTypeVideo} {
		if _, err := p.pc.AddTransceiverFromKind(kind, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
			t.Fatal(err)
		}
	}
	p.pc.OnTrack(func(track *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
		p.mu.Lock()
		p.ssrcs[track.Kind()] = track.SSRC()
		p.mu.Unlock()
		go func() {
			for {
				packets, _, err := receiver.ReadRTCP()
				if err != nil {
					return
				}
				for _, one := range packets {
					if sr, ok := one.(*rtcp.SenderReport); ok {
						p.mu.Lock()
						p.srs[track.Kind()] = append(p.srs[track.Kind()], *sr)
						p.mu.Unlock()
					}
				}
			}
		}()
		for {
			packet, _, err := track.ReadRTP()
			if err != nil {
				return
			}
			p.mu.Lock()
			p.got[track.Kind()] = append(p.got[track.Kind()], *packet)
			p.mu.Unlock()
		}
	})
	return p
}

func (p *peer) packets(kind webrtc.RTPCodecType) []rtp.Packet {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]rtp.Packet(nil), p.got[kind]...)
}

func (p *peer) count(of *int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return *of
}

// keyFrame is a made-up STAP-A of SPS and PPS and the start of an IDR slice; delta a made-up
// P slice. The last byte tells packets apart.
func keyFrame(n byte) []byte {
	return []byte{24, 0, 4, 0x67, 0x42, 0xe0, 0x1f, 0, 2, 0x68, 0xce, 0, 3, 0x65, 0x88, n}
}
func delta(n byte) []byte { return []byte{0x41, 0x9a, n} }

func (p *peer) sendVideo(seq uint16, ts uint32, payload []byte) {
	p.t.Helper()
	if err := p.video.WriteRTP(&rtp.Packet{Header: rtp.Header{Version: 2, Marker: true, SequenceNumber: seq, Timestamp: ts}, Payload: payload}); err != nil {
		p.t.Fatal(err)
	}
}

// stream is an open event stream.
type stream struct {
	events chan got
	cancel context.CancelFunc
}

type got struct {
	id, name string
	data     map[string]any
}

func listen(t testing.TB, url, after string) *stream {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if after != "" {
		req.Header.Set("Last-Event-ID", after)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %d", url, res.StatusCode)
	}
	st := &stream{events: make(chan got, 1000), cancel: cancel}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(st.events)
		defer res.Body.Close()
		var g got
		for lines := bufio.NewScanner(res.Body); lines.Scan(); {
			switch key, value, _ := strings.Cut(lines.Text(), ": "); key {
			case "id":
				g.id = value
			case "event":
				g.name = value
			case "data":
				_ = json.Unmarshal([]byte(value), &g.data)
			case "":
				if g.name != "" {
					st.events <- g
				}
				g = got{}
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return st
}

// next waits for an event of that name and skips others.
func (st *stream) next(t testing.TB, name string) got {
	t.Helper()
	late := time.After(patience)
	for {
		select {
		case g, ok := <-st.events:
			if !ok {
				t.Fatalf("the stream ended before %s", name)
			}
			if g.name == name {
				return g
			}
		case <-late:
			t.Fatalf("never came: event %s", name)
		}
	}
}
func idOf(p *peer) string { return p.where[strings.LastIndexByte(p.where, '/')+1:] }
