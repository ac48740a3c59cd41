package room

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/nack"
	"github.com/pion/interceptor/pkg/report"
	"github.com/pion/logging"
	"github.com/pion/rtcp"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"

	"anchord/rtc"
)

// RTP header extensions that are carried from an anchor to its viewers (RFC 6464; 3GPP TS
// 26.114 section 7.4.5).
const (
	levelURI = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
	turnURI  = "urn:3gpp:video-orientation"
)

// profiles are the H.264 profiles that are agreed to: constrained baseline, baseline, main,
// constrained high and high. The level is the sender's to choose.
var profiles = []string{"42e01f", "42001f", "4d001f", "640c1f", "640028"}

// wire is what all sessions share while the server runs: the one socket and the certificate.
type wire struct {
	mux       *ice.UDPMuxDefault
	addr      *net.UDPAddr
	advertise []string
	cert      webrtc.Certificate
	log       logging.LoggerFactory
}

func openWire(ctx context.Context, cfg Config) (*wire, error) {
	pc, err := (&net.ListenConfig{}).ListenPacket(ctx, "udp", cfg.UDPListen)
	if err != nil {
		return nil, fmt.Errorf("open room UDP address %s: %w (is another program using it?)", cfg.UDPListen, err)
	}
	conn := pc.(*net.UDPConn)
	// A key frame to many viewers is one burst. The kernel grants what its limits allow.
	_ = conn.SetWriteBuffer(4 << 20)
	_ = conn.SetReadBuffer(2 << 20)
	w := &wire{addr: conn.LocalAddr().(*net.UDPAddr), log: rtc.PionLog(cfg.Log)}
	if w.advertise, err = resolve(ctx, cfg.Advertise); err == nil {
		w.cert, err = newCertificate()
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	w.mux = ice.NewUDPMuxDefault(ice.UDPMuxParams{UDPConn: conn, Logger: w.log.NewLogger("mux")})
	return w, nil
}

func newCertificate() (webrtc.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return webrtc.Certificate{}, fmt.Errorf("make room key: %w", err)
	}
	cert, err := webrtc.GenerateCertificate(key)
	if err != nil {
		return webrtc.Certificate{}, fmt.Errorf("make room certificate: %w", err)
	}
	return *cert, nil
}

// resolve turns what is to be advertised into addresses.
func resolve(ctx context.Context, names []string) ([]string, error) {
	var out []string
	for _, name := range names {
		if a, err := netip.ParseAddr(name); err == nil {
			out = append(out, a.String())
			continue
		}
		addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", name)
		if err != nil {
			return nil, fmt.Errorf("resolve advertised host %s: %w (write its address instead)", name, err)
		}
		for _, a := range addrs {
			out = append(out, a.Unmap().String())
		}
	}
	return out, nil
}

// connect makes a PeerConnection for an anchor or a viewer. nacks counts what is asked for again;
// flood is told when the peer makes more streams, or pings from more addresses, than any honest
// one; it may be called again.
func (w *wire) connect(anchor bool, nacks *atomic.Uint64, flood func()) (*webrtc.PeerConnection, error) {
	media := &webrtc.MediaEngine{}
	registry := &interceptor.Registry{}
	if err := register(media, registry, anchor, nacks); err != nil {
		return nil, err
	}
	var set webrtc.SettingEngine
	set.LoggerFactory = w.log
	set.SetICEUDPMux(oneDoor{w.mux})
	set.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	set.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeUDP6})
	set.SetIncludeLoopbackCandidate(true)
	set.SetSRTPProtectionProfiles(rtc.Ciphers()...)
	set.SetFireOnTrackBeforeFirstRTP(true) // so that an anchor that saves its encoder can be asked for a key frame
	set.SetICEBindingRequestHandler((&roam{flood: flood}).asked)
	// The window keeps an anchor from having two packets encrypted under one number (RFC 7714
	// section 8.1), and has to be wide: a packet that was asked for again comes hundreds of packets
	// late, and pion's own is 64.
	set.SetSRTPReplayProtectionWindow(2 * ringSize)
	set.SetSRTCPReplayProtectionWindow(64)
	unread := 64 << 10 // of a viewer: nobody reads it
	if anchor {
		unread = 1 << 20
	}
	rtc.BoundStreams(&set, unread, flood)
	if anchor {
		// Each ping's answer is a sign of life of an anchor that sends no media.
		set.SetICETimeouts(5*time.Second, leaveAfter, time.Second)
	} else {
		set.SetICETimeouts(5*time.Second, connectLimit, 2*time.Second)
	}
	api := webrtc.NewAPI(webrtc.WithMediaEngine(media), webrtc.WithInterceptorRegistry(registry), webrtc.WithSettingEngine(set))
	return api.NewPeerConnection(webrtc.Configuration{
		Certificates: []webrtc.Certificate{w.cert},
		BundlePolicy: webrtc.BundlePolicyMaxBundle,
	})
}

// register sets the codecs, header extensions and interceptors of one leg. No leg has RTX: on
// the receiving one pion would ask for the same packets again and again (pion/webrtc issue
// 3063), and the sending one answers with the packet itself.
func register(media *webrtc.MediaEngine, registry *interceptor.Registry, anchor bool, nacks *atomic.Uint64) error {
	feedback := []webrtc.RTCPFeedback{{Type: "nack"}, {Type: "nack", Parameter: "pli"}, {Type: "ccm", Parameter: "fir"}}
	for i, profile := range profiles {
		if err := media.RegisterCodec(webrtc.RTPCodecParameters{
			RTPCodecCapability: webrtc.RTPCodecCapability{
				MimeType: webrtc.MimeTypeH264, ClockRate: 90000, RTCPFeedback: feedback,
				SDPFmtpLine: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=" + profile,
			},
			PayloadType: webrtc.PayloadType(102 + i),
		}, webrtc.RTPCodecTypeVideo); err != nil {
			return err
		}
	}
	if err := media.RegisterCodec(webrtc.RTPCodecParameters{
		RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2, SDPFmtpLine: "minptime=10;useinbandfec=1",
		},
		PayloadType: 111,
	}, webrtc.RTPCodecTypeAudio); err != nil {
		return err
	}
	for _, e := range []struct {
		uri  string
		kind webrtc.RTPCodecType
	}{
		{sdp.SDESMidURI, webrtc.RTPCodecTypeVideo}, {sdp.SDESMidURI, webrtc.RTPCodecTypeAudio},
		{turnURI, webrtc.RTPCodecTypeVideo}, {levelURI, webrtc.RTPCodecTypeAudio},
	} {
		if err := media.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: e.uri}, e.kind); err != nil {
			return err
		}
	}
	if !anchor {
		return nil // the sinks do themselves what a viewer needs
	}
	asker, err := nack.NewGeneratorInterceptor(nack.GeneratorInterval(50*time.Millisecond), nack.GeneratorMaxNacksPerPacket(20))
	if err != nil {
		return err
	}
	reports, err := report.NewReceiverInterceptor()
	if err != nil {
		return err
	}
	registry.Add(nackCounter{n: nacks})
	registry.Add(asker)
	registry.Add(reports)
	return webrtc.ConfigureTWCCSender(media, registry)
}

// nackCounter counts the packets that are asked for again.
type nackCounter struct {
	interceptor.NoOp
	n *atomic.Uint64
}

// NewInterceptor makes nackCounter its own factory: it has no state for one connection.
func (c nackCounter) NewInterceptor(string) (interceptor.Interceptor, error) { return &c, nil }

// BindRTCPWriter sees all RTCP on its way out.
func (c *nackCounter) BindRTCPWriter(w interceptor.RTCPWriter) interceptor.RTCPWriter {
	return interceptor.RTCPWriterFunc(func(packets []rtcp.Packet, a interceptor.Attributes) (int, error) {
		for _, p := range packets {
			if p, ok := p.(*rtcp.TransportLayerNack); ok {
				for _, pair := range p.Nacks {
					pair.Range(func(uint16) bool { c.n.Add(1); return true })
				}
			}
		}
		return w.Write(packets, a)
	})
}

// extensionID finds the id of the extension that is carried on.
func extensionID(all []webrtc.RTPHeaderExtensionParameter, video bool) byte {
	uri := levelURI
	if video {
		uri = turnURI
	}
	for _, e := range all {
		if e.URI == uri && e.ID > 0 && e.ID < 15 {
			return byte(e.ID)
		}
	}
	return 0
}
