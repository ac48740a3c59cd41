package rtc

import (
	"log/slog"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/webrtc/v4"
	webrtcmedia "github.com/pion/webrtc/v4/pkg/media"

	"anchord/internal/media"
)

// sink is a peer that takes packets and does nothing with them but what pion does.
func sink(b testing.TB) *watcher {
	return newWatcher(b, func(uint16) bool { return true }, webrtc.SettingEngine{})
}

// BenchmarkPicture sends pictures of 720p30 at 2.5 Mbit/s (9 packets) back to back to
// a pion peer in this process: its work and that of the kernel's loopback are in the
// times, the same for all rows. The allocations are those of both peers.
func BenchmarkPicture(b *testing.B) {
	pic := media.NewPacket(nil)
	pic.Data = picture720()
	for mode, words := range []string{"GSO", "sendmmsg", "sendmsg"} {
		b.Run("own/"+words, func(b *testing.B) {
			w := sink(b)
			defer w.close(b)
			video := NewVideoTrack("cam", nil)
			p := publish(b, LinkConfig{Video: video}, w)
			defer p.close(b)
			p.link.sock.mode.Store(int32(mode))
			pic.Marks[media.Captured] = media.Now()
			b.ReportAllocs()
			for b.Loop() {
				pic.Marks[media.Captured] = pic.Marks[media.Captured].Add(time.Second / 30)
				if _, err := video.WriteVideo(pic); err != nil {
					b.Fatal(err)
				}
			}
			perPacket(b, 9)
		})
	}
	b.Run("pion/WriteSample", func(b *testing.B) {
		w := sink(b)
		defer w.close(b)
		var s webrtc.SettingEngine
		s.SetIncludeLoopbackCandidate(true)
		s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
		s.SetSRTPProtectionProfiles(Ciphers()...)
		s.LoggerFactory = pionLog{slog.New(slog.DiscardHandler)}
		p := &publisher{}
		var err error
		if p.pc, err = webrtc.NewAPI(webrtc.WithSettingEngine(s)).NewPeerConnection(webrtc.Configuration{}); err != nil {
			b.Fatal(err)
		}
		track, err := webrtc.NewTrackLocalStaticSample(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeH264, ClockRate: 90000}, "video", "cam")
		if err != nil {
			b.Fatal(err)
		}
		x, err := p.pc.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
		if err != nil {
			b.Fatal(err)
		}
		p.drain(x.Sender())
		connect(b, p.pc, w.pc)
		defer p.close(b)
		sample := webrtcmedia.Sample{Data: pic.Data, Duration: time.Second / 30}
		b.ReportAllocs()
		for b.Loop() {
			if err := track.WriteSample(sample); err != nil {
				b.Fatal(err)
			}
		}
		perPacket(b, 9)
	})
}

func perPacket(b *testing.B, n int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/packet")
}
