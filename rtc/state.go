package rtc

// State is how the session stands with the room.
type State int

// The states.
const (
	Idle       State = iota // no room is wanted and nothing is held
	Entering                // the room is wanted: an attempt is under way, or the next one waits
	In                      // media arrives on the other side
	Recovering              // was in: the old way is mended and a new one tried
	Exiting                 // saying goodbye
)

// String gives the word that commands and metrics show.
func (s State) String() string {
	switch s {
	case Idle:
		return "idle"
	case Entering:
		return "entering"
	case In:
		return "in"
	case Recovering:
		return "recovering"
	case Exiting:
		return "exiting"
	}
	return "unknown"
}

// machine is all that decides. It is a value: next gives a new one.
//
//	              up                          quiet, down
//	Entering ───────────────▶ In ──────────────────────────▶ Recovering
//	▲  ▲   │ ▲                │ ▲                                │   │ ▲
//	│  │   └─┘ down: wait,    │ └────────────────────────────────┘   └─┘ down: wait,
//	│  │       tick: dial     │    heard (the old way), up (a new one)   tick: dial
//	│  │                      │                                  │
//	│  └── gone, wanted ──┐   │ exit, end, another target         │
//	│ enter               │   ▼                                  │
//	Idle ◀──── gone ──── Exiting ◀───────────────────────────────┘
//	                        ▲
//	                        └── from Entering as well
//
// Recovering has two hands. The attempt that carried the media stays and is pinged:
// what was lost for seconds comes back by itself. It is given new ICE credentials if
// the room answers, and beside it new attempts are made, one by one; the first that
// the room answers replaces it.
type machine struct {
	state State
	want  bool // what Enter and Exit said last

	cur  int // the attempt that carries media; 0: none
	nxt  int // the attempt under way; 0: none
	last int // the newest attempt; numbers are never used again

	restarting bool // of cur's ICE
	timer      bool // a tick will come
	tries      int  // attempts that failed in a row
	reason     exitReason
}

// exitReason is why Exiting was begun.
type exitReason int

const (
	byCall exitReason = iota
	byKick
	byDissolved
	bySwitch // another room is wanted
)

// kind of event or effect.
type kind int

// What happens. Those marked (n) carry the number of an attempt; of an attempt that is
// neither cur nor nxt they change nothing.
const (
	evEnter     kind = iota + 1
	evSwitch         // Enter with another target
	evExit           //
	evPoke           // something changed outside: try now
	evTick           // the timer
	evGone           // nothing is held any more
	evAnswered       // (n) the room accepted the offer
	evUp             // (n) connected
	evLate           // (n) not connected in time
	evQuiet          // (n) nothing arrives from the other side
	evHeard          // (n) something arrives again
	evDown           // (n) failed for good
	evRestarted      // (n) the ICE restart was answered, or not: failed
	evKicked         // (n)
	evReplaced       // (n) kicked because the same user entered again
	evDissolved      // (n)
)

// What is to be done.
const (
	fxDial    kind = iota + 100 // (n) make an attempt
	fxCarry                     // (n) media goes this way from now on
	fxRestart                   // (n) restart ICE
	fxDrop                      // (n) hang up, without waiting for it
	fxRetry                     // a tick after a time that depends on what failed and how often
	fxGrace                     // a tick after the time that a restarted ICE has
	fxCancel                    // no tick
	fxLeave                     // hang everything up, then say evGone
)

type event struct {
	kind   kind
	n      int
	failed bool // evRestarted
}

type effect struct {
	kind kind
	n    int
}

// next is the whole machine. An event that means nothing in a state changes nothing.
func (m machine) next(e event) (machine, []effect) {
	if e.n != 0 && e.n != m.cur && e.n != m.nxt {
		return m, nil // of an attempt that is over
	}
	switch e.kind {
	case evEnter, evSwitch:
		m.want = true
		switch {
		case m.state == Idle:
			m.state, m.tries = Entering, 0
			return m.dial()
		case e.kind == evSwitch:
			return m.leave(bySwitch)
		case m.timer:
			return m.dial()
		}
	case evExit:
		m.want = false
		return m.leave(byCall)
	case evGone:
		if m.state != Exiting {
			break
		}
		if m.state = Idle; m.want {
			m.state, m.tries = Entering, 0
			return m.dial()
		}
	case evPoke:
		if m.timer {
			return m.dial()
		}
	case evTick:
		if m.timer {
			m.timer = false
			return m.dial()
		}
	case evAnswered:
		if e.n == m.nxt && m.cur != 0 { // the room has put the new one in its place
			old := m.cur
			m.cur, m.restarting = 0, false
			return m, []effect{{fxDrop, old}}
		}
	case evUp:
		if e.n == m.nxt {
			return m.up()
		}
	case evHeard:
		if e.n == m.cur && m.state == Recovering {
			return m.heard()
		}
	case evQuiet:
		if e.n == m.cur && m.state == In {
			m.state, m.restarting = Recovering, true
			return m, []effect{{fxRestart, m.cur}}
		}
	case evRestarted:
		if e.n == m.cur && m.restarting {
			if m.restarting = false; e.failed {
				return m.dial()
			}
			m.timer = true
			return m, []effect{{fxGrace, 0}}
		}
	case evLate:
		if e.n == m.nxt {
			return m.failed()
		}
	case evDown:
		return m.down(e.n)
	case evReplaced:
		if m.last > e.n { // by ourselves
			return m.down(e.n)
		}
		return m.thrown(byKick)
	case evKicked:
		return m.thrown(byKick)
	case evDissolved:
		return m.thrown(byDissolved)
	}
	return m, nil
}

// dial begins an attempt if none is under way.
func (m machine) dial() (machine, []effect) {
	if m.nxt != 0 {
		return m, nil
	}
	var fx []effect
	if m.timer {
		m.timer = false
		fx = append(fx, effect{fxCancel, 0})
	}
	m.last++
	m.nxt = m.last
	return m, append(fx, effect{fxDial, m.nxt})
}

// up puts the new attempt into the place of the old.
func (m machine) up() (machine, []effect) {
	var fx []effect
	if m.cur != 0 {
		fx = append(fx, effect{fxDrop, m.cur})
	}
	m.state, m.cur, m.nxt, m.tries, m.restarting = In, m.nxt, 0, 0, false
	return m, append(fx, effect{fxCarry, m.cur})
}

// heard goes back to the old attempt.
func (m machine) heard() (machine, []effect) {
	fx := []effect{{fxCarry, m.cur}}
	if m.nxt != 0 {
		fx = append(fx, effect{fxDrop, m.nxt})
	}
	if m.timer {
		fx = append(fx, effect{fxCancel, 0})
	}
	m.state, m.nxt, m.timer, m.tries, m.restarting = In, 0, false, 0, false
	return m, fx
}

// down is the end of one attempt.
func (m machine) down(n int) (machine, []effect) {
	switch {
	case n == 0:
		return m, nil
	case n == m.nxt:
		return m.failed()
	}
	m.cur, m.restarting = 0, false
	if m.state == In {
		m.state = Recovering
	}
	fx := []effect{{fxDrop, n}}
	if m.nxt != 0 || m.tries > 0 && m.timer {
		return m, fx // the next one is on its way
	}
	m, more := m.dial()
	return m, append(fx, more...)
}

// failed ends the attempt under way; the next one comes after a while.
func (m machine) failed() (machine, []effect) {
	fx := []effect{{fxDrop, m.nxt}, {fxRetry, 0}}
	m.nxt, m.timer = 0, true
	m.tries++
	return m, fx
}

// thrown obeys a room that wants us no more: we stay out until Enter.
func (m machine) thrown(why exitReason) (machine, []effect) {
	m.want = false
	return m.leave(why)
}

// leave ends everything.
func (m machine) leave(why exitReason) (machine, []effect) {
	if m.state == Idle || m.state == Exiting {
		return m, nil
	}
	var fx []effect
	if m.timer {
		fx = append(fx, effect{fxCancel, 0})
	}
	m.state, m.reason = Exiting, why
	m.cur, m.nxt, m.restarting, m.timer = 0, 0, false, false
	return m, append(fx, effect{fxLeave, 0})
}
