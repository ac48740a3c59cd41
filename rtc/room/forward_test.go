package room

import (
	"bytes"
	"net/http"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

const (
	video = webrtc.RTPCodecTypeVideo
	audio = webrtc.RTPCodecTypeAudio
)

// flow sends frames until the test ends or stop is called; each key frame request is obeyed.
func flow(p *peer, seq uint16, ts uint32) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		ticker := time.NewTicker(10 * time.Millisecond)
		defer ticker.Stop()
		obeyed := 0
		for n := 0; ; n++ {
			payload := delta(byte(n))
			if asked := p.count(&p.plis); asked > obeyed {
				obeyed, payload = asked, keyFrame(byte(n))
			}
			_ = p.video.WriteRTP(&rtp.Packet{Header: rtp.Header{Version: 2, Marker: true, SequenceNumber: seq, Timestamp: ts}, Payload: payload})
			_ = p.audio.WriteRTP(&rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: seq, Timestamp: ts}, Payload: []byte{byte(n)}})
			seq, ts = seq+1, ts+900
			select {
			case <-ticker.C:
			case <-quit:
				return
			}
		}
	}()
	return func() { close(quit); <-done }
}

func TestViewersGetWhatTheAnchorSends(t *testing.T) {
	s, url := start(t, Config{})
	pub := publisher(t)
	pub.enter(url + "/whip/101?user=cart-7")
	stop := flow(pub, 65500, 1000) // the numbers wrap on the way
	defer stop()
	viewers := []*peer{viewer(t), viewer(t), viewer(t)}
	for _, v := range viewers {
		v.enter(url + "/whep/101/cart-7")
	}
	for i, v := range viewers {
		wait(t, "100 packets", func() bool { return len(v.packets(video)) >= 100 && len(v.packets(audio)) >= 100 })
		packets := v.packets(video)
		if !startsKeyFrame(packets[0].Payload) {
			t.Errorf("viewer %d: the first packet starts no key frame", i)
		}
		for j := 1; j < len(packets); j++ {
			if d := packets[j].SequenceNumber - packets[j-1].SequenceNumber; d != 1 {
				t.Fatalf("viewer %d: sequence number moves by %d", i, d)
			}
			if packets[j].Timestamp-packets[j-1].Timestamp != 900 {
				t.Fatalf("viewer %d: time moves by %d", i, packets[j].Timestamp-packets[j-1].Timestamp)
			}
		}
	}
	st := s.State("101")
	if len(st.Anchors) != 1 || st.Viewers != 3 || st.Anchors[0].Viewers != 3 || st.Anchors[0].Packets < 200 || st.Anchors[0].Lost != 0 {
		t.Errorf("state is %+v", st)
	}
}

func TestLateJoinerStartsAtKeyFrame(t *testing.T) {
	_, url := start(t, Config{})
	pub := publisher(t)
	pub.enter(url + "/whip/101?user=a")
	for n := range 20 { // nobody watches
		pub.sendVideo(uint16(n), uint32(n)*3000, delta(byte(n)))
	}
	v := viewer(t)
	v.enter(url + "/whep/101/a")
	wait(t, "a key frame request", func() bool { return pub.count(&pub.plis) > 0 })
	pub.sendVideo(20, 60000, delta(20))
	pub.sendVideo(21, 63000, keyFrame(21))
	pub.sendVideo(22, 66000, delta(22))
	wait(t, "two packets", func() bool { return len(v.packets(video)) >= 2 })
	got := v.packets(video)
	if !bytes.Equal(got[0].Payload, keyFrame(21)) || !bytes.Equal(got[1].Payload, delta(22)) {
		t.Errorf("got %x and %x", got[0].Payload, got[1].Payload)
	}
}

func TestViewerMayComeFirst(t *testing.T) {
	_, url := start(t, Config{})
	v := viewer(t)
	v.enter(url + "/whep/101/a")
	pub := publisher(t)
	pub.enter(url + "/whip/101?user=a")
	defer flow(pub, 1, 1)()
	wait(t, "picture and sound", func() bool { return len(v.packets(video)) > 5 && len(v.packets(audio)) > 5 })
}

func TestKeyFrameRequestsAreCoalesced(t *testing.T) {
	_, url := start(t, Config{})
	pub := publisher(t)
	pub.enter(url + "/whip/101?user=a")
	defer flow(pub, 1, 1)()
	v := viewer(t)
	v.enter(url + "/whep/101/a")
	wait(t, "picture", func() bool { return len(v.packets(video)) > 5 })
	ssrc := uint32(v.ssrcs[video])
	before, began := pub.count(&pub.plis), time.Now()
	for time.Since(began) < 1200*time.Millisecond {
		if err := v.pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: ssrc}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	asked := pub.count(&pub.plis) - before
	if most := int(time.Since(began)/keyEvery) + 1; asked < 1 || asked > most {
		t.Errorf("%d requests in %v, want 1 to %d", asked, time.Since(began), most)
	}
}

func TestViewerThatNeverConnectsCostsNothing(t *testing.T) {
	s, url := start(t, Config{})
	pub := publisher(t)
	pub.enter(url + "/whip/101?user=a")
	if res, text := do(t, "POST", url+"/whep/101/a", typeSDP, viewer(t).offer(), nil); res.StatusCode != 201 {
		t.Fatalf("%d %s", res.StatusCode, text)
	}
	defer flow(pub, 1, 1)()
	wait(t, "a second of media", func() bool {
		st := s.State("101")
		return len(st.Anchors) == 1 && st.Anchors[0].Packets > 200
	})
	if n := pub.count(&pub.plis); n != 0 {
		t.Errorf("%d key frames were asked for", n)
	}
}

func TestNackIsAnsweredFromTheRing(t *testing.T) {
	s, url := start(t, Config{})
	pub := publisher(t)
	pub.enter(url + "/whip/101?user=a")
	v := viewer(t)
	v.enter(url + "/whep/101/a")
	wait(t, "a key frame request", func() bool { return pub.count(&pub.plis) > 0 })
	pub.sendVideo(100, 1, keyFrame(0))
	for n := range 20 {
		pub.sendVideo(uint16(101+n), 1, delta(byte(n)))
	}
	wait(t, "the packets", func() bool { return len(v.packets(video)) == 21 })
	nack := &rtcp.TransportLayerNack{MediaSSRC: uint32(v.ssrcs[video]), Nacks: rtcp.NackPairsFromSequenceNumbers([]uint16{105, 107, 99, 400})}
	if err := v.pc.WriteRTCP([]rtcp.Packet{nack}); err != nil {
		t.Fatal(err)
	}
	// The receiving SRTP context takes each number once: what comes again shows in the counter.
	wait(t, "two packets again", func() bool { return s.State("101").Anchors[0].Resent == 2 })
}

func TestSenderReportsKeepPictureAndSoundTogether(t *testing.T) {
	_, url := start(t, Config{})
	pub := publisher(t)
	pub.enter(url + "/whip/101?user=a")
	v := viewer(t)
	v.enter(url + "/whep/101/a")
	stop := flow(pub, 1, 5000)
	wait(t, "picture and sound", func() bool { return len(v.packets(video)) > 2 && len(v.packets(audio)) > 2 })
	stop()
	report := func(ntp uint64, vts, ats uint32) {
		t.Helper()
		for kind, ts := range map[webrtc.RTPCodecType]uint32{video: vts, audio: ats} {
			if err := pub.pc.WriteRTCP([]rtcp.Packet{&rtcp.SenderReport{SSRC: uint32(pub.ssrcs[kind]), NTPTime: ntp, RTPTime: ts}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	const sent = uint64(0x12345678_80000000) // a clock that was never set
	report(sent, 90000, 48000)
	last := func(kind webrtc.RTPCodecType) (rtcp.SenderReport, int) {
		v.mu.Lock()
		defer v.mu.Unlock()
		n := len(v.srs[kind])
		if n == 0 {
			return rtcp.SenderReport{}, 0
		}
		return v.srs[kind][n-1], n
	}
	both := func(n int) func() bool {
		return func() bool { _, a := last(audio); _, b := last(video); return a >= n && b >= n }
	}
	wait(t, "a report each", both(1))
	va, _ := last(video)
	aa, _ := last(audio)
	if va.NTPTime != aa.NTPTime {
		t.Errorf("one moment became two: %x and %x", va.NTPTime, aa.NTPTime)
	}
	if va.RTPTime != 90000 || aa.RTPTime != 48000 {
		t.Errorf("times are %d and %d", va.RTPTime, aa.RTPTime)
	}
	if va.SSRC != uint32(v.ssrcs[video]) || aa.SSRC != uint32(v.ssrcs[audio]) {
		t.Error("reports are about other streams")
	}
	if d := ntpDuration(int64(va.NTPTime - toNTP(time.Now()))); d > 0 || d < -patience {
		t.Errorf("the wall clock is off by %v", d)
	}
	report(sent+1<<31, 90000+45000, 48000+24000)
	wait(t, "a second report each", both(2))
	vb, _ := last(video)
	ab, _ := last(audio)
	if vb.NTPTime-va.NTPTime != 1<<31 || ab.NTPTime-aa.NTPTime != 1<<31 {
		t.Errorf("half a second became %x and %x", vb.NTPTime-va.NTPTime, ab.NTPTime-aa.NTPTime)
	}
	// A newcomer is told both at once, so that it can play in sync from the start.
	late := viewer(t)
	late.enter(url + "/whep/101/a")
	defer flow(pub, 1000, 900000)()
	wait(t, "both reports", func() bool {
		late.mu.Lock()
		defer late.mu.Unlock()
		return len(late.srs[video]) >= 2 && len(late.srs[audio]) >= 2
	})
	late.mu.Lock()
	defer late.mu.Unlock()
	if got := late.srs[video][1]; got.NTPTime != vb.NTPTime || got.RTPTime != vb.RTPTime {
		t.Errorf("newcomer was told %x %d", got.NTPTime, got.RTPTime)
	}
}

func TestAnchorComesBackOnTheSameTrack(t *testing.T) {
	for _, way := range []string{"replaced", "hung up"} {
		t.Run(way, func(t *testing.T) {
			_, url := start(t, Config{})
			old := publisher(t)
			old.enter(url + "/whip/101?user=a")
			ears := listen(t, url+"/rooms/101/events?id="+idOf(old), "")
			stop := flow(old, 30000, 777)
			v := viewer(t)
			v.enter(url + "/whep/101/a")
			wait(t, "picture", func() bool { return len(v.packets(video)) > 10 })
			if way == "hung up" {
				do(t, "DELETE", old.where, "", "", nil)
			}
			again := publisher(t)
			again.enter(url + "/whip/101?user=a")
			stop()
			if way == "replaced" {
				if why := ears.next(t, "kick").data["reason"]; why != "replaced" {
					t.Errorf("reason is %v", why)
				}
			}
			before := len(v.packets(video))
			defer flow(again, 5, 4000000)()
			wait(t, "more picture", func() bool { return len(v.packets(video)) > before+20 })
			for kind, most := range map[webrtc.RTPCodecType]uint32{video: 90000 * 10, audio: 48000 * 10} {
				packets := v.packets(kind)
				for i := 1; i < len(packets); i++ {
					a, b := packets[i-1], packets[i]
					if b.SequenceNumber-a.SequenceNumber != 1 || b.SSRC != a.SSRC {
						t.Fatalf("%v: packet %d follows %d", kind, b.SequenceNumber, a.SequenceNumber)
					}
					if d := b.Timestamp - a.Timestamp; d == 0 || d > most {
						t.Fatalf("%v: time moves by %d", kind, d)
					}
				}
			}
		})
	}
}

func TestOrientationAndLevelAreCarried(t *testing.T) {
	_, url := start(t, Config{})
	pub := publisher(t)
	pub.enter(url + "/whip/101?user=a")
	ears := listen(t, url+"/rooms/101/events", "")
	v := viewer(t)
	v.enter(url + "/whep/101/a")
	wait(t, "a key frame request", func() bool { return pub.count(&pub.plis) > 0 })
	id := func(uri string) uint8 {
		for _, tr := range pub.pc.GetTransceivers() {
			for _, e := range tr.Sender().GetParameters().HeaderExtensions {
				if e.URI == uri {
					return uint8(e.ID)
				}
			}
		}
		t.Fatalf("%s was not agreed on", uri)
		return 0
	}
	send := func(track *webrtc.TrackLocalStaticRTP, ext, value uint8, payload []byte) {
		t.Helper()
		h := rtp.Header{Version: 2, SequenceNumber: 1, Timestamp: 1}
		if err := h.SetExtension(ext, []byte{value}); err != nil {
			t.Fatal(err)
		}
		if err := track.WriteRTP(&rtp.Packet{Header: h, Payload: payload}); err != nil {
			t.Fatal(err)
		}
	}
	send(pub.video, id(turnURI), 3, keyFrame(1))
	send(pub.audio, id(levelURI), 0x80|30, []byte{1})
	wait(t, "both", func() bool { return len(v.packets(video)) == 1 && len(v.packets(audio)) == 1 })
	for kind, want := range map[webrtc.RTPCodecType]uint8{video: 3, audio: 0x80 | 30} {
		p := v.packets(kind)[0]
		ids := p.GetExtensionIDs()
		if len(ids) != 1 || len(p.GetExtension(ids[0])) != 1 || p.GetExtension(ids[0])[0] != want {
			t.Errorf("%v: extensions %v", kind, ids)
		}
	}
	if level := ears.next(t, "speaking").data["level"]; level != 50.0 {
		t.Errorf("−30 dBov is level %v", level)
	}
}

func TestNobodyIsAskedForNobody(t *testing.T) {
	_, url := start(t, Config{})
	pub := publisher(t)
	pub.enter(url + "/whip/1?user=a")
	v := viewer(t)
	v.enter(url + "/whep/1/a")
	wait(t, "a key frame request", func() bool { return pub.count(&pub.plis) > 0 })
	do(t, http.MethodDelete, v.where, "", "", nil) // before the key frame came
	time.Sleep(100 * time.Millisecond)             // for a request that is on its way
	before := pub.count(&pub.plis)
	time.Sleep(lostAfter + 2*tick)
	if n := pub.count(&pub.plis) - before; n != 0 {
		t.Errorf("%d requests for nobody", n)
	}
}
