package rtc

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"anchord/internal/media"
	"anchord/internal/run"
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
	look  *time.Ticker

	shown   [2]bool   // that a picture, a block of sound went by the present attempt
	packets [2]uint64 // sent, at the last look
	busy    int       // looks in a row at which more had been sent
}

// attempt is one connection to the room. way and call belong to the goroutine that
// makes it until made is closed.
type attempt struct {
	n      int
	ctx    context.Context
	cancel context.CancelFunc
	mend   context.CancelFunc // of an ICE restart
	up     chan struct{}
	made   chan struct{}
	way    way
	call   Call
	since  time.Time // that it carries

	subscribers int // -1: the room does not say
}

func newLoop(s *Session) *loop {
	l := &loop{s: s, inbox: make(chan note, 64), over: make(chan struct{}), attempts: map[int]*attempt{}}
	l.story.tell = func(n Notice) {
		s.log.Info("event", "name", n.Name, "result", n.Result, "user", n.User, "text", n.Text)
		if s.cfg.OnEvent != nil {
			s.cfg.OnEvent(n)
		}
	}
	l.retry, l.news = time.NewTimer(0), time.NewTimer(0)
	l.retry.Stop()
	l.news.Stop()
	return l
}

// post is called from other goroutines.
func (l *loop) post(n note) {
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
		l.attempts[n.n].subscribers = -1
		l.demand()
		return
	case n.said != nil:
		l.says(n.n, *n.said)
		return
	}
	switch n.kind {
	case evAnswered:
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
		a.subscribers = e.Count
		if more && e.Count > 0 {
			l.s.sink.WantKey(media.KeyNow) // somebody waits in front of a black picture
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
	errDeaf = fmt.Errorf("the room reports that no packet arrived for %v", deafAfter)
)

var whys = map[kind]string{evAnswered: "the room answered", evUp: "connected", evLate: "no media got through in time",
	evQuiet: "nothing is heard from the other side", evHeard: "the other side is heard again", evDown: "the connection failed",
	evRestarted: "ICE was restarted", evGone: "everything is hung up"}

// step is the only place where the state changes.
func (l *loop) step(n note, why string) {
	if why == "" {
		if why = whys[n.kind]; n.err != nil && n.kind != evQuiet {
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

// dial makes attempt n.
func (l *loop) dial(n int) {
	ctx, cancel := context.WithCancel(l.ctx)
	a := &attempt{n: n, ctx: ctx, cancel: cancel, up: make(chan struct{}), made: make(chan struct{}), subscribers: -1}
	l.attempts[n] = a
	l.s.mu.Lock()
	target := l.s.target
	l.s.mu.Unlock()
	if l.sign == nil || l.reached != target {
		sign, err := l.s.cfg.Dial(target)
		if err != nil {
			close(a.made)
			l.wg.Go(func() { l.post(note{event: event{kind: evDown, n: n}, err: err}) })
			return
		}
		l.sign, l.reached, l.servers, l.hopeless = sign, target, nil, false
	}
	sign := l.sign
	servers := append(append([]ICEServer(nil), l.s.cfg.ICE...), l.servers...)
	l.wg.Go(func() {
		err := l.connect(ctx, a, sign, servers)
		close(a.made)
		if err != nil {
			l.post(note{event: event{kind: evDown, n: n}, err: err})
			return
		}
		t := time.NewTimer(connectWithin)
		defer t.Stop()
		select {
		case <-a.up:
		case <-t.C:
			l.post(note{event: event{kind: evLate, n: n}, err: errNoPath})
		case <-ctx.Done():
		}
	})
}

// connect goes as far as the room's answer.
func (l *loop) connect(ctx context.Context, a *attempt, sign Signaller, servers []ICEServer) error {
	actx, cancel := context.WithTimeoutCause(ctx, answerWithin, fmt.Errorf("the room did not answer within %v: %w", answerWithin, context.DeadlineExceeded))
	defer cancel()
	cause := func(err error) error {
		if c := context.Cause(actx); c != nil && errors.Is(err, context.DeadlineExceeded) {
			return c
		}
		return err
	}
	w, err := l.s.open(servers, func(k kind) { l.post(note{event: event{kind: k, n: a.n}}) })
	if err != nil {
		return err
	}
	a.way = w
	offer, err := w.Offer(actx)
	if err != nil {
		return cause(err)
	}
	call, err := sign.Publish(actx, offer)
	if err != nil {
		return cause(err)
	}
	a.call = call
	l.post(note{event: event{kind: evAnswered, n: a.n}, servers: call.ICEServers()})
	if c := call.Events(); c != nil {
		l.wg.Go(func() { l.forward(ctx, a.n, c) })
	}
	return w.Answer(actx, call)
}

// forward passes on what the room says.
func (l *loop) forward(ctx context.Context, n int, c <-chan Event) {
	for {
		select {
		case e, ok := <-c:
			if !ok {
				l.post(note{event: event{n: n}, silent: true})
				return
			}
			l.post(note{event: event{n: n}, said: &e})
		case <-ctx.Done():
			return
		}
	}
}

// restart restarts an attempt's ICE.
func (l *loop) restart(a *attempt) {
	hopeless := l.hopeless
	ctx, cancel := context.WithTimeout(a.ctx, restartWithin)
	a.mend = cancel
	l.wg.Go(func() {
		defer cancel()
		<-a.made
		if hopeless { // to try would only end the old path, which may come back
			l.post(note{event: event{kind: evRestarted, n: a.n, failed: true}, err: ErrNoRestart})
			return
		}
		err := a.way.Restart(ctx, a.call)
		l.post(note{event: event{kind: evRestarted, n: a.n, failed: err != nil}, err: err})
		if errors.Is(err, errHalfway) {
			l.post(note{event: event{kind: evDown, n: a.n}, err: err})
		}
	})
}

// drop hangs an attempt up. While everything is left, its end is told.
func (l *loop) drop(n int) {
	a := l.attempts[n]
	if a == nil {
		return
	}
	delete(l.attempts, n)
	l.s.carrier.CompareAndSwap(int64(n), 0)
	a.cancel()
	told := l.m.state == Exiting
	l.wg.Go(func() {
		<-a.made
		var both sync.WaitGroup
		if a.call != nil {
			both.Go(func() {
				ctx, cancel := context.WithTimeout(context.WithoutCancel(l.ctx), hangupWithin)
				defer cancel()
				if err := a.call.Hangup(ctx); err != nil {
					l.s.log.Debug("not hung up", "attempt", n, "err", err)
				}
			})
		}
		if a.way != nil {
			a.way.Close()
		}
		both.Wait()
		if told {
			l.post(note{event: event{kind: evGone}})
		}
	})
}

// judge looks once a second whether media arrives on the other side, and what is lost.
func (l *loop) judge() {
	a := l.attempts[l.m.cur]
	if l.m.state != In || a == nil {
		return
	}
	video, audio := l.s.video.Sending(), l.s.audio.Sending()
	more := [2]uint64{video.Packets, audio.Packets}
	if l.busy++; more == l.packets {
		l.busy = 0
	}
	l.packets = more
	if l.busy > int(deafAfter/lookEvery) && unheard(video, audio, media.Now()) {
		l.hear(note{event: event{kind: evDown, n: l.m.cur}, err: errDeaf})
		return
	}
	l.demand()
}

// unheard tells whether the other side still speaks and reports that nothing arrives,
// though it once did. A side that says nothing is for ICE to judge.
func unheard(video, audio Sending, now media.Time) bool {
	heard, arrived := max(video.Heard, audio.Heard), max(video.Arrived, audio.Arrived)
	return arrived != 0 && now.Sub(heard) < deafAfter/2 && now.Sub(arrived) > deafAfter
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

// retryDelay says when to try again after n failures in a row.
func retryDelay(err error, n int) time.Duration {
	var no *Refused
	switch {
	case errors.As(err, &no) && no.Final:
		return run.Backoff{Base: 30 * time.Second, Max: 30 * time.Second}.Delay(1)
	case errors.As(err, &no) && no.After > 0:
		after := min(no.After, 5*time.Minute) // whoever says more does not mean an unattended box
		return after + rand.N(min(after/4, 5*time.Second)+250*time.Millisecond)
	case errors.As(err, &no):
		return run.Backoff{Base: time.Second, Max: 30 * time.Second}.Delay(n)
	case noRoute(err):
		return run.Backoff{Base: 5 * time.Second, Max: 5 * time.Second}.Delay(1) // a change of the network pokes
	}
	return run.Backoff{Base: time.Second, Max: time.Second}.Delay(1)
}
