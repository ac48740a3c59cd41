package room

import (
	"net"
	"sync"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/webrtc/v4"

	"log/slog"

	"anchord/rtc"
)

func TestRoamFollowsOnlyWhoAnswersAndIsAlone(t *testing.T) {
	home, away := &ice.CandidatePair{}, &ice.CandidatePair{}
	now := time.Now()
	var r roam
	for _, step := range []struct {
		what             string
		pair             *ice.CandidatePair
		after            time.Duration
		chosen, answered bool
		want             bool
	}{
		{"nothing is chosen yet", away, 0, false, true, false},
		{"the peer chooses", home, time.Second, true, true, false},
		{"a second way", away, 2 * time.Second, false, true, false},
		{"home still pings", home, 4 * time.Second, false, true, false},
		{"a second way", away, 5 * time.Second, false, true, false},
		{"forged: no answer", away, 9 * time.Second, false, false, false},
		{"home is silent", away, 9 * time.Second, false, true, true},
		{"it stays there", away, 13 * time.Second, false, true, false},
		{"back", home, 17 * time.Second, false, true, true},
	} {
		if got := r.follow(step.pair, step.chosen, step.answered, now.Add(step.after)); got != step.want {
			t.Errorf("%s, %v: %v", step.what, step.after, got)
		}
	}
}

// nomad is a socket that can change its address under way, as behind a NAT that forgets.
type nomad struct {
	mu sync.Mutex
	c  net.PacketConn
}

func (n *nomad) conn() net.PacketConn {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.c
}

func (n *nomad) move(t *testing.T) {
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n.mu.Lock()
	old := n.c
	n.c = c
	n.mu.Unlock()
	if old != nil {
		_ = old.Close()
	}
}

func (n *nomad) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		c := n.conn()
		k, a, err := c.ReadFrom(b)
		if err != nil && c != n.conn() {
			continue
		}
		return k, a, err
	}
}
func (n *nomad) WriteTo(b []byte, a net.Addr) (int, error) { return n.conn().WriteTo(b, a) }
func (n *nomad) Close() error                              { return n.conn().Close() }
func (n *nomad) LocalAddr() net.Addr                       { return n.conn().LocalAddr() }
func (n *nomad) SetDeadline(time.Time) error               { return nil }
func (n *nomad) SetReadDeadline(time.Time) error           { return nil }
func (n *nomad) SetWriteDeadline(time.Time) error          { return nil }

func TestAnAnchorWhoseAddressChangesIsHeardAndAsked(t *testing.T) {
	_, url := start(t, Config{})
	socket := &nomad{}
	socket.move(t)
	log := rtc.PionLog(slog.New(slog.DiscardHandler))
	mux := ice.NewUDPMuxDefault(ice.UDPMuxParams{UDPConn: socket, Logger: log.NewLogger("mux")})
	defer mux.Close()
	media := &webrtc.MediaEngine{}
	if err := register(media, &interceptor.Registry{}, false, nil); err != nil {
		t.Fatal(err)
	}
	var set webrtc.SettingEngine
	set.LoggerFactory = log
	set.SetICEUDPMux(mux)
	set.SetIncludeLoopbackCandidate(true)
	set.SetICETimeouts(5*time.Second, 30*time.Second, 200*time.Millisecond)
	p := newPeerWith(t, media, &interceptor.Registry{}, set)
	p.addTracks()
	p.enter(url + "/whip/1?user=a")
	stop := flow(p, 1, 1)
	defer stop()
	v := viewer(t)
	v.enter(url + "/whep/1/a")
	wait(t, "the picture", func() bool { return len(v.packets(video)) > 0 })
	socket.move(t)
	moved := time.Now()
	first := len(v.packets(video))
	wait(t, "the picture from the new address", func() bool { return len(v.packets(video)) > first+20 })
	late := viewer(t)
	late.enter(url + "/whep/1/a")
	wait(t, "a key frame for a newcomer", func() bool { return len(late.packets(video)) > 0 })
	if d := time.Since(moved); d > roamAfter+4*time.Second {
		t.Errorf("it took %v", d)
	}
}
