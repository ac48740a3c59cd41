package rtc

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"anchord/internal/media"
)

func TestTheTimelineOfALongOutage(t *testing.T) {
	live(t, func(t *testing.T, w *world) {
		_ = w.s.Enter(room("1"))
		time.Sleep(time.Second)
		w.take()
		w.set(func() { w.dead = true })
		lost := time.Now().Add(-quietAfter)
		w.lose()
		w.mustBe(t, Recovering)
		for _, step := range []struct {
			at   time.Duration
			want string
		}{{7900 * time.Millisecond, "[]"}, {8 * time.Second, "[onConnectionLost 0]"}, {10 * time.Second, "[]"}, {11 * time.Second, "[onTryToReconnect 0]"},
			{34 * time.Second, "[]"}, {35 * time.Second, "[onTryToReconnect 0]"}, {59 * time.Second, "[onTryToReconnect 0]"}} {
			time.Sleep(time.Until(lost.Add(step.at)))
			synctest.Wait()
			if got := fmt.Sprint(w.take()); got != step.want {
				t.Errorf("at %v: %s, want %s", step.at, got, step.want)
			}
		}
		time.Sleep(time.Until(lost.Add(30*time.Minute - time.Second)))
		if got := len(w.take()); got != 72 { // (1799-59)/24
			t.Errorf("%d more tries were told", got)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if got := fmt.Sprint(w.take()); got != "[onError -3301]" {
			t.Error(got)
		}
		time.Sleep(2 * time.Hour)
		if got := fmt.Sprint(w.take()); got != "[]" {
			t.Error(got)
		}
		w.mustBe(t, Recovering)
		w.set(func() { w.dead = false })
		time.Sleep(1100 * time.Millisecond)
		w.mustBe(t, In)
		got := w.take()
		if len(got) != 1 || !strings.HasPrefix(got[0], "onEnterRoom ") {
			t.Errorf("%q", got)
		}
		// The tries themselves: each half to whole second.
		tries := w.tried()
		for i, at := range tries[2:100] {
			if d := at.Sub(tries[i+1]); d < 500*time.Millisecond || d > time.Second {
				t.Fatalf("try %d came after %v", i, d)
			}
		}
	})
}

func TestRecovery(t *testing.T) {
	for name, c := range map[string]struct {
		break_ func(w *world)
		mend   func(w *world)
		within time.Duration // from the mending
	}{
		"back by itself":     {func(w *world) { w.mute = true }, func(w *world) { w.mute = false; go w.back() }, 10 * time.Millisecond},
		"server restarted":   {func(w *world) { w.dead = true }, func(w *world) { w.dead = false }, 1100 * time.Millisecond},
		"server gone silent": {func(w *world) { w.mute = true; w.cannot = true }, func(w *world) { w.mute = false }, answerWithin + 1100*time.Millisecond},
		"no path for a time": {func(w *world) { w.noICE = true; w.cannot = true }, func(w *world) { w.noICE = false }, connectWithin + 1100*time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			live(t, func(t *testing.T, w *world) {
				_ = w.s.Enter(room("1"))
				time.Sleep(time.Second)
				w.take()
				w.set(func() { c.break_(w) })
				w.lose()
				time.Sleep(7 * time.Second)
				w.mustBe(t, Recovering)
				w.set(func() { c.mend(w) })
				begun := time.Now()
				for w.s.State() != In {
					if time.Since(begun) > c.within {
						t.Fatalf("not in after %v: %+v", time.Since(begun), w.s.Stats())
					}
					time.Sleep(5 * time.Millisecond)
				}
				if st := w.s.Stats(); st.Lost != 1 || st.Reconnects != 1 || st.Err != nil {
					t.Errorf("%+v", st)
				}
				synctest.Wait()
				got := strings.Replace(fmt.Sprint(w.take()), " onTryToReconnect 0", "", 1) // told after 9 s, or not
				if got != "[onConnectionLost 0 onConnectionRecovery 0]" {
					t.Error(got)
				}
			})
		})
	}
}

func TestICERestartMendsWithoutANewSession(t *testing.T) {
	live(t, func(t *testing.T, w *world) {
		_ = w.s.Enter(room("1"))
		time.Sleep(time.Second)
		w.take()
		w.lose()
		time.Sleep(100 * time.Millisecond)
		w.mustBe(t, In)
		if len(w.made()) != 1 || len(w.take()) != 0 {
			t.Errorf("%d calls", len(w.made()))
		}
	})
}

func TestUnansweredICERestartNeedsANewSession(t *testing.T) {
	live(t, func(t *testing.T, w *world) {
		_ = w.s.Enter(room("1"))
		time.Sleep(time.Second)
		w.set(func() { w.half = true })
		w.lose()
		time.Sleep(100 * time.Millisecond)
		w.mustBe(t, In)
		if n := len(w.made()); n != 2 {
			t.Errorf("%d calls", n)
		}
	})
}

func TestUnheard(t *testing.T) {
	const s = media.Time(time.Second)
	for name, c := range map[string]struct {
		video, audio Sending
		want         bool
	}{
		"no report ever":            {Sending{}, Sending{}, false},
		"all is well":               {Sending{Heard: 99 * s, Arrived: 99 * s}, Sending{Heard: 99 * s, Arrived: 98 * s}, false},
		"reports that say no":       {Sending{Heard: 99 * s, Arrived: 80 * s}, Sending{Heard: 98 * s, Arrived: 81 * s}, true},
		"sound arrives":             {Sending{Heard: 99 * s, Arrived: 80 * s}, Sending{Heard: 98 * s, Arrived: 97 * s}, false},
		"silence is another matter": {Sending{Heard: 80 * s, Arrived: 80 * s}, Sending{}, false},
	} {
		if got := unheard(c.video, c.audio, 100*s); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
		if got := muted(c.video, c.audio, 100*s); got != (name == "silence is another matter") {
			t.Errorf("%s: muted is %v", name, got)
		}
	}
}
