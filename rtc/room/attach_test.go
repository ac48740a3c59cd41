package room

import (
	"errors"
	"testing"
	"time"

	"anchord/rtc"

	"github.com/pion/webrtc/v4"
)

func TestSignallerIsTheSameWithoutHTTP(t *testing.T) {
	s, url := start(t, Config{})
	pub := publisher(t)
	call, err := s.Signaller("1", "a").Publish(t.Context(), pub.offer())
	if err != nil {
		t.Fatal(err)
	}
	pub.answer(call.Answer())
	next := func(kind rtc.EventKind) rtc.Event {
		t.Helper()
		for late := time.After(patience); ; {
			select {
			case e, ok := <-call.Events():
				if !ok {
					t.Fatalf("the events ended before %d", kind)
				}
				if e.Kind == kind {
					return e
				}
			case <-late:
				t.Fatalf("never came: event %d", kind)
			}
		}
	}
	if e := next(rtc.Subscribers); e.Count != 0 {
		t.Errorf("%+v", e)
	}
	v := viewer(t)
	v.enter(url + "/whep/1/a")
	if e := next(rtc.Subscribers); e.Count != 1 {
		t.Errorf("%+v", e)
	}
	defer flow(pub, 1, 1)()
	wait(t, "picture", func() bool { return len(v.packets(video)) > 5 })

	other := publisher(t)
	other.enter(url + "/whip/1?user=b")
	if e := next(rtc.Joined); e.User != "b" {
		t.Errorf("%+v", e)
	}
	do(t, "DELETE", other.where, "", "", nil)
	if e := next(rtc.Left); e.User != "b" || e.Reason != "exit" {
		t.Errorf("%+v", e)
	}

	if err := call.Trickle(t.Context(), []rtc.Candidate{{Value: "candidate:1 1 udp 1 127.0.0.1 9 typ host", Mid: "0"}}, true); err != nil {
		t.Errorf("trickle: %v", err)
	}
	offer, err := pub.pc.CreateOffer(&webrtc.OfferOptions{ICERestart: true})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := call.Restart(t.Context(), pub.local(offer))
	if err != nil {
		t.Fatal(err)
	}
	pub.answer(answer)
	n := len(v.packets(video))
	wait(t, "picture after the restart", func() bool { return len(v.packets(video)) > n+20 })

	again := publisher(t)
	second, err := s.Signaller("1", "a").Publish(t.Context(), again.offer())
	if err != nil {
		t.Fatal(err)
	}
	if e := next(rtc.Kicked); e.Reason != "replaced" {
		t.Errorf("%+v", e)
	}
	if _, ok := <-call.Events(); ok {
		t.Error("events after the kick")
	}
	if err := call.Trickle(t.Context(), nil, true); err == nil {
		t.Error("trickled to a session that is over")
	}
	for _, c := range []rtc.Call{call, second} {
		if err := c.Hangup(t.Context()); err != nil {
			t.Error(err)
		}
	}
	for range second.Events() { // ends
	}
}

func TestSignallerRefusals(t *testing.T) {
	s, _ := start(t, Config{MaxAnchors: 1})
	for _, c := range []struct {
		room, user, offer string
		status            int
		final             bool
	}{
		{"0", "a", "", 400, true}, {"1", "", "", 400, true}, {"1", "a", "x", 400, true},
	} {
		_, err := s.Signaller(c.room, c.user).Publish(t.Context(), c.offer)
		var no *rtc.Refused
		if !errors.As(err, &no) || no.Status != c.status || no.Final != c.final || no.Hint == "" {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if _, err := s.Signaller("1", "a").Publish(t.Context(), publisher(t).offer()); err != nil {
		t.Fatal(err)
	}
	_, err := s.Signaller("1", "b").Publish(t.Context(), publisher(t).offer())
	var no *rtc.Refused
	if !errors.As(err, &no) || no.Status != 503 || no.Final || no.After == 0 {
		t.Errorf("full: %v", err)
	}
}
