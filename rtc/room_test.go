package rtc_test

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"anchord/internal/media"
	"anchord/rtc"
	"anchord/rtc/room"
	"anchord/rtc/rtctest"
	"anchord/rtc/whip"
)

// anchor is a session with a camera and a microphone that make numbers.
type anchor struct {
	*rtc.Session
	demand media.Demand

	mu   sync.Mutex
	sent int // packets of media that went out
}

// newAnchor makes an anchor whose way to the room is dial, and runs it until the test ends.
func newAnchor(t *testing.T, dial func(rtc.Target) (rtc.Signaller, error)) *anchor {
	t.Helper()
	a := &anchor{}
	log := slog.New(slog.DiscardHandler)
	if testing.Verbose() {
		log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	a.Session = rtc.New(rtc.Config{Log: log, Dial: dial, Demand: &a.demand, Loopback: true,
		OnSent: func(p *media.Packet, m media.Marks) {
			if m[media.Sent] == 0 || m[media.Packetized] == 0 {
				t.Errorf("marks of a sent packet: %v", m)
			}
			a.mu.Lock()
			a.sent++
			a.mu.Unlock()
		}})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := a.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	wg.Go(func() { a.make(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return a
}

// make gives 25 pictures and 50 blocks of sound a second, and a key picture when one
// is wanted.
func (a *anchor) make(ctx context.Context) {
	slice := append([]byte{0, 0, 0, 1, 0x41}, make([]byte, 3000)...)
	key := append([]byte{0, 0, 0, 1, 0x67, 0x42, 0xe0, 0x1f, 1, 2, 0, 0, 0, 1, 0x68, 1, 2, 0, 0, 0, 1, 0x65}, make([]byte, 9000)...)
	for i := range slice[5:] {
		slice[5+i] = byte(i) | 1
	}
	for i := range key[22:] {
		key[22+i] = byte(i) | 1
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		now := media.Now()
		p := media.NewPacket(nil)
		p.Data, p.Key, p.Samples = []byte{0xf8, 0xff, 0xfe}, true, 960
		p.Marks[media.Captured] = now
		a.PutAudio(p.Lend())
		if i%2 == 0 {
			v := media.NewPacket(nil)
			if v.Data = slice; a.demand.Key() != media.NoKey {
				v.Data, v.Key = key, true
				a.demand.KeyMade()
			}
			v.Marks[media.Captured] = now
			a.PutVideo(v.Lend())
		}
	}
}

// until waits for something and gives how long it took.
func until(t *testing.T, what string, most time.Duration, ok func() bool) time.Duration {
	t.Helper()
	begun := time.Now()
	for !ok() {
		if time.Since(begun) > most {
			t.Fatalf("%s: not within %v", what, most)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return time.Since(begun)
}

func target(t *testing.T, address string) rtc.Target {
	t.Helper()
	a, err := rtc.ParseAddress(address)
	if err != nil {
		t.Fatal(err)
	}
	return rtc.Target{Address: a, Room: "101", User: "cart-7"}
}

func overWHIP(g rtc.Target) (rtc.Signaller, error) {
	return whip.New(whip.Config{URL: g.Address.Endpoint(g.Room, g.User)})
}

func startServer(t *testing.T) *rtctest.Server {
	t.Helper()
	s := &rtctest.Server{}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Kill)
	return s
}

// arriving says that pictures and sound arrive from now on.
func arriving(s *rtctest.Server) func() bool {
	v0, a0 := s.Received()
	return func() bool {
		v, a := s.Received()
		return v > v0+5 && a > a0+5
	}
}

func TestPublishToAStranger(t *testing.T) {
	srv := startServer(t)
	a := newAnchor(t, overWHIP)
	if err := a.Enter(target(t, "whip+"+srv.URL())); err != nil {
		t.Fatal(err)
	}
	t.Logf("media after %v", until(t, "media", 3*time.Second, arriving(srv)))
	if st := a.Stats(); st.State != rtc.In || st.Path == "" || st.Err != nil || st.Subscribers != -1 {
		t.Errorf("%+v", st)
	}
	a.mu.Lock()
	if a.sent == 0 {
		t.Error("OnSent was not called")
	}
	a.mu.Unlock()
	until(t, "reports of the other side", 4*time.Second, func() bool { return a.Stats().Video.Arrived != 0 })
	a.demand.KeyMade()
	keys := a.Stats().Video.Keys
	srv.AskKey()
	until(t, "a request for a key picture", 2*time.Second, func() bool { return a.Stats().Video.Keys > keys })
	a.Exit()
	until(t, "goodbye", 2*time.Second, func() bool { _, n := srv.Sessions(); return n == 0 && a.State() == rtc.Idle })
}

func TestServerKilledAndStartedAgain(t *testing.T) {
	srv := startServer(t)
	a := newAnchor(t, overWHIP)
	if err := a.Enter(target(t, "whip+"+srv.URL())); err != nil {
		t.Fatal(err)
	}
	until(t, "media", 3*time.Second, arriving(srv))
	for _, away := range []time.Duration{0, 4 * time.Second} {
		srv.Kill()
		if away > 0 {
			t.Logf("loss noticed after %v", until(t, "loss", 3*time.Second, func() bool { return a.State() == rtc.Recovering }))
			time.Sleep(away)
		}
		if err := srv.Start(); err != nil {
			t.Fatal(err)
		}
		d := until(t, "media again", 3*time.Second, arriving(srv))
		t.Logf("away %v: media %v after the server listened", away, d)
	}
}

func TestShortLossComesBackWithoutANewSession(t *testing.T) {
	srv := startServer(t)
	srv.NoRestart.Store(true) // so that only the old way can come back, or a new session
	a := newAnchor(t, overWHIP)
	if err := a.Enter(target(t, "whip+"+srv.URL())); err != nil {
		t.Fatal(err)
	}
	until(t, "media", 3*time.Second, arriving(srv))
	srv.Silence(true)
	time.Sleep(1500 * time.Millisecond)
	srv.Silence(false)
	until(t, "media again", time.Second, arriving(srv))
	if n, _ := srv.Sessions(); n != 1 || a.State() != rtc.In {
		t.Errorf("%d sessions, %s", n, a.State())
	}
}

func TestICERestartKeepsTheSession(t *testing.T) {
	srv := startServer(t)
	a := newAnchor(t, overWHIP)
	if err := a.Enter(target(t, "whip+"+srv.URL())); err != nil {
		t.Fatal(err)
	}
	until(t, "media", 3*time.Second, arriving(srv))
	srv.Silence(true)
	until(t, "loss", 3*time.Second, func() bool { return a.State() == rtc.Recovering })
	until(t, "ICE restart", 2*time.Second, func() bool { return srv.Restarts() == 1 })
	srv.Silence(false)
	d := until(t, "media again", 2*time.Second, arriving(srv))
	until(t, "word of it", time.Second, func() bool { return a.State() == rtc.In })
	n, _ := srv.Sessions()
	t.Logf("media after %v, %d sessions", d, n)
	if n != 1 {
		t.Errorf("%d sessions, %s", n, a.State())
	}
}

func TestGoodbyeOfTheServer(t *testing.T) {
	srv := startServer(t)
	a := newAnchor(t, overWHIP)
	if err := a.Enter(target(t, "whip+"+srv.URL())); err != nil {
		t.Fatal(err)
	}
	until(t, "media", 3*time.Second, arriving(srv))
	srv.Goodbye()
	until(t, "media again", 2*time.Second, arriving(srv))
	if n, _ := srv.Sessions(); n != 2 {
		t.Errorf("%d sessions", n)
	}
}

func TestLossyWay(t *testing.T) {
	srv := startServer(t)
	srv.Loss.Store(10)
	a := newAnchor(t, overWHIP)
	if err := a.Enter(target(t, "whip+"+srv.URL())); err != nil {
		t.Fatal(err)
	}
	until(t, "media", 8*time.Second, arriving(srv))
	until(t, "packets sent again", 5*time.Second, func() bool { return a.Stats().Video.Resent > 0 })
	until(t, "loss told upstream", 8*time.Second, func() bool { return a.demand.Wish().Loss > 0 })
	if st := a.Stats(); st.Lost != 0 {
		t.Errorf("the room was lost: %+v", st)
	}
}

// startRoom runs a room server on loopback.
func startRoom(t *testing.T) (srv *room.Server, url string) {
	t.Helper()
	srv = room.New(room.Config{Log: slog.New(slog.DiscardHandler), UDPListen: "127.0.0.1:0", Open: true})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := srv.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	web := &http.Server{Handler: srv.Handler(), ReadHeaderTimeout: time.Second}
	wg.Go(func() { _ = web.Serve(l) })
	t.Cleanup(func() { cancel(); _ = web.Close(); wg.Wait() })
	until(t, "room server", time.Second, func() bool { return srv.Addr() != nil })
	return srv, "http://" + l.Addr().String()
}

func TestPublishToTheRoom(t *testing.T) {
	for _, way := range []string{"in process", "WHIP"} {
		t.Run(way, func(t *testing.T) {
			srv, url := startRoom(t)
			a := newAnchor(t, func(g rtc.Target) (rtc.Signaller, error) {
				if way == "WHIP" {
					return overWHIP(g)
				}
				return srv.Signaller(g.Room, g.User), nil
			})
			if err := a.Enter(target(t, "whip+"+url)); err != nil {
				t.Fatal(err)
			}
			live := func() bool {
				for _, u := range srv.State("101").Anchors {
					if u.User == "cart-7" && u.Video && u.Audio && u.State == "live" {
						return true
					}
				}
				return false
			}
			t.Logf("live after %v", until(t, "live", 3*time.Second, live))
			// Nobody subscribes, and the room says so: the encoder may rest.
			until(t, "word of subscribers", 3*time.Second, func() bool { return a.Stats().Subscribers == 0 })
			until(t, "rest", 4*time.Second, func() bool { return !a.demand.Wish().Subscribed })
			if err := srv.Kick("101", "cart-7", "test"); err != nil {
				t.Fatal(err)
			}
			until(t, "exit", 2*time.Second, func() bool { return a.State() == rtc.Idle })
			if st := a.Stats(); st.Wanted || st.Err == nil {
				t.Errorf("%+v", st)
			}
			if err := a.Enter(target(t, "whip+"+url)); err != nil {
				t.Fatal(err)
			}
			until(t, "live again", 3*time.Second, live)
		})
	}
}
