package whip_test

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"anchord/rtc"
	"anchord/rtc/room"
	"anchord/rtc/whip"
)

// The whole of WHIP against the embedded room: enter, events, ICE restart, kick.
func TestEmbeddedRoom(t *testing.T) {
	srv := room.New(room.Config{Log: slog.New(slog.DiscardHandler), UDPListen: "127.0.0.1:0", Open: true})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := srv.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	web := httptest.NewServer(srv.Handler())
	t.Cleanup(func() { cancel(); web.CloseClientConnections(); web.Close(); wg.Wait() })
	eventually(t, "room server", func() bool { return srv.Addr() != nil })

	var engine webrtc.MediaEngine
	if err := engine.RegisterDefaultCodecs(); err != nil {
		t.Fatal(err)
	}
	var settings webrtc.SettingEngine
	settings.SetIncludeLoopbackCandidate(true)
	pc, err := webrtc.NewAPI(webrtc.WithMediaEngine(&engine), webrtc.WithSettingEngine(settings)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pc.GracefulClose() })
	for _, k := range []webrtc.RTPCodecCapability{
		{MimeType: webrtc.MimeTypeH264, ClockRate: 90000, SDPFmtpLine: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"},
		{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}} {
		track, err := webrtc.NewTrackLocalStaticRTP(k, k.MimeType[:5], "test")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := pc.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly}); err != nil {
			t.Fatal(err)
		}
	}
	offer := func(o *webrtc.OfferOptions) string {
		t.Helper()
		d, err := pc.CreateOffer(o)
		if err != nil {
			t.Fatal(err)
		}
		all := webrtc.GatheringCompletePromise(pc)
		if err := pc.SetLocalDescription(d); err != nil {
			t.Fatal(err)
		}
		<-all
		return pc.LocalDescription().SDP
	}
	answer := func(sdp string) {
		t.Helper()
		if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: sdp}); err != nil {
			t.Fatal(err)
		}
	}

	s, err := whip.New(whip.Config{URL: web.URL + "/whip/101?user=cart-7"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	call, err := s.Publish(ctx, offer(nil))
	if err != nil {
		t.Fatal(err)
	}
	answer(call.Answer())
	connected := func() bool { return pc.ICEConnectionState() == webrtc.ICEConnectionStateConnected }
	eventually(t, "connection", connected)
	select {
	case e := <-call.Events():
		if e.Kind != rtc.Subscribers || e.Count != 0 {
			t.Errorf("first event %+v", e)
		}
	case <-time.After(3 * time.Second):
		t.Error("the room says nothing of subscribers")
	}
	if err := call.Trickle(ctx, []rtc.Candidate{{Value: "candidate:1 1 udp 1 127.0.0.1 9 typ host", Mid: "0"}}, true); err != nil {
		t.Error(err)
	}
	sdp, err := call.Restart(ctx, offer(&webrtc.OfferOptions{ICERestart: true}))
	if err != nil {
		t.Fatal(err)
	}
	if connected() {
		t.Error("still connected in the middle of an ICE restart")
	}
	answer(sdp)
	eventually(t, "connection after the ICE restart", connected)
	if err := call.Trickle(ctx, []rtc.Candidate{{Value: "candidate:1 1 udp 1 127.0.0.1 9 typ host", Mid: "0"}}, true); err != nil {
		t.Error(err) // the ETag has changed
	}
	if err := srv.Kick("101", "cart-7", "manners"); err != nil {
		t.Fatal(err)
	}
	thrown := false
	deadline := time.After(3 * time.Second)
	for !thrown {
		select {
		case e, open := <-call.Events():
			if !open {
				t.Fatal("the stream ended without a word of the kick")
			}
			thrown = e.Kind == rtc.Kicked && e.Reason == "manners"
		case <-deadline:
			t.Fatal("no kick")
		}
	}
	if err := call.Hangup(ctx); err != nil {
		t.Error(err)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 5 s", what)
		}
	}
}
