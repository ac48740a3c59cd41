// Package rtctest is a small WHIP server for tests: it takes what an anchor sends,
// counts it, and can be killed, started again, made silent and made to lose packets.
// It shares no code with the room server, so that both are tested against a stranger.
package rtctest

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/logging"
	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"
)

// Server is one server. Its methods may be called from any goroutine.
type Server struct {
	// Loss is how many of 100 packets are lost in each direction.
	Loss atomic.Int32
	// NoRestart makes the server refuse ICE restarts.
	NoRestart atomic.Bool

	silent atomic.Bool
	video  atomic.Uint64
	audio  atomic.Uint64
	posts  atomic.Uint64
	patch  atomic.Uint64

	mu       sync.Mutex
	addr     string
	http     *http.Server
	mux      *ice.UDPMuxDefault
	api      *webrtc.API
	sessions map[string]*session
	work     sync.WaitGroup
}

type session struct {
	pc    *webrtc.PeerConnection
	offer string
}

// Start starts the server, after Kill at the same address.
func (s *Server) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.http != nil {
		return errors.New("it runs already")
	}
	udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return err
	}
	s.silent.Store(false)
	quiet := logging.NewDefaultLoggerFactory()
	quiet.DefaultLogLevel = logging.LogLevelDisabled
	s.mux = ice.NewUDPMuxDefault(ice.UDPMuxParams{UDPConn: &wire{udp, s}, Logger: quiet.NewLogger("mux")})
	var m webrtc.MediaEngine
	if err := m.RegisterDefaultCodecs(); err != nil {
		return err
	}
	var r interceptor.Registry
	if err := webrtc.RegisterDefaultInterceptors(&m, &r); err != nil {
		return err
	}
	e := webrtc.SettingEngine{LoggerFactory: quiet}
	e.SetICEUDPMux(s.mux)
	e.SetIncludeLoopbackCandidate(true)
	s.api = webrtc.NewAPI(webrtc.WithMediaEngine(&m), webrtc.WithInterceptorRegistry(&r), webrtc.WithSettingEngine(e))
	s.sessions = map[string]*session{}
	at := s.addr
	if at == "" {
		at = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", at)
	if err != nil {
		_ = s.mux.Close()
		return err
	}
	s.addr = l.Addr().String()
	s.http = &http.Server{Handler: http.HandlerFunc(s.serve), ReadHeaderTimeout: time.Second}
	srv := s.http
	s.work.Go(func() { _ = srv.Serve(l) })
	return nil
}

// URL is where to POST.
func (s *Server) URL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return "http://" + s.addr + "/whip"
}

// Kill ends the server without a goodbye to anybody, and waits.
func (s *Server) Kill() {
	s.silent.Store(true)
	s.mu.Lock()
	srv, mux, sessions := s.http, s.mux, s.sessions
	s.http = nil
	s.sessions = map[string]*session{}
	s.mu.Unlock()
	if srv == nil {
		return
	}
	_ = srv.Close()
	for _, p := range sessions {
		_ = p.pc.GracefulClose()
	}
	s.work.Wait()
	_ = mux.Close()
}

// Silence stops media, and all else on UDP, in both directions.
func (s *Server) Silence(on bool) { s.silent.Store(on) }

// Received gives the packets of pictures and of sound that arrived, ever.
func (s *Server) Received() (video, audio uint64) { return s.video.Load(), s.audio.Load() }

// Sessions is how many were made, ever, and how many are there now.
func (s *Server) Sessions() (made uint64, now int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.posts.Load(), len(s.sessions)
}

// Restarts counts ICE restarts.
func (s *Server) Restarts() uint64 { return s.patch.Load() }

// Goodbye closes every connection as a server that shuts down does.
func (s *Server) Goodbye() {
	s.mu.Lock()
	sessions := s.sessions
	s.sessions = map[string]*session{}
	s.mu.Unlock()
	for _, p := range sessions {
		_ = p.pc.GracefulClose()
	}
}

// AskKey asks every anchor for a key picture.
func (s *Server) AskKey() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.sessions {
		for _, r := range p.pc.GetReceivers() {
			if t := r.Track(); t != nil && t.Kind() == webrtc.RTPCodecTypeVideo {
				_ = p.pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: uint32(t.SSRC())}})
			}
		}
	}
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(io.LimitReader(r.Body, 64<<10))
	if err != nil {
		return
	}
	s.mu.Lock()
	p := s.sessions[r.URL.Path]
	s.mu.Unlock()
	switch {
	case r.Method == http.MethodPost && r.URL.Path == "/whip":
		s.enter(w, string(b))
	case p == nil:
		http.NotFound(w, r)
	case r.Method == http.MethodDelete:
		s.mu.Lock()
		delete(s.sessions, r.URL.Path)
		s.mu.Unlock()
		s.work.Go(func() { _ = p.pc.GracefulClose() })
	case r.Method == http.MethodPatch && r.Header.Get("If-Match") == "*" && !s.NoRestart.Load():
		s.restart(w, p, string(b))
	default:
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
}

func (s *Server) enter(w http.ResponseWriter, offer string) {
	s.mu.Lock()
	pc, err := s.api.NewPeerConnection(webrtc.Configuration{})
	s.mu.Unlock()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	pc.OnTrack(func(t *webrtc.TrackRemote, rec *webrtc.RTPReceiver) {
		n := &s.audio
		if t.Kind() == webrtc.RTPCodecTypeVideo {
			n = &s.video
		}
		s.work.Go(func() {
			for {
				if _, _, err := rec.ReadRTCP(); err != nil {
					return
				}
			}
		})
		for b := make([]byte, 1500); ; n.Add(1) {
			if _, _, err := t.Read(b); err != nil {
				return
			}
		}
	})
	answer, err := negotiate(pc, offer)
	if err != nil {
		_ = pc.Close()
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	path := "/s/" + rand.Text()
	s.mu.Lock()
	s.sessions[path] = &session{pc, offer}
	s.mu.Unlock()
	s.posts.Add(1)
	w.Header().Set("Content-Type", "application/sdp")
	w.Header().Set("Location", path)
	w.WriteHeader(http.StatusCreated)
	_, _ = io.WriteString(w, answer)
}

func negotiate(pc *webrtc.PeerConnection, offer string) (string, error) {
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err != nil {
		return "", err
	}
	answer, err := pc.CreateAnswer(nil)
	if err != nil {
		return "", err
	}
	all := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(answer); err != nil {
		return "", err
	}
	<-all
	return pc.LocalDescription().SDP, nil
}

func (s *Server) restart(w http.ResponseWriter, p *session, fragment string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	offer := p.offer
	for _, key := range []string{"a=ice-ufrag:", "a=ice-pwd:"} {
		if was, now := attribute(offer, key), attribute(fragment, key); was != "" && now != "" {
			offer = strings.ReplaceAll(offer, key+was, key+now)
		}
	}
	answer, err := negotiate(p.pc, offer)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	p.offer = offer
	s.patch.Add(1)
	w.Header().Set("Content-Type", "application/trickle-ice-sdpfrag")
	_, _ = fmt.Fprintf(w, "a=ice-ufrag:%s\r\na=ice-pwd:%s\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=candidate:%s\r\n",
		attribute(answer, "a=ice-ufrag:"), attribute(answer, "a=ice-pwd:"), attribute(answer, "a=candidate:"))
}

func attribute(text, key string) string {
	_, after, _ := strings.Cut(text, key)
	v, _, _ := strings.Cut(after, "\r\n")
	return v
}

// wire is the UDP socket, with faults.
type wire struct {
	*net.UDPConn
	s *Server
}

func (w *wire) lost() bool {
	if w.s.silent.Load() {
		return true
	}
	loss := w.s.Loss.Load()
	if loss == 0 {
		return false
	}
	n, err := rand.Int(rand.Reader, big.NewInt(100))
	return err == nil && int32(n.Int64()) < loss
}

// ReadFrom reads the next packet that is not lost.
func (w *wire) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := w.UDPConn.ReadFrom(b)
		if err != nil || !w.lost() {
			return n, from, err
		}
	}
}

// WriteTo sends or loses a packet.
func (w *wire) WriteTo(b []byte, to net.Addr) (int, error) {
	if w.lost() {
		return len(b), nil
	}
	return w.UDPConn.WriteTo(b, to)
}
