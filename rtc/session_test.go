package rtc

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
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

// While nobody listens much may be asked for.
func TestWhatIsAskedForIsNotPushedOut(t *testing.T) {
	for name, c := range map[string]struct {
		ask   func(s *Session)
		state State
		rooms string
	}{
		"enter": {func(s *Session) { _ = s.Enter(room("2")) }, In, "[1 2]"},
		"enter twenty times": {func(s *Session) {
			for range 20 {
				_ = s.Enter(room("2"))
			}
		}, In, "[1 2]"},
		"exit":           {func(s *Session) { s.Exit() }, Idle, "[1]"},
		"exit and enter": {func(s *Session) { s.Exit(); _ = s.Enter(room("1")) }, In, "[1 1]"},
		"there and back": {func(s *Session) { _ = s.Enter(room("2")); s.Exit(); _ = s.Enter(room("1")) }, In, "[1 1]"},
		"in the end not": {func(s *Session) { s.Exit(); _ = s.Enter(room("2")); s.Exit() }, Idle, "[1]"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				run := func(last func()) {
					ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
					defer cancel()
					time.AfterFunc(4*time.Second, last)
					if err := w.s.Run(ctx); err != nil {
						t.Error(err)
					}
				}
				_ = w.s.Enter(room("1"))
				run(func() {})
				c.ask(w.s)
				for range 20 {
					w.s.Poke()
				}
				if len(w.s.asked) > 4 {
					t.Errorf("%d wait", len(w.s.asked))
				}
				run(func() {
					if got := w.s.State(); got != c.state {
						t.Errorf("state %s, want %s", got, c.state)
					}
				})
				if got := fmt.Sprint(w.dialled()); got != c.rooms {
					t.Errorf("entered %s, want %s", got, c.rooms)
				}
				w.leftNothing(t)
			})
		})
	}
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

func TestWhoAsksForPicturesSubscribes(t *testing.T) {
	live(t, func(t *testing.T, w *world) {
		wish := func() media.Wish { synctest.Wait(); return w.demand.Wish() }
		_ = w.s.Enter(room("1"))
		time.Sleep(firstWithin + time.Second)
		w.mustBe(t, In)
		w.made()[0].events <- Event{Kind: Subscribers, Count: 1}
		w.s.video.fb.keys.Add(1)
		time.Sleep(10 * time.Second)
		w.made()[0].events <- Event{Kind: Subscribers}
		w.s.video.fb.keys.Add(1) // was on its way
		time.Sleep(10 * time.Second)
		if wish().Subscribed {
			t.Error("wanted though nobody subscribes")
		}
		w.s.video.fb.keys.Add(1)
		time.Sleep(2 * lookEvery)
		if !wish().Subscribed || w.s.Stats().Subscribers != -1 {
			t.Errorf("not wanted though a picture was asked for; %d subscribe", w.s.Stats().Subscribers)
		}
		w.made()[0].events <- Event{Kind: Subscribers}
		if wish().Subscribed {
			t.Error("the room's word does not count any more")
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
