package encoder

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"anchord/hal"
	"anchord/internal/media"
)

// soft is a software encoder of the tests.
type soft struct{ maker }

func (*soft) Software() {}

func names(r *Roster) string {
	var out []string
	for _, e := range r.candidates() {
		out = append(out, e.make.Name())
	}
	return strings.Join(out, " ")
}

var errHangs = fmt.Errorf("encode: no answer for 500ms: %w", hal.ErrStuck)

func TestWedgedEncodersArePutAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRoster(&maker{name: "hard"}, &soft{maker{name: "soft"}})
		hard := r.all[0]
		for i, want := range []time.Duration{10 * time.Minute, 20 * time.Minute, 40 * time.Minute, 80 * time.Minute, 160 * time.Minute, 320 * time.Minute, 6 * time.Hour, 6 * time.Hour} {
			r.failed(hard, errHangs)
			if got := names(r); got != "soft" {
				t.Fatalf("hang %d: %s", i, got)
			}
			if e := r.List()[0]; e.Aside != errHangs.Error() || e.Until.Sub(e.Since) != want || e.Wedges != i+1 {
				t.Errorf("hang %d: %+v, want %v", i, e, want)
			}
			time.Sleep(want - time.Second)
			if got := names(r); got != "soft" || r.better(r.all[1]) != nil {
				t.Fatalf("hang %d: too early: %s", i, got)
			}
			time.Sleep(time.Second)
			if got := names(r); got != "hard soft" || r.better(r.all[1]) != hard {
				t.Fatalf("hang %d: %s", i, got)
			}
		}
		r.works(hard)
		r.failed(hard, errHangs)
		if e := r.List()[0]; e.Until.Sub(e.Since) != 6*time.Hour {
			t.Errorf("forgiven at once: %+v", e)
		}
		time.Sleep(25 * time.Hour)
		r.works(hard)
		r.failed(hard, errHangs)
		if e := r.List()[0]; e.Until.Sub(e.Since) != 10*time.Minute {
			t.Errorf("a day of work is worth nothing: %+v", e)
		}
		if err := r.Clear("hard"); err != nil || names(r) != "hard soft" {
			t.Errorf("cleared: %v %s", err, names(r))
		}
		if err := r.Clear("none"); err == nil {
			t.Error("cleared what is not there")
		}
	})
}

func TestFailuresAreNoHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRoster(&maker{name: "hard"}, &soft{maker{name: "soft"}})
		hard, software := r.all[0], r.all[1]
		boom := errors.New("EIO")
		r.failed(hard, boom)
		if names(r) != "soft" {
			t.Error(names(r))
		}
		r.failed(software, boom) // nothing is left: what only failed is tried again
		if names(r) != "hard soft" {
			t.Error(names(r))
		}
		time.Sleep(restTime)
		r.failed(hard, boom)
		time.Sleep(restTime)
		r.failed(hard, boom) // the third within ten minutes
		if e := r.List()[0]; e.Wedges != 1 || e.Until.Sub(e.Since) != wedgeTime {
			t.Errorf("%+v", e)
		}
		for range 20 { // the last resort is never locked out
			r.failed(software, boom)
		}
		if names(r) != "soft" {
			t.Error(names(r))
		}
	})
}

func TestRosterIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kept []byte
		r := NewRoster(&maker{name: "hard"}, &soft{maker{name: "soft"}})
		r.Remember(nil, func(b []byte) { kept = b })
		r.failed(r.all[1], errors.New("once")) // nothing to remember
		if kept != nil {
			t.Errorf("kept %s", kept)
		}
		r.failed(r.all[0], errHangs)
		again := NewRoster(&maker{name: "hard"}, &soft{maker{name: "soft"}})
		again.Remember(kept, nil)
		if d := cmp.Diff(r.List()[0], again.List()[0]); d != "" || names(again) != "soft" {
			t.Errorf("%s %s", names(again), d)
		}
		for _, bad := range []string{"", "x", "[]", `{"hard":3}`, `{"hard":{"until":"never"}}`} {
			n := NewRoster(&maker{name: "hard"})
			n.Remember([]byte(bad), nil)
			if names(n) != "hard" {
				t.Errorf("%q: %s", bad, names(n))
			}
		}
		n := NewRoster(&maker{name: "hard"}, &soft{maker{name: "soft"}})
		n.Remember([]byte(`{"hard":{"aside":"x","until":"2999-01-01T00:00:00Z"}}`), nil)
		time.Sleep(wedgeMost)
		if names(n) != "hard soft" {
			t.Error("a wrong clock locks an encoder out for ever")
		}
	})
}

func TestOrder(t *testing.T) {
	r := NewRoster(&maker{name: "a"}, &maker{name: "b"}, &maker{name: "c"})
	r.Order([]string{"c", "x", "a"})
	if names(r) != "c a b" {
		t.Error(names(r))
	}
	r.tested(r.all[0], Result{Err: "no key pictures"})
	if names(r) != "a b c" {
		t.Error(names(r))
	}
}

// A hang: the spare goes on with a key picture, at once, and the hung one is not tried again
// before its time; then it is.
func TestTheSpareTakesOver(t *testing.T) {
	hard, software := &maker{name: "hard"}, &soft{maker{name: "soft"}}
	roster := NewRoster(hard, software)
	var mu sync.Mutex
	var switches []Switch
	b := startVideo(t, quiet, VideoConfig{Roster: roster, OnSwitch: func(s Switch) {
		mu.Lock()
		switches = append(switches, s)
		mu.Unlock()
	}})
	for range warmAfter {
		b.packet(small).Release()
	}
	if hard.Opened() != 1 || software.Opened() != 1 {
		t.Fatalf("%d and %d are open, want one and its spare", hard.Opened(), software.Opened())
	}
	opened := len(software.rates)
	hard.Fail(errHangs)
	p := b.packet(small)
	if !p.Key {
		t.Error("another encoder does not begin with a key picture")
	}
	p.Release()
	if hard.Opened() != 0 || software.Opened() != 1 || len(software.rates) != opened+1 { // its rate was set
		t.Errorf("%d and %d are open; %v", hard.Opened(), software.Opened(), software.rates)
	}
	hard.Fail(nil)
	for range 50 {
		b.packet(small).Release()
	}
	if s := b.Status(); s.Encoder != "soft" || roster.List()[0].Aside != errHangs.Error() {
		t.Errorf("%+v %+v", s, roster.List())
	}
	if err := roster.Clear("hard"); err != nil {
		t.Fatal(err)
	}
	b.until("the better one is back", func() bool {
		b.packet(small).Release()
		return b.Status().Encoder == "hard"
	})
	b.packet(small).Release()
	if hard.Opened() != 1 || software.Opened() != 1 {
		t.Errorf("%d and %d are open", hard.Opened(), software.Opened())
	}
	mu.Lock()
	defer mu.Unlock()
	if len(switches) != 2 || switches[0].From != "hard" || switches[0].To != "soft" || !errors.Is(switches[0].Cause, hal.ErrStuck) || !switches[0].Software ||
		switches[1].To != "hard" || switches[1].Cause != nil || switches[1].Software {
		t.Errorf("%+v", switches)
	}
	b.cancel()
	b.until("nothing is left open", func() bool { return hard.Opened()+software.Opened() == 0 })
}

func TestNoSpareWithoutMemory(t *testing.T) {
	hard, software := &maker{name: "hard"}, &soft{maker{name: "soft"}}
	b := startVideo(t, quiet, VideoConfig{Roster: NewRoster(hard, software), Roomy: func() bool { return false }})
	for range warmAfter + 5 {
		b.packet(small).Release()
	}
	if software.Opened() != 0 {
		t.Error("a spare was opened")
	}
	hard.Fail(errHangs)
	p := b.packet(small)
	if !p.Key || b.Status().Encoder != "soft" {
		t.Errorf("%+v", b.Status())
	}
	p.Release()
}

// liar says that all is well and gives no key picture.
type liar struct{ maker }

func (l *liar) Open(ctx context.Context, c hal.VideoConfig) (hal.VideoEncoder, hal.VideoConfig, error) {
	e, g, err := l.maker.Open(ctx, c)
	return &lying{e}, g, err
}

type lying struct{ hal.VideoEncoder }

func (l *lying) Encode(f *media.Frame, key bool) (*media.Packet, error) {
	p, err := l.VideoEncoder.Encode(f, key)
	if p != nil {
		p.Data, p.Key = append(p.Data[:0], 0, 0, 0, 1, 0x41, 0x9a), true
	}
	return p, err
}

func TestLiarsAreNotAdmitted(t *testing.T) {
	b := startVideo(t, quiet, VideoConfig{Roster: NewRoster(&liar{maker{name: "liar"}}, &soft{maker{name: "soft"}})})
	p := b.packet(small)
	if !media.IsKey(p.Data) || b.Status().Encoder != "soft" {
		t.Errorf("%+v", b.Status())
	}
	p.Release()
}

func TestSelfTest(t *testing.T) {
	c := hal.VideoConfig{Input: media.Format{Pixel: media.YU12, Size: media.Size{W: 1280, H: 720}}, Rate: media.FPS(30), Bitrate: 1e6, MinBitrate: 250e3}
	good, bad := &maker{name: "good"}, &liar{maker{name: "liar"}}
	broken := &maker{name: "broken", refed: hal.ErrBusy}
	r := NewRoster(good, bad, broken)
	for name, want := range map[string]string{"good": "", "liar": "its stream does not begin with a key picture", "broken": "open: device is in use"} {
		res, err := r.SelfTest(t.Context(), name, c)
		if err != nil || res.Err != want || res.Size != "1280x720" {
			t.Errorf("%s: %+v %v", name, res, err)
		}
		if name == "good" && (!res.Key || !res.Obeys || res.Rate[0] < 900e3 || res.Rate[1] > 550e3 || res.Level != "3.1") {
			t.Errorf("%+v", res)
		}
	}
	if names(r) != "good liar broken" || r.List()[0].Test == nil || good.Opened()+bad.Opened() != 0 {
		t.Errorf("%s %+v", names(r), r.List())
	}
	if _, err := r.SelfTest(t.Context(), "none", c); err == nil {
		t.Error("tested what is not there")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if res, err := r.SelfTest(ctx, "good", c); err != nil || res.Err == "" || r.List()[0].Test.Err != "" {
		t.Errorf("a test that was ended counts: %+v %v", res, err)
	}
}
