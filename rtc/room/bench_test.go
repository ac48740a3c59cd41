package room

import (
	"syscall"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// discard is a viewer's connection that only counts.
type discard struct{ n int }

func (d *discard) WriteRTP(_ *rtp.Header, payload []byte) (int, error) {
	d.n++
	return len(payload), nil
}
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }

// BenchmarkFanOut is the forwarder's own work: one packet to ten viewers, without SRTP and
// sockets.
func BenchmarkFanOut(b *testing.B) {
	r := &relay{video: true}
	src := &source{relay: r, session: &session{}, ring: newRing()}
	r.start(src)
	for range 10 {
		r.add(&sink{relay: r, session: src.session, out: &discard{}, ready: true})
	}
	h := rtp.Header{Version: 2, SequenceNumber: 1}
	whole, err := (&rtp.Packet{Header: h, Payload: append(keyFrame(1), make([]byte, 1150)...)}).Marshal()
	if err != nil {
		b.Fatal(err)
	}
	var p packet
	b.ReportAllocs()
	for b.Loop() {
		if !p.parse(whole, 3, true) {
			b.Fatal("the packet cannot be read")
		}
		p.at = time.Now()
		r.forward(src, &p)
		whole[3]++
		if whole[3] == 0 {
			whole[2]++
		}
	}
}

// BenchmarkForward is the whole way from one anchor's socket to ten viewers' sockets. The CPU
// time is that of both ends, as they share the process.
func BenchmarkForward(b *testing.B) {
	s, url := start(b, Config{})
	pub := publisher(b)
	pub.enter(url + "/whip/1?user=a")
	for range 10 {
		v := newPeer(b, nil)
		if _, err := v.pc.AddTransceiverFromKind(video, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
			b.Fatal(err)
		}
		v.enter(url + "/whep/1/a")
	}
	passed := func() uint64 { return s.State("1").Anchors[0].Packets }
	payload := append([]byte{0x65, 0x88}, make([]byte, 1150)...)
	var before, after syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &before)
	var seq uint16
	b.ReportAllocs()
	for b.Loop() {
		have := passed()
		for range 32 { // no faster than the server can
			seq++
			pub.sendVideo(seq, uint32(seq)*3000, payload)
		}
		for end := time.Now().Add(10 * time.Millisecond); passed() < have+32 && time.Now().Before(end); {
			time.Sleep(100 * time.Microsecond)
		}
	}
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &after)
	cpu := time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
	b.ReportMetric(float64(passed()*10)/cpu.Seconds(), "out/CPU-s")
	b.ReportMetric(float64(passed())/float64(b.N*32), "arrived")
}
