package rtc

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// walk feeds a machine and writes down what it wants done.
type walk struct {
	m    machine
	done []string
}

var kindNames = map[kind]string{fxDial: "dial", fxCarry: "carry", fxRestart: "restart", fxDrop: "drop",
	fxRetry: "retry", fxGrace: "grace", fxCancel: "cancel", fxLeave: "leave"}

func (w *walk) feed(e event) {
	m, fx := w.m.next(e)
	w.m = m
	w.done = w.done[:0]
	for _, f := range fx {
		s := kindNames[f.kind]
		if f.n != 0 {
			s += fmt.Sprint(" ", f.n)
		}
		w.done = append(w.done, s)
	}
}

func TestMachine(t *testing.T) {
	type step struct {
		e    event
		to   State
		does []string
	}
	enter := step{event{kind: evEnter}, Entering, []string{"dial 1"}}
	up := step{event{kind: evUp, n: 1}, In, []string{"carry 1"}}
	quiet := step{event{kind: evQuiet, n: 1}, Recovering, []string{"restart 1"}}
	for name, steps := range map[string][]step{
		"enter and exit": {enter, {event{kind: evAnswered, n: 1}, Entering, nil}, up, {event{kind: evEnter}, In, nil},
			{event{kind: evExit}, Exiting, []string{"leave"}}, {event{kind: evGone}, Idle, nil}, {event{kind: evExit}, Idle, nil}},
		"nobody answers": {enter, {event{kind: evDown, n: 1}, Entering, []string{"drop 1", "retry"}},
			{event{kind: evUp, n: 1}, Entering, nil}, {event{kind: evTick}, Entering, []string{"dial 2"}},
			{event{kind: evLate, n: 2}, Entering, []string{"drop 2", "retry"}}, {event{kind: evPoke}, Entering, []string{"cancel", "dial 3"}},
			{event{kind: evTick}, Entering, nil}, {event{kind: evExit}, Exiting, []string{"leave"}}},
		"comes back by itself": {enter, up, quiet, {event{kind: evHeard, n: 1}, In, []string{"carry 1"}},
			{event{kind: evRestarted, n: 1}, In, nil}},
		"ICE restart": {enter, up, quiet, {event{kind: evRestarted, n: 1}, Recovering, []string{"grace"}},
			{event{kind: evHeard, n: 1}, In, []string{"carry 1", "cancel"}}},
		"ICE restart does not help": {enter, up, quiet, {event{kind: evRestarted, n: 1}, Recovering, []string{"grace"}},
			{event{kind: evTick}, Recovering, []string{"dial 2"}}, {event{kind: evAnswered, n: 2}, Recovering, []string{"drop 1"}},
			{event{kind: evUp, n: 2}, In, []string{"carry 2"}}},
		"server killed": {enter, up, quiet, {event{kind: evRestarted, n: 1, failed: true}, Recovering, []string{"dial 2"}},
			{event{kind: evDown, n: 2}, Recovering, []string{"drop 2", "retry"}}, {event{kind: evDown, n: 1}, Recovering, []string{"drop 1"}},
			{event{kind: evTick}, Recovering, []string{"dial 3"}}, {event{kind: evUp, n: 3}, In, []string{"carry 3"}}},
		"old way back while a new one is made": {enter, up, quiet, {event{kind: evRestarted, n: 1, failed: true}, Recovering, []string{"dial 2"}},
			{event{kind: evHeard, n: 1}, In, []string{"carry 1", "drop 2"}}, {event{kind: evReplaced, n: 1}, Recovering, []string{"drop 1", "dial 3"}}},
		"goodbye of the server": {enter, up, {event{kind: evDown, n: 1}, Recovering, []string{"drop 1", "dial 2"}}},
		"kicked": {enter, up, {event{kind: evKicked, n: 1}, Exiting, []string{"leave"}}, {event{kind: evGone}, Idle, nil},
			{event{kind: evPoke}, Idle, nil}, {event{kind: evEnter}, Entering, []string{"dial 2"}}},
		"replaced by somebody else": {enter, up, {event{kind: evReplaced, n: 1}, Exiting, []string{"leave"}}},
		"another room":              {enter, up, {event{kind: evSwitch}, Exiting, []string{"leave"}}, {event{kind: evGone}, Entering, []string{"dial 2"}}},
		"exit then enter": {enter, {event{kind: evExit}, Exiting, []string{"leave"}}, {event{kind: evEnter}, Exiting, nil},
			{event{kind: evGone}, Entering, []string{"dial 2"}}},
	} {
		t.Run(name, func(t *testing.T) {
			var w walk
			for i, s := range steps {
				w.feed(s.e)
				if w.m.state != s.to || !slices.Equal(w.done, s.does) {
					t.Fatalf("step %d: %s, does %q; want %s, %q", i, w.m.state, w.done, s.to, s.does)
				}
			}
		})
	}
}

// A machine in any state must have somebody who will speak to it again, and hold no
// attempt that nobody hangs up.
func TestEveryStateHasAWayOut(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		var w walk
		held, leaving := map[int]bool{}, false
		var trail []string
		for range 400 {
			e := event{kind: evEnter + kind(r.IntN(int(evDissolved))), failed: r.IntN(2) == 0}
			if e.kind >= evAnswered {
				e.n = max(1, w.m.last-r.IntN(3))
			}
			if e.kind == evGone && !leaving {
				continue
			}
			w.feed(e)
			if e.kind == evGone {
				leaving = false
			}
			trail = append(trail, fmt.Sprintf("%d/%d %s %q", e.kind, e.n, w.m.state, w.done))
			for _, d := range w.done {
				var n int
				switch {
				case d == "leave":
					leaving = true
					clear(held)
				case scan(d, "dial %d", &n):
					if held[n] {
						t.Fatalf("attempt %d is made twice", n)
					}
					held[n] = true
				case scan(d, "drop %d", &n):
					if !held[n] {
						t.Fatalf("attempt %d is dropped but not held", n)
					}
					delete(held, n)
				case scan(d, "carry %d", &n), scan(d, "restart %d", &n):
					if !held[n] {
						t.Fatalf("%s is not held", d)
					}
				}
			}
			m := w.m
			ok := map[State]bool{
				Idle:       !m.want && m.cur == 0 && m.nxt == 0 && !m.timer && !m.restarting,
				Entering:   m.want && m.cur == 0 && (m.nxt != 0) != m.timer && !m.restarting,
				In:         m.want && m.cur != 0 && m.nxt == 0 && !m.timer && !m.restarting,
				Recovering: m.want && (m.nxt != 0 || m.timer || m.restarting) && !(m.nxt != 0 && m.timer) && (!m.restarting || m.cur != 0),
				Exiting:    leaving && m.cur == 0 && m.nxt == 0 && !m.timer,
			}[m.state]
			here := 0
			for _, n := range []int{m.cur, m.nxt} {
				if n != 0 {
					here++
					ok = ok && held[n]
				}
			}
			if !ok || here != len(held) {
				t.Fatalf("seed %d: no way out of %+v, held %v, after\n%s", seed, m, held, trail[max(0, len(trail)-8):])
			}
		}
		// Whatever happened: wanted, answered and up leads in.
		for i := 0; w.m.state != In; i++ {
			if i > 10 {
				t.Fatalf("seed %d: cannot get in from %+v", seed, w.m)
			}
			for _, e := range []event{{kind: evEnter}, {kind: evGone}, {kind: evTick}, {kind: evUp, n: w.m.nxt}} {
				if e.kind == evUp {
					e.n = w.m.nxt
				}
				w.feed(e)
			}
			if w.m.nxt != 0 {
				w.feed(event{kind: evUp, n: w.m.nxt})
			}
			w.feed(event{kind: evRestarted, n: w.m.cur, failed: true})
		}
	}
}

func scan(s, format string, n *int) bool {
	k, err := fmt.Sscanf(s, format, n)
	return err == nil && k == 1
}
