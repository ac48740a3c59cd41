package device

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"anchord/internal/trtc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// said gives events as words: "3 onEnterRoom result=4".
func said(events []Event) string {
	var out []string
	for _, e := range events {
		s := fmt.Sprint(e.ID, " ", e.Name)
		for _, d := range e.Details {
			s += fmt.Sprint(" ", d.Key, "=", d.Value)
		}
		out = append(out, s)
	}
	return strings.Join(out, "\n")
}

// here gives the mark of the newest event.
func here(e *Events) string {
	r := e.Listen(Filter{}, "")
	defer r.Close()
	return r.Mark()
}

func filter(t *testing.T, s string) Filter {
	t.Helper()
	f, err := ParseFilter(s)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func check(t *testing.T, r *EventReader, want ...string) {
	t.Helper()
	if d := cmp.Diff(strings.Join(want, "\n"), said(r.Take())); d != "" {
		t.Errorf("heard (-want +got):\n%s", d)
	}
}

func TestEventsAreHeardInOrder(t *testing.T) {
	e := NewEvents()
	e.Publish(trtc.OnConnectionLost)
	all, rooms := e.Listen(Filter{}, ""), e.Listen(filter(t, "onenterroom, HEALTH"), "")
	stats := e.Listen(filter(t, "onStatistics on*"), "")
	if !e.Asked(trtc.OnStatistics) || !e.Asked(trtc.OnExitRoom) {
		t.Error("nobody asked?")
	}
	e.Publish(trtc.OnEnterRoom, Detail{"result", 340})
	e.Publish(trtc.OnStatistics, Detail{"rtt", 3})
	e.Publish(ConfigEvent, Detail{"key", "video.fps"})
	select {
	case <-all.Ready():
	default:
		t.Error("it was not called")
	}
	check(t, all, "2 onEnterRoom result=340", "3 config key=video.fps")
	check(t, all)
	check(t, rooms, "2 onEnterRoom result=340")
	check(t, stats, "2 onEnterRoom result=340", "0 onStatistics rtt=3")
	all.Close()
	rooms.Close()
	stats.Close()
	if e.Asked(trtc.OnEnterRoom) {
		t.Error("somebody is still there")
	}
	e.Publish(trtc.OnExitRoom)
	check(t, all)
	if got := said(e.Newest(2)); got != "3 config key=video.fps\n4 onExitRoom" {
		t.Error(got)
	}
	if n := len(e.Newest(1000)); n != 4 {
		t.Errorf("%d", n)
	}
}

func TestResuming(t *testing.T) {
	e, other := NewEvents(), NewEvents()
	first := here(e)
	for i := range 3 {
		e.Publish(JobEvent, Detail{"id", i})
	}
	for _, c := range []struct {
		since string
		want  []string
	}{
		{"", nil},
		{first, []string{"1 job id=0", "2 job id=1", "3 job id=2"}},
		{mark(e.boot, 1), []string{"2 job id=1", "3 job id=2"}},
		{"1", []string{"2 job id=1", "3 job id=2"}},
		{mark(e.boot, 3), nil},
		{mark(e.boot, 4), []string{"0 dropped n=0 why=restart", "1 job id=0", "2 job id=1", "3 job id=2"}},
		{mark(other.boot, 2), []string{"0 dropped n=0 why=restart", "1 job id=0", "2 job id=1", "3 job id=2"}},
		{"rubbish", []string{"0 dropped n=0 why=restart", "1 job id=0", "2 job id=1", "3 job id=2"}},
	} {
		r := e.Listen(Filter{}, c.since)
		check(t, r, c.want...)
		r.Close()
	}
	for i := 3; i < keptEvents+10; i++ {
		e.Publish(JobEvent, Detail{"id", i})
	}
	for _, c := range []struct{ since, first string }{
		{mark(e.boot, 9), "0 dropped n=1 why=old"}, // 1 to 10 are not kept any more
		{mark(e.boot, 10), "11 job id=10"},
		{first, "0 dropped n=10 why=old"},
		{mark(other.boot, 200), "0 dropped n=10 why=restart"},
	} {
		r := e.Listen(Filter{}, c.since)
		got := r.Take()
		if s := said(got[:1]); s != c.first || got[len(got)-1].ID != keptEvents+10 {
			t.Errorf("%s: first %q, last %d", c.since, s, got[len(got)-1].ID)
		}
		r.Close()
	}
	// What is filtered away is not missed.
	r := e.Listen(filter(t, "health"), mark(e.boot, 9))
	check(t, r, "0 dropped n=1 why=old")
	r.Close()
}

func TestSlowReaderLosesItsOldest(t *testing.T) {
	e := NewEvents()
	slow, quick := e.Listen(Filter{}, ""), e.Listen(Filter{}, "")
	defer slow.Close()
	defer quick.Close()
	for i := range keptEvents + 5 {
		e.Publish(JobEvent, Detail{"id", i})
		check(t, quick, fmt.Sprintf("%d job id=%d", i+1, i))
	}
	got := slow.Take()
	if len(got) != keptEvents+1 || said(got[:2]) != "0 dropped n=5 why=slow\n6 job id=5" {
		t.Errorf("%d: %s", len(got), said(got[:2]))
	}
	check(t, slow)
}

func TestEventsAreBoundedInBytes(t *testing.T) {
	e := NewEvents()
	r := e.Listen(Filter{}, "")
	defer r.Close()
	long := strings.Repeat("é", mostText)
	for range 4 * keptEvents {
		e.Publish(JobEvent, Detail{"id", 1}, Detail{"command", long}, Detail{"message", long})
	}
	for _, got := range [][]Event{e.Newest(1000), r.Take()} {
		bytes := 0
		for _, v := range got {
			bytes += size(v)
		}
		if bytes > keptBytes+1000 || len(got) < 20 {
			t.Errorf("%d events, %d bytes", len(got), bytes)
		}
	}
	last := e.Newest(1)[0]
	if s := last.Details[1].Value.(string); len(s) > mostText+4 || !utf8.ValidString(s) || !strings.HasSuffix(s, "é…") {
		t.Errorf("%d bytes: %q", len(s), s)
	}
}

func TestEventsHoldNoSecrets(t *testing.T) {
	e := NewEvents()
	h := NewHealth(e, nil)
	tell := func() string {
		e.Publish(trtc.OnExitRoom, Detail{"text", "ask https://u:hunter2hunter2@h/x?key=hunter2hunter2: no"})
		h.Report("room", Fact{Slug: StoreMemory, Cause: "Authorization: Bearer hunter2hunter2"})
		return said(e.Newest(9)) + fmt.Sprint(h.Standing(), h.Faults())
	}
	if s := tell(); strings.Contains(s, "hunter2") {
		t.Error(s)
	}
	e.Hide = func(string) string { return "***" }
	e.Publish(trtc.OnExitRoom, Detail{"text", "it is hunter2"})
	if s := said(e.Newest(1)); !strings.HasSuffix(s, "text=***") {
		t.Error(s)
	}
}

// TestManyPublishersAndSlowReaders is for the race detector, and counts: what a reader
// took and what it was told that it lost is all there was.
func TestManyPublishersAndSlowReaders(t *testing.T) {
	e := NewEvents()
	const publishers, each = 8, 2000
	var publish, read sync.WaitGroup
	done := make(chan struct{})
	for i := range 6 {
		r := e.Listen(Filter{}, "")
		read.Go(func() {
			defer r.Close()
			var took, lost, last uint64
			take := func() {
				for _, v := range r.Take() {
					if v.Name == Dropped {
						lost += v.Details[0].Value.(uint64)
						continue
					}
					if took++; v.ID <= last {
						t.Errorf("%d after %d", v.ID, last)
					}
					last = v.ID
				}
			}
			for n := 0; ; n++ {
				select {
				case <-r.Ready():
					if i > 2 && n%64 != 0 { // slow
						continue
					}
					take()
				case <-done:
					take()
					if took+lost != publishers*each {
						t.Errorf("took %d and lost %d of %d", took, lost, publishers*each)
					}
					return
				}
			}
		})
	}
	for range publishers {
		publish.Go(func() {
			for i := range each {
				e.Publish(JobEvent, Detail{"id", i})
				if i%100 == 0 { // readers come and go
					r := e.Listen(Filter{}, here(e))
					r.Take()
					r.Close()
				}
			}
		})
	}
	publish.Wait()
	close(done)
	read.Wait()
}

func TestFilter(t *testing.T) {
	for s, want := range map[string]string{"": "all", " , ": "all", "health": "health", "onConnection*,HEALTH health": "onConnection*,health", "*": "*"} {
		if f, err := ParseFilter(s); err != nil || f.String() != want {
			t.Errorf("%q: %v, %v", s, f, err)
		}
	}
	for _, s := range []string{"nothing", "on*Room", "**", "health,x*", strings.Repeat("o*,on*,onE*,onEn*", 2) + " y"} {
		if f, err := ParseFilter(s); err == nil || !strings.Contains(err.Error(), "no event is named") || !strings.Contains(err.Error(), "onEnterRoom") {
			t.Errorf("%q: %v, %v", s, f, err)
		}
	}
	f := filter(t, "onConn*")
	if !f.Passes(trtc.OnConnectionLost) || f.Passes(trtc.OnEnterRoom) || filter(t, "*").Passes(trtc.OnStatistics) || !filter(t, "ONSTATISTICS").Passes(trtc.OnStatistics) {
		t.Error("the wrong ones pass")
	}
}

func FuzzFilter(f *testing.F) {
	for _, s := range []string{"", "health", "onC*,on*", "*", "x", "\x00,é*", strings.Repeat("o*,", 100)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		one, err := ParseFilter(s)
		if err != nil {
			return
		}
		again, err := ParseFilter(strings.TrimPrefix(one.String(), "all"))
		if err != nil || again.String() != one.String() {
			t.Errorf("%q: %q, then %q, %v", s, one, again, err)
		}
		for _, k := range EventKinds() {
			if one.Passes(k.Name) != again.Passes(k.Name) {
				t.Errorf("%q: %s", s, k.Name)
			}
		}
	})
}

func FuzzResume(f *testing.F) {
	e := NewEvents()
	for i := range keptEvents + 50 {
		e.Publish(JobEvent, Detail{"id", i})
	}
	for _, s := range []string{"", "0", "1", mark(e.boot, 60), here(e), "a-1", "-", "1-", e.boot + "-18446744073709551615", e.boot + "--1", e.boot + "-+1", "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ValidMark(s)
		r := e.Listen(Filter{}, s)
		defer r.Close()
		got := r.Take()
		if s == "" {
			if got != nil {
				t.Errorf("%d events", len(got))
			}
			return
		}
		if len(got) > 0 && got[0].Name == Dropped {
			got = got[1:]
		}
		for i, v := range got {
			if i > 0 && v.ID != got[i-1].ID+1 {
				t.Errorf("%q: %d after %d", s, v.ID, got[i-1].ID)
			}
		}
		if len(got) > 0 && got[len(got)-1].ID != keptEvents+50 {
			t.Errorf("%q: the last is %d", s, got[len(got)-1].ID)
		}
	})
}

func TestValidMark(t *testing.T) {
	e := NewEvents()
	for _, s := range []string{"0", "17", here(e), mark(e.boot, 3)} {
		if !ValidMark(s) {
			t.Errorf("%q is none", s)
		}
	}
	for _, s := range []string{"", "x", "-1", "a-", "a-x", "a-b-1", "A-1", "+1", "a-+1", "1 ", "99999999999999999999999", strings.Repeat("a", 17) + "-1"} {
		if ValidMark(s) {
			t.Errorf("%q is one", s)
		}
	}
}

func BenchmarkPublish(b *testing.B) {
	e := NewEvents()
	for range 4 {
		defer e.Listen(Filter{}, "").Close()
	}
	b.ReportAllocs()
	for b.Loop() {
		e.Publish(trtc.OnEnterRoom, Detail{"result", 340}, Detail{"text", "why"})
	}
}
