package room

import (
	"net/http"
	"testing"
)

// TestTotalsOnlyGrow has everybody come and go: the counters never go back.
func TestTotalsOnlyGrow(t *testing.T) {
	s, url := start(t, Config{})
	var last Totals
	check := func(what string, rooms, anchors, viewers int) {
		t.Helper()
		now := s.Totals()
		if now.Rooms != rooms || now.Anchors != anchors || now.Viewers != viewers {
			t.Errorf("%s: %+v", what, now)
		}
		if now.Received < last.Received || now.ReceivedBytes < last.ReceivedBytes || now.Forwarded < last.Forwarded || now.ForwardedBytes < last.ForwardedBytes || now.PLIs < last.PLIs || now.Resent < last.Resent {
			t.Errorf("%s: %+v after %+v", what, now, last)
		}
		last = now
	}
	check("empty", 0, 0, 0)
	for round := range 2 {
		pub := publisher(t)
		pub.enter(url + "/whip/101?user=cart-7")
		stop := flow(pub, 1, 1)
		one, two := viewer(t), viewer(t)
		one.enter(url + "/whep/101/cart-7")
		two.enter(url + "/whep/101/cart-7")
		before := last
		wait(t, "both see it", func() bool { return len(one.packets(video)) > 20 && len(two.packets(video)) > 20 })
		check("all are in", 1, 1, 2)
		if last.Received < before.Received+20 || last.Forwarded < before.Forwarded+40 || last.ForwardedBytes <= before.ForwardedBytes || last.PLIs == 0 {
			t.Errorf("round %d: %+v after %+v", round, last, before)
		}
		if res, _ := do(t, http.MethodDelete, one.where, "", "", nil); res.StatusCode != 200 {
			t.Error(res.Status)
		}
		check("one viewer left", 1, 1, 1)
		stop()
		if err := s.Dissolve("101"); err != nil {
			t.Error(err)
		}
		check("dissolved", 0, 0, 0)
		for _, p := range []*peer{pub, one, two} {
			p.close()
		}
	}
}
