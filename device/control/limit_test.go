package control

import (
	"net/netip"
	"testing"
	"time"
)

// at is a sender with the n-th address.
func at(n int) sender {
	return sender{net: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), 32)}
}

func TestLimiterOnePeer(t *testing.T) {
	var l limiter
	now := time.Unix(1e9, 0)
	for i := range wrongBurst {
		if w, _ := l.wrong(at(1), now); w != 0 || l.wait(at(1), now) != 0 || !l.quiet(now) {
			t.Fatalf("wrong token %d: has to wait %v", i+1, w)
		}
	}
	var waited time.Duration
	for i, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60, 60} {
		want *= time.Second
		w, first := l.wrong(at(1), now)
		if w != want || first != (i == 0) || l.wait(at(1), now) != want || l.quiet(now) {
			t.Fatalf("wait %d is %v (first: %v), want %v", i, w, first, want)
		}
		// What was on its way does not make it longer.
		if w, first := l.wrong(at(1), now.Add(want/2)); w != want/2 || first {
			t.Errorf("half-way: %v, %v", w, first)
		}
		if l.wait(at(2), now) != 0 {
			t.Error("another sender has to wait")
		}
		now = now.Add(want)
		waited += want
		if l.wait(at(1), now) != 0 || !l.quiet(now) {
			t.Error("the wait does not end")
		}
	}
	now = now.Add(forgetAfter + 1)
	if w, _ := l.wrong(at(1), now); w != 0 {
		t.Errorf("after a long quiet time: %v", w)
	}
}

// TestLimiterSlowPeer has an old client that asks every few seconds for ever.
func TestLimiterSlowPeer(t *testing.T) {
	var l limiter
	now := time.Unix(1e9, 0)
	for range 10000 {
		if w, _ := l.wrong(at(1), now); w != 0 {
			t.Fatalf("has to wait %v", w)
		}
		now = now.Add(wrongEvery)
	}
}

func TestLimiterManyPeers(t *testing.T) {
	var l limiter
	now := time.Unix(1e9, 0)
	looked := 0
	for i := range 100000 {
		w, _ := l.wrong(at(i), now)
		if w == 0 {
			looked++
		}
		if len(l.senders) > maxSenders {
			t.Fatalf("%d senders are remembered", len(l.senders))
		}
		now = now.Add(time.Millisecond)
	}
	// One sender more a millisecond: the burst, then one in 50 gets another try.
	if looked < allBurst || looked > allBurst+100000/50+1 {
		t.Errorf("%d may try again at once", looked)
	}
	if l.wait(at(200000), now) != 0 {
		t.Error("who tried nothing has to wait")
	}
	if l.wait(at(99999), now) == 0 && l.senders[at(99999)] != nil {
		t.Error("the last one does not have to wait")
	}
}

func TestLimiterClockGoesBack(t *testing.T) {
	var l limiter
	now := time.Unix(1e9, 0)
	for range wrongBurst {
		l.wrong(at(1), now)
	}
	if w, _ := l.wrong(at(1), now.Add(-time.Hour)); w != leastLock {
		t.Errorf("%v", w)
	}
}
