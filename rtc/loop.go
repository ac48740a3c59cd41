package rtc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"anchord/internal/media"
)

// note is what other goroutines tell the loop.
type note struct {
	event
	err     error
	servers []ICEServer // of evAnswered
	said    *Event      // what the room says
	silent  bool        // the room's event stream ended
	sent    bool        // the first packet of a kind went out
	video   bool
	stream  bool // of evAnswered: the room has an event stream
}

// loop is one Run: the goroutine that owns the machine and does what it says.
type loop struct {
	s     *Session
	m     machine
	story story
	inbox chan note
	over  chan struct{} // closed when nobody reads inbox any more
	wg    sync.WaitGroup

	ctx      context.Context // of all attempts
	attempts map[int]*attempt
	leaving  int // attempts that are being hung up
	sign     Signaller
	reached  Target // that sign reaches
	servers  []ICEServer
	hopeless bool  // sign's room cannot restart ICE
	err      error // why the last attempt failed

	retry *time.Timer
	news  *time.Timer
	late  *time.Timer // a newcomer waits for a key picture
	keyed time.Time   // when the last newcomer's was asked for
	look  *time.Ticker

	shown   [2]bool   // that a picture, a block of sound went by the present attempt
	packets [2]uint64 // sent, at the last look
	busy    int       // looks in a row at which more had been sent
}

func newLoop(s *Session) *loop {
	l := &loop{s: s, inbox: make(chan note, 64), over: make(chan struct{}), attempts: map[int]*attempt{}}
	l.story.tell = func(n Notice) {
		s.log.Info("event", "name", n.Name, "result", n.Result, "user", n.User, "text", n.Text)
		if s.cfg.OnEvent != nil {
			s.cfg.OnEvent(n)
		}
	}
	l.retry, l.news, l.late = time.NewTimer(0), time.NewTimer(0), time.NewTimer(0)
	l.retry.Stop()
	l.late.Stop()
	l.news.Stop()
	return l
}

// post is called from other goroutines. Whatever the room said goes through here, and may
// have a secret in it: also an SDP answer that an error quotes.
func (l *loop) post(n note) {
	n.err = l.s.cfg.Mask.HideError(n.err)
	if n.said != nil {
		e := *n.said
		e.User, e.Reason = l.s.cfg.Mask.Hide(e.User), l.s.cfg.Mask.Hide(e.Reason)
		n.said = &e
	}
	select {
	case l.inbox <- n:
	case <-l.over:
	}
}

func (l *loop) run(ctx context.Context) {
	actx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	l.ctx = actx
	l.look = time.NewTicker(lookEvery)
	defer l.look.Stop()
	defer l.retry.Stop()
	defer l.news.Stop()
	defer l.late.Stop()
	l.s.mu.Lock()
	if l.s.status.Wanted && !slices.Contains(l.s.asked, evExit) { // of an earlier Run
		l.s.asked = append([]kind{evEnter}, l.s.asked...)
	}
	l.s.mu.Unlock()
	l.listen()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-l.s.news:
			l.listen()
		case n := <-l.inbox:
			l.hear(n)
		case <-l.retry.C:
			l.step(note{event: event{kind: evTick}}, "it is time")
		case <-l.news.C:
			l.tellDue()
		case <-l.late.C:
			l.newcomer(time.Now())
		case <-l.look.C:
			l.judge()
		}
	}
	wanted := l.m.want
	if l.m.state != Idle {
		l.step(note{event: event{kind: evExit}}, "the daemon stops")
		for l.leaving > 0 {
			l.hear(<-l.inbox)
		}
	}
	close(l.over)
	cancel()
	l.wg.Wait()
	l.s.mu.Lock()
	l.s.status.Wanted = wanted
	l.s.mu.Unlock()
}

// listen takes what Enter, Exit and Poke left.
func (l *loop) listen() {
	l.s.mu.Lock()
	asked := l.s.asked
	l.s.asked = nil
	l.s.mu.Unlock()
	for _, k := range asked {
		why := map[kind]string{evEnter: "wanted", evSwitch: "another room is wanted", evExit: "not wanted", evPoke: "something changed"}[k]
		l.step(note{event: event{kind: k}}, why)
	}
}

// hear takes a note.
func (l *loop) hear(n note) {
	switch {
	case n.kind == evGone:
		if l.leaving--; l.leaving > 0 {
			return
		}
		l.step(n, "everything is hung up")
		return
	case n.n == 0 || n.n != l.m.cur && n.n != l.m.nxt:
		return
	case n.sent:
		l.shown[map[bool]int{true: 0, false: 1}[n.video]] = true
		l.story.firstFrame(n.video)
		l.demand()
		return
	case n.silent:
		a := l.attempts[n.n]
		a.subscribers, a.stream = -1, false
		l.demand()
		if a.parting {
			l.hear(note{event: event{kind: evDown, n: n.n}})
		}
		return
	case n.said != nil:
		l.says(n.n, *n.said)
		return
	}
	switch n.kind {
	case evAnswered:
		l.attempts[n.n].stream = n.stream
		if n.servers != nil {
			l.servers = n.servers // for the next attempt: this one has its addresses already
		}
	case evRestarted:
		l.hopeless = l.hopeless || errors.Is(n.err, ErrNoRestart)
	case evUp:
		if a := l.attempts[n.n]; a != nil && n.n == l.m.nxt {
			close(a.up)
		}
	case evDown, evLate, evQuiet:
		if a := l.attempts[n.n]; n.kind == evDown && n.err == nil && a.stream {
			// A room that throws us out closes the connection as well; which of the two is
			// heard first is chance, and it matters.
			if !a.parting {
				a.parting = true
				time.AfterFunc(lastWords, func() { l.post(note{event: event{kind: evDown, n: n.n}, err: errLost}) })
			}
			return
		}
		switch {
		case n.err != nil:
		case n.kind == evDown && n.n == l.m.nxt:
			n.err = errNoPath
		default:
			n.err = errLost
		}
		if n.kind != evQuiet || n.n == l.m.cur {
			l.err = n.err
		}
	}
	l.step(n, "")
}

// says obeys and passes on what the room says.
func (l *loop) says(n int, e Event) {
	switch e.Kind {
	case Subscribers:
		a := l.attempts[n]
		more := e.Count > a.subscribers
		a.subscribers, a.looks = e.Count, 0
		if more && e.Count > 0 {
			l.newcomer(time.Now())
		}
		l.demand()
		l.publish(time.Now(), l.m.state)
	case Kicked:
		k := evKicked
		if e.Reason == "replaced" {
			k = evReplaced
		}
		l.err = fmt.Errorf("the room threw this user out: %s", e.Reason)
		l.step(note{event: event{kind: k, n: n}}, "thrown out: "+e.Reason)
	case Dissolved:
		l.err = fmt.Errorf("the room was dissolved: %s", e.Reason)
		l.step(note{event: event{kind: evDissolved, n: n}}, "the room was dissolved")
	default:
		l.story.says(e)
	}
}

var (
	errLost = errors.New("nothing is heard from the room any more")
	errMute = fmt.Errorf("the room answers pings and has said nothing of our media for %v", muteAfter)
	errDeaf = fmt.Errorf("the room reports that no packet arrived for %v", deafAfter)
)

var whys = map[kind]string{evAnswered: "the room answered", evUp: "connected", evLate: "no media got through in time",
	evQuiet: "nothing is heard from the other side", evHeard: "the other side is heard again", evDown: "the connection failed",
	evRestarted: "ICE was restarted", evGone: "everything is hung up"}

// step is the only place where the state changes.
func (l *loop) step(n note, why string) {
	if why == "" {
		if why = whys[n.kind]; n.err != nil && (n.kind != evQuiet || errors.Is(n.err, errMute)) {
			why = n.err.Error()
		}
	}
	now := time.Now()
	m, fx := l.m.next(n.event)
	from := l.m.state
	failed := l.m.nxt != 0 && m.nxt == 0 && m.tries > l.m.tries
	l.m = m
	if m.state != from {
		l.s.log.Info("room", "from", from, "to", m.state, "why", why)
		if l.s.cfg.OnState != nil {
			l.s.cfg.OnState(from, m.state, why)
		}
	}
	l.chronicle(now, from, n, failed)
	for _, e := range fx {
		l.do(e)
	}
	l.tellDue()
	l.demand()
	l.publish(now, from)
}

// chronicle keeps the story up with the state.
func (l *loop) chronicle(now time.Time, from State, n note, failed bool) {
	to := l.m.state
	if failed {
		l.story.attemptFailed(l.err)
	}
	if from == Exiting && to != Exiting {
		text := ""
		if l.err != nil && (l.m.reason == byKick || l.m.reason == byDissolved) {
			text = l.err.Error()
		} else {
			l.err = nil
		}
		l.story.exit(l.m.reason, text)
	}
	switch {
	case from == to:
	case to == Entering:
		l.err = nil
		l.story.enter(now)
	case to == In:
		l.err = nil
		l.story.up(now)
	case to == Recovering:
		since := now
		if n.kind == evQuiet {
			since = now.Add(-quietAfter)
		}
		l.story.quiet(since)
	}
}

// do does one effect.
func (l *loop) do(e effect) {
	switch e.kind {
	case fxDial:
		l.dial(e.n)
	case fxCarry:
		a := l.attempts[e.n]
		if a.mend != nil {
			a.mend() // it came back by itself
		}
		if l.s.carrier.Swap(int64(e.n)) != int64(e.n) {
			a.since = time.Now()
			l.shown, l.busy = [2]bool{}, 0
		}
		l.s.sink.WantKey(media.KeyNow)
	case fxRestart:
		l.restart(l.attempts[e.n])
	case fxDrop:
		l.drop(e.n)
	case fxRetry:
		d := retryDelay(l.err, l.m.tries)
		l.s.log.Debug("next try", "in", d, "tries", l.m.tries, "err", l.err)
		l.retry.Reset(d)
	case fxGrace:
		l.retry.Reset(restartGrace)
	case fxCancel:
		l.retry.Stop()
	case fxLeave:
		l.leaving = 1
		for n := range l.attempts {
			l.leaving++
			l.drop(n)
		}
		l.wg.Go(func() { l.post(note{event: event{kind: evGone}}) })
	}
}

// newcomer asks for a key picture for somebody who waits in front of a black one: at once, but
// not for each of a crowd.
func (l *loop) newcomer(now time.Time) {
	if wait := keyGap - now.Sub(l.keyed); wait > 0 {
		l.late.Reset(wait)
		return
	}
	l.keyed = now
	l.s.sink.WantKey(media.KeyNow)
}

// demand says upstream what the room wants.
func (l *loop) demand() {
	w := media.Wish{}
	if a := l.attempts[l.m.cur]; a != nil {
		// The first frames always go out: a room may want to know what it will get.
		first := l.m.state == In && !(l.shown[0] && l.shown[1]) && time.Since(a.since) < firstWithin
		w.Subscribed = a.subscribers != 0 || first
		w.Turn = l.s.cfg.CVO && l.s.video.Turns()
		w.Loss = float64(int(100*l.s.audio.Sending().Loss+0.5)) / 100
	}
	l.s.sink.Set(w)
}

// tellDue tells what the clock has brought and sets the alarm for the next time.
func (l *loop) tellDue() {
	again := l.story.due(time.Now())
	l.news.Stop()
	if !again.IsZero() {
		l.news.Reset(time.Until(again))
	}
}
