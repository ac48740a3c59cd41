package rtc

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"anchord/internal/secret"
)

func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		err      error
		from, to time.Duration // when the second try comes after the first
		told     string
	}{
		"token":       {&Refused{Status: 401, Reason: "no", Final: true}, 15 * time.Second, 30 * time.Second, "[onEnterRoom -100018]"},
		"forbidden":   {&Refused{Status: 403, Final: true}, 15 * time.Second, 30 * time.Second, "[onEnterRoom -102011]"},
		"retry after": {&Refused{Status: 503, After: 7 * time.Second}, 7 * time.Second, 9500 * time.Millisecond, "[]"},
		"retry never": {&Refused{Status: 503, After: 24 * time.Hour}, 5 * time.Minute, 5*time.Minute + 6*time.Second, "[onEnterRoom -3301]"},
		"500":         {&Refused{Status: 500}, 500 * time.Millisecond, time.Second, "[]"},
		"no route":    {fmt.Errorf("dial: %w", syscall.ENETUNREACH), 2500 * time.Millisecond, 5 * time.Second, "[]"},
		"no answer":   {errors.New("EOF"), 500 * time.Millisecond, time.Second, "[]"},
	} {
		t.Run(name, func(t *testing.T) {
			live(t, func(t *testing.T, w *world) {
				w.set(func() { w.refuse = c.err })
				_ = w.s.Enter(room("1"))
				for len(w.tried()) < 2 {
					time.Sleep(10 * time.Millisecond)
					synctest.Wait()
				}
				if d := w.tried()[1].Sub(w.tried()[0]); d < c.from || d > c.to {
					t.Errorf("tried again after %v", d)
				}
				if got := fmt.Sprint(w.take()); got != c.told {
					t.Error(got)
				}
				if st := w.s.Stats(); !errors.Is(st.Err, c.err) || st.Tries == 0 || st.Code == 0 {
					t.Errorf("%+v", st)
				}
				n := len(w.tried())
				w.s.Poke() // a new token, say
				synctest.Wait()
				if len(w.tried()) != n+1 {
					t.Errorf("%d tries after a poke, want %d", len(w.tried()), n+1)
				}
				time.Sleep(time.Hour)
				synctest.Wait()
				if got := w.take(); !strings.Contains(fmt.Sprint(got), "onError -3301") || len(got) > 2 {
					t.Errorf("told within an hour: %q", got)
				}
				w.set(func() { w.refuse = nil })
				time.Sleep(5*time.Minute + 6*time.Second)
				w.mustBe(t, In)
			})
		})
	}
}

func TestBackoffOfATroubledServer(t *testing.T) {
	live(t, func(t *testing.T, w *world) {
		w.set(func() { w.refuse = &Refused{Status: 502} })
		_ = w.s.Enter(room("1"))
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		tries := w.tried()
		for i := range tries[1:] {
			d, most := tries[i+1].Sub(tries[i]), min(time.Second<<min(i, 10), 30*time.Second)
			if d < most/2 || d > most {
				t.Errorf("try %d came after %v, want at most %v", i+2, d, most)
			}
		}
		if n := len(w.tried()); n < 20 || n > 50 {
			t.Errorf("%d tries in 10 min", n)
		}
	})
}

func TestRoomThrowsOut(t *testing.T) {
	for e, want := range map[Event]string{
		{Kind: Kicked, Reason: "bad manners"}:  "[onEnterRoom 50 onExitRoom 1]",
		{Kind: Kicked, Reason: "replaced"}:     "[onEnterRoom 50 onExitRoom 1]",
		{Kind: Dissolved, Reason: "dissolved"}: "[onEnterRoom 50 onExitRoom 2]",
	} {
		t.Run(e.Reason, func(t *testing.T) {
			live(t, func(t *testing.T, w *world) {
				_ = w.s.Enter(room("1"))
				time.Sleep(time.Second)
				w.made()[0].events <- e
				time.Sleep(time.Hour)
				w.mustBe(t, Idle)
				if got := fmt.Sprint(w.take()); got != want {
					t.Error(got)
				}
				if st := w.s.Stats(); st.Wanted || st.Err == nil || !strings.Contains(st.Err.Error(), e.Reason) {
					t.Errorf("%+v", st)
				}
				_ = w.s.Enter(room("1"))
				time.Sleep(time.Second)
				w.mustBe(t, In)
			})
		})
	}
}

// TestNoSecretInWhatTheRoomSays: neither in errors nor in events, whoever repeats it.
func TestNoSecretInWhatTheRoomSays(t *testing.T) {
	const canary = "c4nary-0123456789"
	live(t, func(t *testing.T, w *world) {
		w.s.cfg.Mask.Add(secret.New(canary))
		w.set(func() { w.refuse = fmt.Errorf("sdp: invalid line %q: %w", canary, syscall.ECONNRESET) })
		_ = w.s.Enter(room("1"))
		time.Sleep(time.Second)
		if err := w.s.Stats().Err; err == nil || err.Error() != `sdp: invalid line "***": `+syscall.ECONNRESET.Error() || !errors.Is(err, syscall.ECONNRESET) {
			t.Error(err)
		}
		w.set(func() { w.refuse = nil })
		time.Sleep(time.Minute)
		w.mustBe(t, In)
		w.made()[len(w.made())-1].events <- Event{Kind: Kicked, Reason: "for " + canary}
		time.Sleep(time.Minute)
		if err := w.s.Stats().Err; err == nil || !strings.HasSuffix(err.Error(), ": for ***") {
			t.Error(err)
		}
	})
}

func TestKickAfterGoodbye(t *testing.T) {
	live(t, func(t *testing.T, w *world) {
		_ = w.s.Enter(room("1"))
		time.Sleep(time.Second)
		w.way(0).say(evDown)
		time.Sleep(100 * time.Millisecond)
		w.mustBe(t, In)
		w.made()[0].events <- Event{Kind: Kicked, Reason: "late word"}
		time.Sleep(time.Minute)
		w.mustBe(t, Idle)
		_ = w.s.Enter(room("1"))
		time.Sleep(time.Second)
		w.way(1).say(evDown) // and this time without a word
		time.Sleep(lastWords + 100*time.Millisecond)
		w.mustBe(t, In)
		if n := len(w.made()); n != 3 {
			t.Errorf("%d calls", n)
		}
	})
}
