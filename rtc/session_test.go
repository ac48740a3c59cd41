package rtc

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"anchord/internal/media"
	"anchord/internal/trtc"
)

func TestEnterAndExit(t *testing.T) {
	live(t, func(t *testing.T, w *world) {
		w.mustBe(t, Idle)
		if err := w.s.Enter(room("101")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		w.mustBe(t, In)
		if st := w.s.Stats(); st.Err != nil || st.Entered.IsZero() || st.Target.Room != "101" || !st.Wanted {
			t.Errorf("%+v", st)
		}
		_ = w.s.Enter(room("101")) // changes nothing
		time.Sleep(time.Second)
		w.s.Exit()
		w.s.Exit()
		time.Sleep(time.Second)
		w.mustBe(t, Idle)
		if got := fmt.Sprint(w.take()); got != "[onEnterRoom 50 onExitRoom 0]" {
			t.Error(got)
		}
		if got := strings.Join(w.log(), " "); got != "idle>entering entering>in in>exiting exiting>idle" {
			t.Error(got)
		}
		for _, bad := range []Target{{}, {Address: Address{Scheme: Embedded}, Room: "0", User: "a"}, {Address: Address{Scheme: Embedded}, Room: "1", User: "a b"}} {
			if err := w.s.Enter(bad); err == nil {
				t.Errorf("%v was taken", bad)
			}
		}
		w.mustBe(t, Idle)
	})
}

func TestAnotherRoom(t *testing.T) {
	live(t, func(t *testing.T, w *world) {
		_ = w.s.Enter(room("1"))
		time.Sleep(time.Second)
		_ = w.s.Enter(room("2"))
		time.Sleep(time.Second)
		w.mustBe(t, In)
		if got := fmt.Sprint(w.dialled(), w.take()); got != "[1 2] [onEnterRoom 50 onExitRoom 0 onEnterRoom 50]" {
			t.Error(got)
		}
	})
}

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

func TestDemandFollowsTheRoom(t *testing.T) {
	live(t, func(t *testing.T, w *world) {
		wish := func() media.Wish { synctest.Wait(); return w.demand.Wish() }
		if wish().Subscribed {
			t.Error("wanted while idle")
		}
		_ = w.s.Enter(room("1"))
		time.Sleep(100 * time.Millisecond)
		w.mustBe(t, In)
		if !wish().Subscribed || w.demand.Key() != media.KeyNow {
			t.Errorf("after entering: %+v, key %d", wish(), w.demand.Key())
		}
		w.demand.KeyMade()
		w.made()[0].events <- Event{Kind: Subscribers}
		if !wish().Subscribed {
			t.Error("the first frames were not wanted")
		}
		time.Sleep(firstWithin + 2*lookEvery)
		if wish().Subscribed {
			t.Error("wanted though nobody subscribes")
		}
		w.made()[0].events <- Event{Kind: Subscribers, Count: 1}
		if !wish().Subscribed || w.demand.Key() != media.KeyNow || w.s.Stats().Subscribers != 1 {
			t.Errorf("newcomer: %+v, key %d, %d", wish(), w.demand.Key(), w.s.Stats().Subscribers)
		}
		w.demand.KeyMade()
		w.made()[0].events <- Event{Kind: Joined, User: "bob"}
		w.made()[0].events <- Event{Kind: Left, User: "bob", Reason: "timeout"}
		w.made()[0].events <- Event{Kind: Subscribers}
		if wish().Subscribed || w.demand.Key() != media.NoKey {
			t.Error("wanted though the only subscriber left")
		}
		if got := fmt.Sprint(w.take()); got != "[onEnterRoom 50 onRemoteUserEnterRoom 0 onRemoteUserLeaveRoom 1]" {
			t.Error(got)
		}
	})
}

func TestRunAgainEntersAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		_ = w.s.Enter(room("1"))
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			time.AfterFunc(4*time.Second, func() {
				if w.s.State() != In {
					t.Errorf("state %s", w.s.State())
				}
			})
			if err := w.s.Run(ctx); err != nil {
				t.Error(err)
			}
			cancel()
		}
		w.leftNothing(t)
		if len(w.made()) != 3 {
			t.Errorf("%d calls", len(w.made()))
		}
	})
}

// Whatever the world and the operator do, the session gets in when it can again, and
// leaves nothing behind.
func TestRandomWorlds(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 7))
			live(t, func(t *testing.T, w *world) {
				for range 200 {
					switch r.IntN(12) {
					case 0, 1:
						_ = w.s.Enter(room(fmt.Sprint(1 + r.IntN(2))))
					case 2:
						w.s.Exit()
					case 3:
						w.s.Poke()
					case 4, 5:
						w.lose()
					case 6:
						w.back()
					case 7:
						w.mu.Lock()
						if n := len(w.calls); n > 0 && w.calls[n-1].ended == 0 && len(w.calls[n-1].events) < 4 {
							w.calls[n-1].events <- Event{Kind: EventKind(1 + r.IntN(5)), User: "x", Count: r.IntN(3)}
						}
						w.mu.Unlock()
					case 8:
						w.mu.Lock()
						ways := w.ways
						w.mu.Unlock()
						if len(ways) > 0 {
							ways[r.IntN(len(ways))].say([]kind{evDown, evUp, evHeard, evQuiet}[r.IntN(4)])
						}
					default:
						w.set(func() {
							w.dead, w.mute, w.noICE, w.cannot = r.IntN(4) == 0, r.IntN(4) == 0, r.IntN(4) == 0, r.IntN(2) == 0
							w.refuse, w.slow = nil, time.Duration(r.IntN(3))*time.Second
							if r.IntN(4) == 0 {
								w.refuse = &Refused{Status: 503, Final: r.IntN(2) == 0, After: time.Duration(r.IntN(2)) * 20 * time.Second}
							}
						})
					}
					time.Sleep(time.Duration(r.IntN(3000)) * time.Millisecond)
				}
				w.set(func() { w.dead, w.mute, w.noICE, w.refuse, w.slow = false, false, false, nil, 0 })
				_ = w.s.Enter(room("9"))
				time.Sleep(time.Minute)
				w.mustBe(t, In)
				if st := w.s.Stats(); st.Code != trtc.OK {
					t.Errorf("%+v", st)
				}
			})
		})
	}
}

func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{"embedded:", "whip+http://h", "whip+https://h/{room}?u={user}", "livekit+wss://[::1]:1/x", "whip+http://h/%zz", ":", "whip+http:\\\\h"} {
		f.Add(s, "101", "cart-7")
	}
	f.Fuzz(func(t *testing.T, s, room, user string) {
		a, err := ParseAddress(s)
		if err != nil || a.Scheme == Embedded || (Target{a, room, user}).Check() != nil {
			return
		}
		// Ids stay where they are put: they cannot change the host.
		u, err := url.Parse(a.Endpoint(room, user))
		v, err2 := url.Parse(a.Endpoint("1", "a"))
		if err != nil || err2 != nil || u.Host != v.Host && !strings.Contains(v.Host, "1") && !strings.Contains(v.Host, "a") || u.User != nil {
			t.Errorf("%q with %q, %q: %v %v", s, room, user, u, err)
		}
	})
}

func TestAddresses(t *testing.T) {
	for in, want := range map[string]string{
		"embedded:":                           "",
		"whip+http://box-a:8080":              "http://box-a:8080/whip/ward%203?user=cart-7",
		"WHIP+HTTPS://h/live/{room}?u={user}": "https://h/live/ward%203?u=cart-7",
		"whip+https://h/fixed?key=hunter2":    "https://h/fixed?key=hunter2",
		"livekit+wss://h":                     "wss://h",
		"whip+https://[::1]:8443/x":           "https://[::1]:8443/x",
		"":                                    "error",
		"https://h/":                          "error",
		"embedded:x":                          "error",
		"whip+https:":                         "error",
		"whip+https://":                       "error",
		"whip+https://u:hunter2@h/":           "error",
		"whip+https://h/#hunter2":             "error",
		"whip+https:opaque-hunter2":           "error",
		"whip+http://h:port-hunter2/":         "error",
		"rtmp://hunter2/":                     "error",
	} {
		a, err := ParseAddress(in)
		got := "error"
		if err == nil {
			got = a.Endpoint("ward 3", "cart-7")
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: secret in %q", in, err)
		}
		if got != want {
			t.Errorf("%q: %q (%v), want %q", in, got, err, want)
		}
		if strings.Contains(a.String(), "hunter2") {
			t.Errorf("%q: secret in %q", in, a)
		}
	}
}
