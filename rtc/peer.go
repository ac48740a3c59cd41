package rtc

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"
)

// Policy says which ways ICE may take.
type Policy string

// The policies.
const (
	AllWays   Policy = "all"
	RelayOnly Policy = "relay" // by TURN only
)

// Times of a connection.
const (
	quietAfter   = 2 * time.Second        // nothing arrives for so long: lost
	failedAfter  = 30 * time.Second       // and for so much longer: never comes back by itself
	pingEvery    = 500 * time.Millisecond // so that quiet means lost
	gatherWithin = 300 * time.Millisecond // what is found later is trickled
	closeWithin  = 5 * time.Second
)

// errNoPath says that signalling worked and media found no way.
var errNoPath = errors.New("the room answered, but no media gets through: UDP may be blocked; allow it or configure a TURN server (ice.servers)")

// way is what a session needs of a connection; a peer, or a test's.
type way interface {
	// Offer gives an offer with the candidates that were found at once.
	Offer(ctx context.Context) (string, error)
	// Answer applies the call's answer; what happens next is told by events.
	Answer(ctx context.Context, c Call) error
	// Restart restarts ICE.
	Restart(ctx context.Context, c Call) error
	// Path names the selected pair of addresses; empty: none.
	Path() string
	// Close ends it and waits, but not for ever.
	Close()
}

// peer is one PeerConnection with the link under it.
type peer struct {
	log  *slog.Logger
	link *Link
	pc   *webrtc.PeerConnection
	work sync.WaitGroup

	mu       sync.Mutex
	known    map[string]bool // candidates that are in an offer or were trickled
	late     []Candidate
	gathered bool
	found    chan struct{}
	quit     context.CancelFunc // ends trickling
}

// openPeer makes a connection that sends both tracks, whether or not there is a camera
// or a microphone yet: both may come later, without negotiating again. say is called
// from pion's goroutines with evUp, evQuiet, evHeard and evDown; it must not block.
func openPeer(c Config, video, audio *Track, servers []ICEServer, say func(kind)) (*peer, error) {
	link, err := OpenLink(LinkConfig{Log: c.Log, Video: video, Audio: audio, Port: c.Port, Loopback: c.Loopback,
		Settings: func(s *webrtc.SettingEngine) {
			// A longer time to the end: what was lost for half a minute comes back by itself.
			s.SetICETimeouts(quietAfter, failedAfter, pingEvery)
			BoundStreams(s, 64<<10, func() {
				c.Log.Warn("the room floods this connection with streams: it is left")
				say(evDown)
			})
			if c.Policy == RelayOnly {
				s.SetRelayAcceptanceMinWait(100 * time.Millisecond)
			}
			if c.Settings != nil {
				c.Settings(s)
			}
		}})
	if err != nil {
		return nil, fmt.Errorf("open the media link: %w", err)
	}
	p := &peer{log: c.Log, link: link, known: map[string]bool{}, found: make(chan struct{}, 1)}
	var conf webrtc.Configuration
	for _, s := range servers {
		conf.ICEServers = append(conf.ICEServers, webrtc.ICEServer{URLs: s.URLs, Username: s.Username, Credential: s.Credential.Reveal()})
	}
	if c.Policy == RelayOnly {
		conf.ICETransportPolicy = webrtc.ICETransportPolicyRelay
	}
	if p.pc, err = link.API().NewPeerConnection(conf); err != nil {
		_ = link.Close()
		return nil, fmt.Errorf("open a connection: %w", err)
	}
	for _, t := range []*Track{video, audio} {
		tr, err := p.pc.AddTransceiverFromTrack(t, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
		if err != nil {
			p.Close()
			return nil, fmt.Errorf("add the %s track: %w", t.ID(), err)
		}
		s := tr.Sender()
		p.work.Go(func() { drain(s) })
	}
	p.watch(say)
	return p, nil
}

// drain reads a sender's RTCP: pion's interceptors see only what is read.
func drain(s *webrtc.RTPSender) {
	b := make([]byte, 1500)
	for {
		if _, _, err := s.Read(b); err != nil {
			return
		}
	}
}

// watch turns pion's states into events.
func (p *peer) watch(say func(kind)) {
	p.pc.OnICECandidate(func(c *webrtc.ICECandidate) {
		p.mu.Lock()
		if c == nil {
			p.gathered = true
		} else {
			init := c.ToJSON()
			k := Candidate{Value: init.Candidate}
			if init.SDPMid != nil {
				k.Mid = *init.SDPMid
			}
			if init.SDPMLineIndex != nil {
				k.Line = int(*init.SDPMLineIndex)
			}
			p.late = append(p.late, k)
		}
		p.mu.Unlock()
		select {
		case p.found <- struct{}{}:
		default:
		}
	})
	p.pc.OnICEConnectionStateChange(func(s webrtc.ICEConnectionState) {
		switch s {
		case webrtc.ICEConnectionStateDisconnected:
			say(evQuiet)
		case webrtc.ICEConnectionStateConnected, webrtc.ICEConnectionStateCompleted:
			say(evHeard)
		case webrtc.ICEConnectionStateFailed:
			say(evDown)
		}
	})
	p.pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		switch s {
		case webrtc.PeerConnectionStateConnected:
			say(evUp)
		case webrtc.PeerConnectionStateFailed, webrtc.PeerConnectionStateClosed:
			say(evDown) // by DTLS too: the other side said goodbye
		}
	})
}

// Offer gives an offer with the candidates that were found within gatherWithin.
func (p *peer) Offer(ctx context.Context) (string, error) { return p.offer(ctx, nil) }

func (p *peer) offer(ctx context.Context, o *webrtc.OfferOptions) (string, error) {
	offer, err := p.pc.CreateOffer(o)
	if err != nil {
		return "", fmt.Errorf("make an offer: %w", err)
	}
	p.mu.Lock()
	p.gathered, p.late = false, nil
	p.mu.Unlock()
	all := webrtc.GatheringCompletePromise(p.pc)
	if err := p.pc.SetLocalDescription(offer); err != nil {
		return "", fmt.Errorf("apply our own offer: %w", err)
	}
	t := time.NewTimer(gatherWithin)
	defer t.Stop()
	select {
	case <-all:
	case <-t.C:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	d := p.pc.LocalDescription()
	if d == nil {
		return "", errors.New("the connection was closed")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known = candidatesIn(d.SDP)
	return d.SDP, nil
}

// Answer applies the answer and trickles what is found later.
func (p *peer) Answer(_ context.Context, c Call) error {
	if err := p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: c.Answer()}); err != nil {
		return fmt.Errorf("apply the room's answer: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background()) // Close ends it
	p.mu.Lock()
	p.quit = cancel
	p.mu.Unlock()
	p.work.Go(func() { p.trickle(ctx, c) })
	return nil
}

// trickle passes candidates on as they are found.
func (p *peer) trickle(ctx context.Context, c Call) {
	for ctx.Err() == nil {
		p.mu.Lock()
		var fresh []Candidate
		for _, k := range p.late {
			if !p.known[k.Value] {
				p.known[k.Value] = true
				fresh = append(fresh, k)
			}
		}
		done := p.gathered
		p.mu.Unlock()
		if len(fresh) > 0 {
			switch err := c.Trickle(ctx, fresh, done); {
			case errors.Is(err, ErrNoTrickle):
				p.log.Debug("the room takes no late candidates", "lost", len(fresh))
				return
			case err != nil && ctx.Err() == nil:
				p.log.Debug("candidates not sent", "err", err)
			}
		}
		select {
		case <-p.found:
		case <-ctx.Done():
		}
	}
}

// reacher is a call that can say whether its room answers at all. Restarting ICE ends
// the old path for good, so it is asked first.
type reacher interface {
	Reach(ctx context.Context) error
}

// errHalfway says that an ICE restart was begun and not answered: the old path is gone
// and there is no new one.
var errHalfway = errors.New("ICE restart was not answered")

// Restart restarts ICE.
func (p *peer) Restart(ctx context.Context, c Call) error {
	if r, ok := c.(reacher); ok {
		if err := r.Reach(ctx); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	offer, err := p.offer(ctx, &webrtc.OfferOptions{ICERestart: true})
	if err != nil {
		return fmt.Errorf("%w: %w", errHalfway, err)
	}
	answer, err := c.Restart(ctx, offer)
	if err != nil {
		return fmt.Errorf("%w: %w", errHalfway, err)
	}
	if err := p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}); err != nil {
		return fmt.Errorf("%w: apply the room's answer: %w", errHalfway, err)
	}
	return nil
}

// Path names the selected pair.
func (p *peer) Path() string {
	for _, s := range p.pc.GetSenders() {
		if s.Transport() == nil {
			continue
		}
		pair, err := s.Transport().ICETransport().GetSelectedCandidatePair()
		if err != nil || pair == nil {
			continue
		}
		return fmt.Sprintf("%s:%d (%s) to %s:%d (%s)", pair.Local.Address, pair.Local.Port, pair.Local.Typ,
			pair.Remote.Address, pair.Remote.Port, pair.Remote.Typ)
	}
	return ""
}

// Close ends the connection; a library that hangs is left behind, and said so.
func (p *peer) Close() {
	p.mu.Lock()
	if p.quit != nil {
		p.quit()
	}
	p.mu.Unlock()
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		if err := p.pc.GracefulClose(); err != nil {
			p.log.Debug("connection closed", "err", err)
		}
		if err := p.link.Close(); err != nil {
			p.log.Debug("media link closed", "err", err)
		}
		p.work.Wait()
	}()
	t := time.NewTimer(closeWithin)
	defer t.Stop()
	select {
	case <-closed:
	case <-t.C:
		p.log.Warn("a connection does not close, it is left behind", "after", closeWithin)
	}
}

// candidatesIn gives the candidates of a description.
func candidatesIn(sdp string) map[string]bool {
	found := map[string]bool{}
	for l := range strings.Lines(sdp) {
		if v, ok := strings.CutPrefix(strings.TrimRight(l, "\r\n"), "a="); ok && strings.HasPrefix(v, "candidate:") {
			found[v] = true
		}
	}
	return found
}
