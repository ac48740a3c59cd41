package rtc

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"

	"anchord/internal/media"
)

// LinkConfig says how media leaves.
type LinkConfig struct {
	Log          *slog.Logger
	Video, Audio *Track // nil: not published
	Port         int    // UDP port, 0: any
	Loopback     bool   // offer loopback addresses as well
	TWCC         bool   // number packets for a bandwidth estimator (transport-wide-cc); costs feedback
	// Settings, if not nil, may change pion's settings last.
	Settings func(*webrtc.SettingEngine)
}

// Link is what one session sends through: a UDP socket that sends a picture in one
// system call, ICE's mux above it, and the pion API that is set up for them. Open one
// for each PeerConnection: addresses are gathered anew and old packets cannot reach
// it.
type Link struct {
	api  *webrtc.API
	sock *socket
	mux  *ice.UDPMuxDefault
}

// OpenLink opens the socket on all interfaces. Close it after the PeerConnection.
func OpenLink(c LinkConfig) (*Link, error) {
	engine, err := codecs(c)
	if err != nil {
		return nil, err
	}
	sock, err := openSocket(c.Port)
	if err != nil {
		return nil, err
	}
	l := &Link{sock: sock}
	logs := PionLog(c.Log)
	l.mux = ice.NewUDPMuxDefault(ice.UDPMuxParams{Logger: logs.NewLogger("mux"), UDPConn: sock})
	var s webrtc.SettingEngine
	s.LoggerFactory = logs
	s.SetICEUDPMux(l.mux)
	s.SetIncludeLoopbackCandidate(c.Loopback)
	s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	s.SetICETimeouts(2*time.Second, 6*time.Second, 500*time.Millisecond)
	// pion gives a way up after seven pings, 1.4 s: a network that comes back a moment later would
	// not be seen by the attempt that waits for it.
	s.SetICEMaxBindingRequests(uint16(connectWithin / (200 * time.Millisecond)))
	s.SetSRTCPReplayProtectionWindow(64)
	s.SetSRTPProtectionProfiles(Ciphers()...)
	if c.Settings != nil {
		c.Settings(&s)
	}
	var registry interceptor.Registry
	registry.Add(&factory{tracks: []*Track{c.Video, c.Audio}, sock: sock, clock: newWall()})
	l.api = webrtc.NewAPI(webrtc.WithMediaEngine(engine), webrtc.WithInterceptorRegistry(&registry), webrtc.WithSettingEngine(s))
	return l, nil
}

// API makes the PeerConnection.
func (l *Link) API() *webrtc.API { return l.api }

// Wire counts what the link's socket did since it was opened.
type Wire struct {
	Messages uint64 // system calls' messages: with GSO one carries many packets
	Packets  uint64 // of all kinds
	Lost     uint64 // packets that the kernel refused or that waited too long
	GSO      bool   // pictures leave as one message
}

// Wire gives the socket's counters.
func (l *Link) Wire() Wire {
	c := &l.sock.sent
	return Wire{Messages: c.messages.Load(), Packets: c.packets.Load(), Lost: c.lost.Load(), GSO: l.sock.mode.Load() == modeGSO}
}

// Close closes the socket and waits until nobody reads it any more.
func (l *Link) Close() error {
	err := l.mux.Close()
	l.sock.quiet()
	return err
}

// codecs says what is offered: H.264 constrained baseline, which all browsers decode,
// and Opus.
func codecs(c LinkConfig) (*webrtc.MediaEngine, error) {
	var m webrtc.MediaEngine
	video := []webrtc.RTCPFeedback{{Type: "goog-remb"}, {Type: "ccm", Parameter: "fir"}, {Type: "nack"}, {Type: "nack", Parameter: "pli"}}
	var audio []webrtc.RTCPFeedback
	if c.TWCC {
		twcc := webrtc.RTCPFeedback{Type: webrtc.TypeRTCPFBTransportCC}
		video, audio = append(video, twcc), append(audio, twcc)
	}
	if err := m.RegisterCodec(webrtc.RTPCodecParameters{
		RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeH264, ClockRate: 90000,
			SDPFmtpLine:  "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
			RTCPFeedback: video},
		PayloadType: 102}, webrtc.RTPCodecTypeVideo); err != nil {
		return nil, fmt.Errorf("register H.264: %w", err)
	}
	if err := m.RegisterCodec(webrtc.RTPCodecParameters{
		RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2,
			SDPFmtpLine: "minptime=10;useinbandfec=1", RTCPFeedback: audio},
		PayloadType: 111}, webrtc.RTPCodecTypeAudio); err != nil {
		return nil, fmt.Errorf("register Opus: %w", err)
	}
	for _, e := range []struct {
		uri  string
		kind webrtc.RTPCodecType
		on   bool
	}{
		{sdp.SDESMidURI, webrtc.RTPCodecTypeVideo, true},
		{sdp.SDESMidURI, webrtc.RTPCodecTypeAudio, true},
		{videoOrientationURI, webrtc.RTPCodecTypeVideo, true},
		{sdp.AudioLevelURI, webrtc.RTPCodecTypeAudio, true},
		{sdp.TransportCCURI, webrtc.RTPCodecTypeVideo, c.TWCC},
		{sdp.TransportCCURI, webrtc.RTPCodecTypeAudio, c.TWCC},
	} {
		if !e.on {
			continue
		}
		if err := m.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: e.uri}, e.kind); err != nil {
			return nil, fmt.Errorf("register header extension %s: %w", e.uri, err)
		}
	}
	return &m, nil
}

// wall maps the monotonic clock to NTP time (RFC 3550 4) by an offset that is chosen
// once: sound and picture share it, and a wall clock that is set while the session
// lives does not tear them apart.
type wall struct{ offset time.Duration }

func newWall() wall { return wall{time.Duration(time.Now().UnixNano() - int64(media.Now()))} }

// ntp gives t in seconds since 1900 as 32.32 fixed point.
func (w wall) ntp(t media.Time) uint64 {
	const since1900 = 2208988800 // to 1970
	ns := uint64(t.Add(w.offset))
	s, frac := ns/uint64(time.Second), ns%uint64(time.Second)
	return (s+since1900)<<32 | frac<<32/uint64(time.Second)
}
