package bench

import (
	"context"
	"log/slog"
	"sync"
	"testing"

	"github.com/pion/interceptor"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"anchord/capture"
	"anchord/encoder"
	"anchord/hal"
	"anchord/hal/fake"
	"anchord/internal/media"
	"anchord/rtc"
)

// sink takes a track's RTP packets in pion's place and throws them away.
type sink struct{ packets, bytes int }

func (s *sink) WriteRTP(h *rtp.Header, payload []byte) (int, error) {
	s.packets++
	s.bytes += h.MarshalSize() + len(payload)
	return len(payload), nil
}

func (s *sink) Write(b []byte) (int, error) { return len(b), nil }

func (s *sink) CodecParameters() []webrtc.RTPCodecParameters {
	return []webrtc.RTPCodecParameters{{PayloadType: 102, RTPCodecCapability: webrtc.RTPCodecCapability{
		MimeType: webrtc.MimeTypeH264, ClockRate: 90000, SDPFmtpLine: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"}}}
}
func (s *sink) HeaderExtensions() []webrtc.RTPHeaderExtensionParameter { return nil }
func (s *sink) SSRC() webrtc.SSRC                                      { return 1 }
func (s *sink) SSRCRetransmission() webrtc.SSRC                        { return 0 }
func (s *sink) SSRCForwardErrorCorrection() webrtc.SSRC                { return 0 }
func (s *sink) WriteStream() webrtc.TrackLocalWriter                   { return s }
func (s *sink) ID() string                                             { return "bench" }
func (s *sink) RTCPReader() interceptor.RTCPReader                     { return nil }

// paced is a camera that gives a frame whenever it is asked for one.
type paced struct {
	hal.Camera
	pool *media.Pool[*media.Frame]
	ask  chan struct{}
	ctx  context.Context
	n    uint32
}

func (p *paced) Modes() ([]hal.Mode, error) {
	return []hal.Mode{{Pixel: media.NV12, Size: media.Size{W: 1280, H: 720}, Rate: media.FPS(30)}}, nil
}
func (p *paced) Start(ctx context.Context, m hal.Mode) (hal.Mode, error) { p.ctx = ctx; return m, nil }
func (p *paced) Faults() hal.Faults                                      { return hal.Faults{} }
func (p *paced) Close() error                                            { return nil }
func (p *paced) Next() (*media.Frame, error) {
	select {
	case <-p.ask:
	case <-p.ctx.Done():
		return nil, hal.ErrStopped
	}
	f := p.pool.Get()
	p.n++
	f.Seq = p.n
	f.Marks[media.Captured] = media.Time(p.n) * 1e9 / 30
	f.Marks[media.Arrived] = f.Marks[media.Captured]
	return f, nil
}

type one struct{ c *paced }

func (o one) List(context.Context) ([]hal.Device, error) {
	return []hal.Device{{ID: "paced", Name: "paced", Node: "paced"}}, nil
}
func (o one) Watch(ctx context.Context, _ func()) error            { <-ctx.Done(); return ctx.Err() }
func (o one) Open(context.Context, hal.Device) (hal.Camera, error) { return o.c, nil }

// BenchmarkCaptureToPackets takes 720p NV12 frames from a camera through conversion, the
// mailbox, the encoder's loop (with an encoder that only copies) and the packetizer, on
// the goroutines that do it in the daemon: what everything but the encoder, pion and the
// kernel costs. It must allocate nothing.
func BenchmarkCaptureToPackets(b *testing.B) {
	format := media.Format{Pixel: media.NV12, Size: media.Size{W: 1280, H: 720}}
	cam := &paced{pool: media.NewFrames(format, 4), ask: make(chan struct{})}
	var demand media.Demand
	want := demand.Sink()
	want.Set(media.Wish{Subscribed: true})
	var frames media.Tap[*media.Frame]
	var packets media.Tap[*media.Packet]
	latest := media.NewLatest()
	frames.Add(latest.Put)
	log := slog.New(slog.DiscardHandler)
	track := rtc.NewVideoTrack("bench", func() {})
	out := &sink{}
	if _, err := track.Bind(out); err != nil {
		b.Fatal(err)
	}
	sent := make(chan error)
	packets.Add(func(p *media.Packet) {
		_, err := track.WriteVideo(p)
		p.Release()
		sent <- err
	})
	c := capture.NewCamera(capture.CameraConfig{Log: log, Cameras: one{cam}, Out: &frames, Pixel: media.YU12, Demand: &demand},
		capture.CameraSettings{Match: "any", Want: capture.Want{Size: format.Size, Rate: media.FPS(30)}})
	e := encoder.NewVideo(encoder.VideoConfig{Log: log, Encoders: []hal.VideoEncoders{&fake.Encoders{}}, In: latest, Out: &packets, Demand: &demand},
		encoder.VideoSettings{Bitrate: 2.5e6, MinBitrate: 5e5, Rate: media.FPS(30)})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { c.Run(ctx) })
	wg.Go(func() { e.Run(ctx) })
	frame := func() {
		cam.ask <- struct{}{}
		if err := <-sent; err != nil {
			b.Fatal(err)
		}
	}
	for range 8 { // pools fill
		frame()
	}
	b.ReportAllocs()
	before := *out
	for b.Loop() {
		frame()
	}
	b.ReportMetric(float64(out.packets-before.packets)/float64(b.N), "packets/frame")
	cancel()
	wg.Wait()
	latest.Clear()
	if n := cam.pool.Out(); n != 0 {
		b.Errorf("%d frames are out", n)
	}
}
