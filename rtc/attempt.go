package rtc

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"anchord/internal/run"
)

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

	subscribers int    // -1: the room does not say
	looks       int    // since it said so
	keys        uint64 // key pictures asked for until it was believed
	stream      bool   // the room has an event stream
	mute        bool   // ICE was restarted because no RTCP came
	parting     bool   // the other side said goodbye, and may still say why
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
	servers := slices.Clone(l.servers)
	if l.s.cfg.ICE != nil {
		servers = append(l.s.cfg.ICE(), servers...)
	}
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
	l.post(note{event: event{kind: evAnswered, n: a.n}, servers: call.ICEServers(), stream: call.Events() != nil})
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
