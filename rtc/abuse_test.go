package rtc

import (
	"io"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/transport/v5/packetio"
	"github.com/pion/webrtc/v4"

	"anchord/internal/media"
)

func TestSendingAgainIsBounded(t *testing.T) {
	var p allowance
	now := media.Time(time.Hour)
	for n := range resendBurst {
		if p.full(now) {
			t.Fatalf("full after %d", n)
		}
		p.take(now)
	}
	if !p.full(now) {
		t.Error("there is no bound")
	}
	if now = now.Add(10 * resendEvery); p.full(now) {
		t.Error("the bound stays")
	}
	n := 0
	for ; !p.full(now); n++ {
		p.take(now)
	}
	if n > 10 {
		t.Errorf("%d packets for 10 ms", n)
	}
}

func TestStreamsAreBounded(t *testing.T) {
	var set webrtc.SettingEngine
	floods := 0
	BoundStreams(&set, 1000, func() { floods++ })
	for n := range 3 * maxStreams {
		b := set.BufferFactory(packetio.RTPBufferPacket, uint32(n))
		if _, err := b.Write(make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		for range 20 {
			_, _ = b.Write(make([]byte, 100))
		}
		held := 0
		for range 20 {
			_ = b.(interface{ SetReadDeadline(time.Time) error }).SetReadDeadline(time.Now())
			if _, err := b.Read(make([]byte, 200)); err != nil {
				break
			}
			held++
		}
		if most := 10; held > most {
			t.Fatalf("stream %d holds %d packets", n, held)
		}
		_ = b.Close()
	}
	if floods != 1 {
		t.Errorf("a flood was told %d times", floods)
	}
}

func TestNewcomersShareKeyPictures(t *testing.T) {
	live(t, func(t *testing.T, w *world) {
		_ = w.s.Enter(room("1"))
		time.Sleep(time.Second)
		keys := 0
		for n := range 100 { // in one second
			w.made()[0].events <- Event{Kind: Subscribers, Count: n + 1}
			time.Sleep(10 * time.Millisecond)
			if w.demand.Key() == media.KeyNow {
				w.demand.KeyMade()
				keys++
			}
		}
		time.Sleep(keyGap)
		if w.demand.Key() == media.KeyNow {
			keys++
		}
		if keys < 3 || keys > 6 {
			t.Errorf("%d key pictures for 100 newcomers in a second", keys)
		}
	})
}

// wobbly is a connection whose network goes away for less than anybody notices.
type wobbly struct {
	down bool
	sent int
}

func (w *wobbly) WriteRTP(_ *rtp.Header, b []byte) (int, error) {
	if w.down {
		return 0, nil // as pion says it
	}
	w.sent++
	return len(b), nil
}

func (w *wobbly) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestPicturesComeBackAfterAShortOutage(t *testing.T) {
	w := newWorld()
	way := &wobbly{}
	w.s.video.bound.Store(&binding{id: "x", stream: way, ssrc: 1, pt: 102})
	w.s.carrier.Store(1)
	w.demand.KeyMade()
	var g gate
	first := true
	pictures := func(n int) {
		for range n {
			p := media.NewPacket(nil).Lend()
			p.Data = []byte{0, 0, 0, 1, 0x65, 1, 2, 3}
			if p.Key = first || w.demand.Key() != media.NoKey; p.Key {
				w.demand.KeyMade()
			}
			first = false
			w.s.write(&g, p, true, func(note) {})
			p.Release()
		}
	}
	pictures(10)
	way.down = true
	pictures(10) // a key picture among them
	way.down = false
	before := way.sent
	if pictures(10); way.sent-before != 10 {
		t.Errorf("%d of 10 pictures left after the outage", way.sent-before)
	}
}
