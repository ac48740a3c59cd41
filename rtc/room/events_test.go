package room

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestEventsTellWhoIsThere(t *testing.T) {
	s, url := start(t, Config{})
	watcher := listen(t, url+"/rooms/1/events", "")
	if snap := watcher.next(t, "snapshot"); len(snap.data["anchors"].([]any)) != 0 || snap.data["viewers"] != 0.0 {
		t.Errorf("snapshot of nothing: %v", snap.data)
	}
	pub := publisher(t)
	pub.enter(url + "/whip/1?user=a")
	if join := watcher.next(t, "join"); join.data["user"] != "a" {
		t.Errorf("join: %v", join.data)
	}
	ears := listen(t, url+"/rooms/1/events?id="+idOf(pub), "")
	if n := ears.next(t, "subscribers").data["count"]; n != 0.0 {
		t.Errorf("%v subscribers", n)
	}
	stop := flow(pub, 1, 1)
	for _, kind := range []string{"audio", "video"} {
		if e := watcher.next(t, kind); e.data["available"] != true {
			t.Errorf("%s: %v", kind, e.data)
		}
	}
	v := viewer(t)
	v.enter(url + "/whep/1/a?viewer=page1")
	two := viewer(t)
	two.enter(url + "/whep/1/a?viewer=page1")
	for _, want := range []float64{1, 2} {
		if n := ears.next(t, "subscribers").data["count"]; n != want {
			t.Errorf("%v subscribers, want %v", n, want)
		}
	}
	if n := watcher.next(t, "viewers").data["viewers"]; n != 1.0 {
		t.Errorf("%v viewers, want one page", n)
	}
	v.close() // says goodbye by DTLS
	if n := ears.next(t, "subscribers").data["count"]; n != 1.0 {
		t.Errorf("%v subscribers after one went", n)
	}
	stop() // its media stops, but it still answers
	if e := watcher.next(t, "audio"); e.data["available"] != false {
		t.Errorf("audio: %v", e.data)
	}
	if st := s.State("1").Anchors[0]; st.State != "live" || st.Audio || st.Video {
		t.Errorf("a muted anchor is %+v", st)
	}
	if err := s.Kick("1", "a", "kicked"); err != nil {
		t.Fatal(err)
	}
	if why := ears.next(t, "kick").data["reason"]; why != "kicked" {
		t.Errorf("kicked for %v", why)
	}
	if leave := watcher.next(t, "leave"); leave.data["reason"] != "kicked" {
		t.Errorf("leave: %v", leave.data)
	}
	// Who was not listening at that moment still learns why.
	if why := listen(t, url+"/rooms/1/events?id="+idOf(pub), "").next(t, "kick").data["reason"]; why != "kicked" {
		t.Errorf("afterwards: kicked for %v", why)
	}
	if err := s.Kick("1", "a", ""); err == nil {
		t.Error("kicked twice")
	}
	if err := s.Dissolve("1"); err != nil {
		t.Fatal(err)
	}
	watcher.next(t, "dissolve")
}

func TestEventsResume(t *testing.T) {
	_, url := start(t, Config{})
	st := listen(t, url+"/rooms/1/events", "")
	snap := st.next(t, "snapshot")
	pub := publisher(t)
	pub.enter(url + "/whip/1?user=a")
	join := st.next(t, "join")
	do(t, http.MethodDelete, pub.where, "", "", nil)
	st.next(t, "leave")
	if e := <-listen(t, url+"/rooms/1/events", snap.id).events; e.name != "join" || e.id != join.id {
		t.Errorf("after the snapshot comes %+v", e)
	}
	if e := <-listen(t, url+"/rooms/1/events", join.id).events; e.name != "leave" || e.data["reason"] != "exit" {
		t.Errorf("after the join comes %+v", e)
	}
	for _, id := range []string{"nonsense", "AAAA-1", join.id + "9999", "-", join.id[:9] + "x"} {
		if e := <-listen(t, url+"/rooms/1/events", id).events; e.name != "snapshot" {
			t.Errorf("after %q comes %+v", id, e)
		}
	}
}

func TestSlowReaderIsCutOffAndResumes(t *testing.T) {
	b := newBus("E")
	r, _, _ := b.join("", "")
	for n := range readAhead + 10 {
		b.publish("join", "", presence{User: fmt.Sprint(n)})
	}
	var last uint64
	for e := range r.c {
		last = e.n
	}
	if last != readAhead+1 {
		t.Fatalf("it read up to %d", last)
	}
	_, missed, resumed := b.join("", b.mark(last))
	if !resumed || len(missed) != 10 || missed[0].n != last+1 {
		t.Errorf("resumed %v with %d events", resumed, len(missed))
	}
	for range 2 * keptEvents {
		b.publish("leave", "", presence{})
	}
	if _, _, resumed := b.join("", b.mark(last)); resumed {
		t.Error("resumed from what is forgotten")
	}
}

func TestLostAnchorIsGivenTime(t *testing.T) {
	h := &hall{id: "1", bus: newBus("E"), anchors: map[string]*anchor{}}
	a := h.anchor("a")
	r, _, _ := h.bus.join("", "")
	now := time.Now()
	a.came(now)
	arrive := func(at time.Time) { a.audio.hear(at); a.video.hear(at) }
	want := func(name, state string) {
		t.Helper()
		var e event
		select {
		case e = <-r.c:
		default:
		}
		if e.name != name {
			t.Fatalf("event %s %s, want %s", e.name, e.data, name)
		}
		if c, ok := e.body.(condition); ok && c.State != state {
			t.Fatalf("state %s, want %s", c.State, state)
		}
	}
	want("join", "")
	arrive(now)
	a.judge(now, time.Time{})
	want("audio", "")
	want("video", "")
	a.judge(now.Add(1900*time.Millisecond), time.Time{})
	a.judge(now.Add(2100*time.Millisecond), time.Time{})
	want("state", "lost")
	if a.judge(now.Add(89*time.Second), time.Time{}) {
		t.Error("left before 90 s")
	}
	if !a.judge(now.Add(91*time.Second), time.Time{}) {
		t.Error("still here after 91 s")
	}
	now = now.Add(60 * time.Second)
	arrive(now)
	a.judge(now, time.Time{})
	want("state", "live")
	// Without media but with answers it is here, and its media is not available.
	later := now.Add(100 * time.Second)
	if a.judge(later, later.Add(-time.Second)) || a.lost {
		t.Error("a muted anchor was lost")
	}
	want("audio", "")
	want("video", "")
	if len(r.c) != 0 {
		t.Errorf("%d more events", len(r.c))
	}
	if got := a.audio.last().String(); !strings.Contains(got, " m=") {
		t.Errorf("%s goes wrong when the wall clock is set", got)
	}
}
