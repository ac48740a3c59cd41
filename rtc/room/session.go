package room

import (
	"context"
	"crypto/rand"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"
)

// session is one peer's connection: an anchor's or a viewer's. What the server's lock guards
// is said so; the rest is fixed once the session is entered.
type session struct {
	id     string // unguessable: who knows it may end it
	server *Server
	room   *hall
	user   string // of an anchor: its own; of a viewer: its own, may be empty
	anchor *anchor
	sends  bool   // an anchor's session
	person string // whom a viewer's session counts for
	pc     *webrtc.PeerConnection
	wire   *wire
	near   bool    // the peer is on this machine
	sinks  []*sink // a viewer's
	born   time.Time
	over   chan struct{} // closed when it ends
	inside bool          // the peer is part of this process

	clock clock // an anchor's
	nacks atomic.Uint64

	connected bool // guarded by Server.mu

	mu    sync.Mutex // one negotiation at a time
	offer offer      // the last one
	text  string     // its SDP
	etag  string
	tried int // candidates that were trickled since ICE began

	// For the server's rounds only.
	answers uint64    // ICE checks answered, as last seen
	asked   time.Time // when that was
	heardAt time.Time // the last of them that was new
}

func (s *session) isOver() bool {
	select {
	case <-s.over:
		return true
	default:
		return false
	}
}

// send gives the peer a RTCP packet.
func (s *session) send(p rtcp.Packet) error { return s.pc.WriteRTCP([]rtcp.Packet{p}) }

// accept answers the first offer.
func (s *session) accept(ctx context.Context, text string, o offer) (answer string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text, s.offer = text, o
	return s.negotiate(ctx)
}

// negotiate answers s.text. s.mu is held.
func (s *session) negotiate(ctx context.Context) (string, error) {
	if err := s.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: s.text}); err != nil {
		return "", problem(http.StatusBadRequest, "bad_sdp", "the offer cannot be used", "%v", err)
	}
	answer, err := s.pc.CreateAnswer(nil)
	if err != nil {
		return "", problem(http.StatusUnprocessableEntity, "no_common_codec", "there is no answer to this offer", "%v; offer H.264 (packetization-mode=1) and Opus", err)
	}
	if refusedSection(answer.SDP) {
		return "", problem(http.StatusUnprocessableEntity, "no_common_codec", "no common codec", "offer H.264 (packetization-mode=1) for video and Opus for audio")
	}
	gathered := webrtc.GatheringCompletePromise(s.pc)
	if err := s.pc.SetLocalDescription(answer); err != nil {
		return "", problem(http.StatusUnprocessableEntity, "unusable_offer", "the offer cannot be used", "%v", err)
	}
	select {
	case <-gathered:
	case <-s.over:
		return "", stopping()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	s.etag = `"` + rand.Text()[:12] + `"`
	return s.wire.named(s.pc.LocalDescription().SDP, s.near), nil
}

// restart begins ICE anew under the peer's new credentials; the media goes on. It gives the
// whole answer.
func (s *session) restart(ctx context.Context, ufrag, pwd string) (answer string, err error) {
	if s.isOver() {
		return "", noSession()
	}
	s.text = withCredentials(s.text, ufrag, pwd)
	s.offer.ufrag, s.offer.pwd = ufrag, pwd
	s.tried = 0 // the old candidates are forgotten
	return s.negotiate(ctx)
}

// maxTrickled bounds the candidates of one session until it restarts ICE: each is pinged from every address that the
// server has, wherever it leads.
const maxTrickled = 4 * maxCandidates

// trickle takes candidates in. s.mu is held.
func (s *session) trickle(f fragment) error {
	if s.tried += len(f.candidates); s.tried > maxTrickled {
		return problem(http.StatusUnprocessableEntity, "too_many_candidates", "there are too many candidates",
			"a session takes %d", maxTrickled)
	}
	for _, c := range f.candidates {
		mid := f.mid
		// A candidate that cannot be used, such as a .local name, is no reason to refuse the rest.
		if err := s.pc.AddICECandidate(webrtc.ICECandidateInit{Candidate: c, SDPMid: &mid}); err != nil {
			s.server.cfg.Log.Debug("candidate ignored", "room", s.room.id, "user", s.user, "error", err)
		}
	}
	return nil
}

// patch obeys a trickle fragment. match is the If-Match header field (RFC 9725 section 4.3):
// "*" with new credentials asks for an ICE restart. reply is empty for a mere trickle.
func (s *session) patch(ctx context.Context, match string, f fragment) (reply, etag string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fresh := f.ufrag != "" && f.ufrag != s.offer.ufrag
	switch {
	case match == "":
		return "", "", problem(http.StatusPreconditionRequired, "if_match_missing", "If-Match is missing",
			"send the ETag of the last answer, or * to restart ICE")
	case match == "*" && fresh:
		answer, err := s.restart(ctx, f.ufrag, f.pwd)
		if err != nil {
			return "", "", err
		}
		if err := s.trickle(f); err != nil {
			return "", "", err
		}
		return fragmentOf(answer), s.etag, nil
	case match != "*" && match != s.etag:
		return "", "", problem(http.StatusPreconditionFailed, "etag_changed", "the session has moved on",
			"ICE was restarted since; the present ETag is %s", s.etag)
	case fresh:
		return "", "", problem(http.StatusUnprocessableEntity, "wrong_ufrag", "the ICE credentials are not this session's",
			"use If-Match: * to restart ICE")
	}
	return "", s.etag, s.trickle(f)
}

// watchPeer makes the peer connection's states the server's.
func (s *session) watchPeer() {
	s.pc.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		switch state {
		case webrtc.PeerConnectionStateConnected:
			s.server.connected(s)
		case webrtc.PeerConnectionStateClosed: // by DTLS: the peer said goodbye
			s.server.end(s, "exit")
		case webrtc.PeerConnectionStateFailed:
			if !s.sends { // an anchor is given time to come back
				s.server.end(s, "timeout")
			}
		}
	})
	if !s.sends {
		return
	}
	s.pc.OnTrack(func(track *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
		video := track.Kind() == webrtc.RTPCodecTypeVideo
		src := &source{session: s, ssrc: uint32(track.SSRC()), relay: s.anchor.audio}
		if video {
			src.relay, src.ring = s.anchor.video, newRing()
		}
		src.ext = extensionID(receiver.GetParameters().HeaderExtensions, video)
		ok := s.server.spawn(func() { src.readReports(receiver) }) && s.server.spawn(func() {
			src.relay.start(src)
			defer src.relay.stop(src)
			src.read(track)
		})
		if !ok {
			return // the server stops and closes the connection
		}
	})
}

// hear gives the last sign of life besides media: answers to our ICE checks, one each second.
// It is called in each of the server's rounds while there is no media.
func (s *session) hear(now time.Time) time.Time {
	lately := now.Sub(s.asked) < 4*tick
	s.asked = now
	if s.heardAt.IsZero() {
		s.heardAt = s.born
	}
	for _, t := range s.pc.GetTransceivers() {
		r := t.Receiver()
		if r == nil || r.Transport() == nil {
			continue
		}
		st, ok := r.Transport().ICETransport().GetSelectedCandidatePairStats()
		if ok && st.ResponsesReceived != s.answers {
			s.answers = st.ResponsesReceived
			if lately { // otherwise nobody knows when it came
				s.heardAt = now
			}
		}
		break
	}
	return s.heardAt
}

func noSession() *Problem {
	return problem(http.StatusNotFound, "no_session", "there is no such session", "it has ended or never was; enter again with POST")
}
