package rtc

import (
	"testing"
	"time"

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
