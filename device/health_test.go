package device

import (
	"bytes"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"anchord/internal/trtc"
)

// ill gives what stands, as words.
func ill(h *Health) string {
	var out []string
	for _, s := range h.Standing() {
		out = append(out, fmt.Sprintf("%s %s ×%d: %s", s.Severity, s.Key(), s.Count, s.Cause))
	}
	return strings.Join(out, "\n")
}

// heard gives the events since the last call, as words, without texts.
func heard(r *EventReader) string {
	var out []string
	for _, e := range r.Take() {
		s := e.Name
		for _, d := range e.Details {
			if d.Key != "cause" && d.Key != "do" && d.Key != "part" && d.Key != "errMsg" && d.Key != "warningMsg" {
				s += fmt.Sprint(" ", d.Value)
			}
		}
		out = append(out, s)
	}
	return strings.Join(out, "\n")
}

func same(t *testing.T, what, want, got string) {
	t.Helper()
	if d := cmp.Diff(strings.ReplaceAll(want, "; ", "\n"), got); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func TestAConditionMustLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := NewEvents()
		r := e.Listen(Filter{}, "")
		defer r.Close()
		h := NewHealth(e, nil)
		none := Fact{Slug: CameraNone, Cause: "nothing that fits"}
		for range 2 {
			h.Report("camera", none) // 0 s, 1 s
			time.Sleep(time.Second)
		}
		h.Report("camera") // it was plugged in while the box started
		same(t, "too early", "", ill(h)+heard(r))
		for range 3 {
			h.Report("camera", none)
			time.Sleep(time.Second)
		}
		same(t, "too early", "", ill(h)+heard(r))
		h.Tick()
		same(t, "after 3 s", "error camera-none ×1: nothing that fits", ill(h))
		same(t, "told", "health camera-none raised error 1111; onWarning 1111 camera-none", heard(r))
		for range 5 {
			h.Report("camera", Fact{Slug: CameraNone, Cause: "other words"})
			h.Report("mic")
			time.Sleep(time.Second)
		}
		same(t, "told once", "", heard(r))
		same(t, "the newest words", "error camera-none ×1: other words", ill(h))
		h.Report("camera", Fact{Slug: CameraBusy, Cause: "it has it"})
		same(t, "cleared", "health camera-none cleared error 1111 8", heard(r))
		time.Sleep(2 * time.Second)
		h.Tick()
		same(t, "another", "health camera-busy raised error -1316; onError -1316 camera-busy; onWarning 1114 camera-busy", heard(r))
		h.Report("camera")
		same(t, "good", "health camera-busy cleared error -1316 2", heard(r))
		same(t, "good", "", ill(h))
	})
}

func TestAConditionHidesWhatItExplains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := NewEvents()
		h := NewHealth(e, nil)
		h.Report("mic", Fact{Slug: MicStuck})
		same(t, "at first", "error mic-stuck ×1: ", ill(h))
		// The server is gone, and before anybody is told of that nobody is told of what follows from it.
		h.Report("server", Fact{Slug: SoundServerGone})
		h.Report("mic", Fact{Slug: MicNone})
		same(t, "hidden", "", ill(h))
		time.Sleep(10 * time.Second)
		h.Tick()
		same(t, "explained", "error sound-server-gone ×1: ", ill(h))
		h.Report("server")
		same(t, "not yet", "", ill(h)) // the microphone gets its 3 s to be found
		time.Sleep(2 * time.Second)
		h.Tick()
		same(t, "not yet", "", ill(h))
		time.Sleep(time.Second)
		h.Tick()
		same(t, "not found", "error mic-none ×1: ", ill(h))
	})
}

func TestWhatIsOverStaysUntilItIsSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := NewEvents()
		r := e.Listen(Filter{}, "")
		defer r.Close()
		h := NewHealth(e, nil)
		h.Note(Fact{Slug: StoreCorrupt, Cause: "no database", Do: "buy another card"})
		h.Note(Fact{Slug: ConfigValue, Of: "video.fps", Cause: "61"})
		h.Note(Fact{Slug: ConfigValue, Of: "video.rotation", Cause: "45"})
		h.Report("store")
		h.Report("config")
		same(t, "stays", "warning config-value:video.fps ×1: 61; warning config-value:video.rotation ×1: 45; warning store-corrupt ×1: no database", ill(h))
		if s := h.Standing(); s[2].Do != "buy another card" || s[2].Text == "" {
			t.Errorf("%+v", s[2])
		}
		r.Take()
		// What only happens does not stand.
		h.Note(Fact{Slug: RoomGaveUp, Cause: "no answer"})
		same(t, "told", "onError -3301 room-gave-up", heard(r))
		if n := h.ClearFaults(); n != 4 {
			t.Errorf("%d were forgotten", n)
		}
		same(t, "seen", "", ill(h))
		if f := h.Faults(); len(f) != 0 {
			t.Errorf("%+v", f)
		}
		if h.ClearFaults() != 0 {
			t.Error("more")
		}
	})
}

func TestFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := NewHealth(NewEvents(), nil)
		begun := time.Now()
		flap := func(f Fact) {
			h.Report("camera", f)
			h.Report("camera")
		}
		flap(Fact{Slug: CameraGone, Cause: "a"})
		time.Sleep(time.Minute)
		flap(Fact{Slug: CameraStuck, Cause: "b"})
		time.Sleep(time.Minute)
		flap(Fact{Slug: CameraGone, Cause: "a"})
		h.Note(Fact{Slug: EncoderChanged}) // only good to know
		f := h.Faults()
		want := []Fault{
			{First: begun, Last: begun.Add(2 * time.Minute), Code: 1116, Slug: CameraGone, Severity: SeverityError, Cause: "a", Count: 2},
			{First: begun.Add(time.Minute), Last: begun.Add(time.Minute), Code: 1115, Slug: CameraStuck, Severity: SeverityError, Cause: "b", Count: 1},
		}
		if d := cmp.Diff(want, f); d != "" {
			t.Error(d)
		}
		for i := range 100 {
			flap(Fact{Slug: CameraStuck, Cause: fmt.Sprint(i)})
		}
		if f = h.Faults(); len(f) != keptFaults || f[0].Cause != "99" || f[keptFaults-1].Cause != fmt.Sprint(100-keptFaults) {
			t.Errorf("%d: %+v", len(f), f[0])
		}
	})
}

func TestHealthSaysItInTheLog(t *testing.T) {
	var b bytes.Buffer
	h := NewHealth(NewEvents(), slog.New(slog.NewTextHandler(&b, nil)))
	h.Report("camera", Fact{Slug: CameraGone, Cause: "ENODEV"})
	h.Report("camera")
	got := b.String()
	for _, want := range []string{`level=ERROR msg="the camera went away" condition=camera-gone cause=ENODEV do="plug it in again`, `level=INFO msg="good again" condition=camera-gone`} {
		if !strings.Contains(got, want) {
			t.Errorf("%s\nhas no %s", got, want)
		}
	}
}

func TestHealthFromManySides(t *testing.T) {
	e := NewEvents()
	h := NewHealth(e, nil)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 200 {
				h.Report(fmt.Sprint(i), Fact{Slug: PartFailed, Of: fmt.Sprint(i)}, Fact{Slug: StoreMemory, Of: fmt.Sprint(i, n%3)})
				h.Note(Fact{Slug: StoreCorrupt})
				h.Tick()
				h.Standing()
				h.Report(fmt.Sprint(i))
				if n%50 == 0 {
					h.ClearFaults()
				}
			}
		})
	}
	wg.Wait()
	h.ClearFaults()
	same(t, "at the end", "", ill(h))
}

func TestAConditionWithoutARowIsShown(t *testing.T) {
	h := NewHealth(NewEvents(), nil)
	h.Report("x", Fact{Slug: "made-up", Cause: "c"})
	same(t, "shown", "error made-up ×1: c", ill(h))
}

// TestConditionsAreWhole looks at the table itself.
func TestConditionsAreWhole(t *testing.T) {
	all := map[string]Condition{}
	for _, c := range Conditions() {
		if _, twice := all[c.Slug]; twice || c.Text == "" || c.Do == "" || c.Part == "" || c.Severity < SeverityInfo || c.Severity > SeverityError || c.Visible < 0 || c.Visible > time.Minute {
			t.Errorf("%+v", c)
		}
		if c.Stays && c.Visible != 0 {
			t.Errorf("%s stays and is over: it must be shown at once", c.Slug)
		}
		for _, code := range c.Codes {
			if code.Meaning().Name == "" {
				t.Errorf("%s: code %d has no name", c.Slug, code)
			}
		}
		if strings.HasSuffix(c.Text, ".") || strings.HasSuffix(c.Do, ".") || strings.ToLower(c.Slug) != c.Slug || strings.ContainsAny(c.Slug, " :") {
			t.Errorf("%s: %q, %q", c.Slug, c.Text, c.Do)
		}
		all[c.Slug] = c
	}
	var depth func(slug string, path []string)
	depth = func(slug string, path []string) {
		if slices.Contains(path, slug) {
			t.Fatalf("%v explain each other", append(path, slug))
		}
		c, ok := all[slug]
		if !ok {
			t.Errorf("%v: there is no %s", path, slug)
		}
		for _, u := range c.Under {
			depth(u, append(path, slug))
		}
	}
	for slug := range all {
		depth(slug, nil)
	}
}

// TestHealthTellsOnlyWhatTheTableSays: events have the details that docs/events.md names.
func TestHealthTellsOnlyWhatTheTableSays(t *testing.T) {
	e := NewEvents()
	h := NewHealth(e, nil)
	r := e.Listen(Filter{}, "")
	defer r.Close()
	h.Report("x", Fact{Slug: CameraStuck, Cause: "a"}, Fact{Slug: StoreMemory, Cause: "b"})
	h.Report("x")
	n := 0
	for _, v := range r.Take() {
		if n++; CheckEvent(v) != nil {
			t.Error(CheckEvent(v))
		}
	}
	if n != 6 {
		t.Errorf("%d events", n)
	}
	for _, v := range []Event{{Name: "x"}, {Name: trtc.OnEnterRoom}, {Name: trtc.OnEnterRoom, Details: []Detail{{"result", 1}, {"x", 1}}}, {Name: trtc.OnEnterRoom, Details: []Detail{{"result", []int{1}}}},
		{Name: trtc.OnEnterRoom, Details: []Detail{{"result", 1}, {"result", 1}}}} {
		if CheckEvent(v) == nil {
			t.Errorf("%+v is good?", v)
		}
	}
}
