package room

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
	"go.uber.org/goleak"
)

func TestStopLeavesNothingBehind(t *testing.T) {
	before := goleak.IgnoreCurrent()
	s := New(Config{Open: true, Log: slog.New(slog.DiscardHandler)})
	web := httptest.NewServer(s.Handler())
	for round := range 2 { // it can be started again
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		wait(t, "the server runs", func() bool { return s.Addr() != nil })
		pub, v := publisher(t), viewer(t)
		pub.enter(web.URL + "/whip/1?user=a")
		v.enter(web.URL + "/whep/1/a")
		stop := flow(pub, 1, 1)
		wait(t, "picture", func() bool { return len(v.packets(video)) > 5 })
		ears := listen(t, web.URL+"/rooms/1/events?id="+idOf(pub), "")
		local := publisher(t)
		call, err := s.Signaller("1", "b").Publish(ctx, local.offer())
		if err != nil {
			t.Fatal(err)
		}
		cancel() // with everybody in the room
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("round %d: %v", round, err)
			}
		case <-time.After(patience):
			t.Fatal("Run does not return")
		}
		for range call.Events() { // ends
		}
		for range ears.events { // ends
		}
		if res, _ := do(t, http.MethodPost, web.URL+"/whip/1?user=a", typeSDP, pub.pc.LocalDescription().SDP, nil); res.StatusCode != 503 || res.Header.Get("Retry-After") == "" {
			t.Errorf("after the end: %d", res.StatusCode)
		}
		if s.Addr() != nil {
			t.Error("there is an address")
		}
		stop()
		pub.close()
		v.close()
		local.close()
		ears.cancel()
	}
	web.Close()
	http.DefaultClient.CloseIdleConnections()
	goleak.VerifyNone(t, before)
}

func TestSecondRunIsRefused(t *testing.T) {
	s, _ := start(t, Config{})
	if err := s.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "runs already") {
		t.Errorf("error is %v", err)
	}
}

func TestCandidates(t *testing.T) {
	hosts := func(cfg Config, near bool) string {
		t.Helper()
		cfg.Log = slog.New(slog.DiscardHandler)
		w, err := openWire(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer w.mux.Close()
		pc, err := w.connect(false, new(atomic.Uint64), func() {})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = pc.GracefulClose() }()
		text := viewer(t).offer()
		o, p := checkOffer(text, false)
		if p != nil {
			t.Fatal(p)
		}
		answer, err := (&session{pc: pc, wire: w, near: near, over: make(chan struct{})}).accept(t.Context(), text, o)
		if err != nil {
			t.Fatal(err)
		}
		own := map[string]int{}
		for line := range strings.Lines(pc.LocalDescription().SDP) {
			// pion writes each candidate again for the second component.
			if f := strings.Fields(line); len(f) > 5 && f[1] == "1" && strings.HasPrefix(line, "a=candidate:") {
				family := "4"
				if strings.Contains(f[4], ":") {
					family = "6"
				}
				own[family]++
			}
		}
		if len(own) == 0 || own["4"] > 1 || own["6"] > 1 {
			t.Errorf("pion has the candidates %v, want one for each family", own)
		}
		var out []string
		for line := range strings.Lines(answer) {
			if f := strings.Fields(line); len(f) > 5 && strings.HasPrefix(line, "a=candidate:") {
				out = append(out, f[4])
			}
		}
		return " " + strings.Join(out, " ") + " "
	}
	for _, c := range []struct {
		name      string
		cfg       Config
		near      bool
		with, not []string
	}{
		{"loopback", Config{UDPListen: "127.0.0.1:0"}, false, []string{"127.0.0.1"}, nil},
		{"everywhere, near", Config{UDPListen: ":0"}, true, []string{"127.0.0.1"}, nil},
		{"everywhere, far", Config{UDPListen: ":0"}, false, nil, []string{"127.0.0.1"}},
		{"behind NAT, far", Config{UDPListen: "127.0.0.1:0", Advertise: []string{"203.0.113.5"}}, false, []string{"203.0.113.5"}, []string{"127.0.0.1"}},
		{"behind NAT, near", Config{UDPListen: "127.0.0.1:0", Advertise: []string{"203.0.113.5"}}, true, []string{"203.0.113.5", "127.0.0.1"}, nil},
	} {
		got := hosts(c.cfg, c.near)
		for _, a := range c.with {
			if !strings.Contains(got, " "+a+" ") {
				t.Errorf("%s: no %s in%s", c.name, a, got)
			}
		}
		for _, a := range c.not {
			if strings.Contains(got, " "+a+" ") {
				t.Errorf("%s: %s in%s", c.name, a, got)
			}
		}
	}
	if _, err := openWire(t.Context(), Config{UDPListen: "127.0.0.1:0", Advertise: []string{"no-such-host.invalid"}, Log: slog.Default()}); err == nil {
		t.Error("an unknown host is advertised")
	}
}

func TestKickAndDissolveReachViewers(t *testing.T) {
	s, url := start(t, Config{})
	pub := publisher(t)
	pub.enter(url + "/whip/1?user=a")
	v := viewer(t)
	v.enter(url + "/whep/1/a?user=eve")
	ears := listen(t, url+"/rooms/1/events?id="+idOf(v), "")
	wait(t, "both are connected", func() bool { // here too: before that, no goodbye can be said by DTLS
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.sessions[idOf(v)].connected && s.sessions[idOf(pub)].connected
	})
	if err := s.Kick("1", "eve", "banned"); err != nil {
		t.Fatal(err)
	}
	if why := ears.next(t, "kick").data["reason"]; why != "banned" {
		t.Errorf("kicked for %v", why)
	}
	wait(t, "the viewer's connection ends", func() bool { return v.pc.ConnectionState() == webrtc.PeerConnectionStateClosed })
	mouth := listen(t, url+"/rooms/1/events?id="+idOf(pub), "")
	if err := s.Dissolve("1"); err != nil {
		t.Fatal(err)
	}
	if why := mouth.next(t, "dissolve").data["reason"]; why != "dissolved" {
		t.Errorf("dissolved for %v", why)
	}
	wait(t, "the anchor's connection ends", func() bool { return pub.pc.ConnectionState() == webrtc.PeerConnectionStateClosed })
	wait(t, "the room is gone", func() bool { return s.Dissolve("1") != nil })
	if st := s.State("1"); len(st.Anchors) != 0 || st.Viewers != 0 {
		t.Errorf("state is %+v", st)
	}
}
