package control

import (
	"sync"
	"time"
)

// What wrong tokens are allowed. A right token of 256 bits cannot be guessed at any rate;
// this bounds what a guess at a weak one, or a client that asks on and on with an old one,
// can do, and how long such a client keeps others from the same place out.
const (
	wrongBurst  = 10              // wrong tokens of one sender, at once
	wrongEvery  = 2 * time.Second // and one more each
	allBurst    = 100             // wrong tokens of all senders, at once
	allEvery    = 50 * time.Millisecond
	leastLock   = time.Second // how long a sender is not looked at; doubled each time
	mostLock    = time.Minute
	forgetAfter = 10 * time.Minute // without a wrong token
	maxSenders  = 1024             // that are remembered
)

// limiter counts wrong tokens and says who has to wait. A sender who waits is not looked at,
// so that he learns nothing from being answered. Others are never kept waiting: when all
// together try too many, each of them waits after his first wrong token. Of an attack from
// more than maxSenders addresses some that were quiet long are forgotten, which gives them
// another try: memory is bounded, and right tokens from elsewhere are let in all the time. The zero
// limiter is ready.
type limiter struct {
	mu      sync.Mutex
	all     bucket
	senders map[sender]*tries
	locked  time.Time // until then somebody has to wait
}

// bucket allows a burst, and one more each while.
type bucket struct {
	used time.Duration // of the burst, as the time until it is whole again
	at   time.Time
}

// take takes one and tells whether it was there.
func (b *bucket) take(now time.Time, burst int, each time.Duration) bool {
	b.used = max(0, b.used-max(0, now.Sub(b.at)))
	b.at = now
	if b.used > time.Duration(burst-1)*each {
		return false
	}
	b.used += each
	return true
}

// tries is what one sender has done.
type tries struct {
	bucket
	locks uint      // how often he had to wait
	until time.Time // when he is looked at again
	last  time.Time // his last wrong token
}

// wait gives how long the sender has to wait; 0: not at all.
func (l *limiter) wait(p sender, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.senders[p]
	if t == nil {
		return 0
	}
	return max(0, t.until.Sub(now))
}

// quiet tells whether nobody has to wait, so that nobody has to be looked up.
func (l *limiter) quiet(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.locked.After(now)
}

// wrong notes a wrong token and gives how long its sender has to wait now; 0: he may try
// again. first says that he did not have to wait until now.
func (l *limiter) wrong(p sender, now time.Time) (wait time.Duration, first bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.senders[p]
	if t == nil {
		l.makeRoom()
		t = &tries{}
		if l.senders == nil {
			l.senders = map[sender]*tries{}
		}
		l.senders[p] = t
	}
	if now.Sub(t.last) > forgetAfter {
		*t = tries{}
	}
	t.last = now
	if t.until.After(now) { // it was on its way when the wait began
		return t.until.Sub(now), false
	}
	// Who had to wait before has one try, not a burst.
	free := t.take(now, wrongBurst, wrongEvery) && t.locks == 0
	if l.all.take(now, allBurst, allEvery) && free {
		return 0, false
	}
	wait = min(leastLock<<min(t.locks, 10), mostLock)
	t.locks++
	t.until = now.Add(wait)
	if t.until.After(l.locked) {
		l.locked = t.until
	}
	return wait, t.locks == 1
}

// makeRoom forgets the quietest of a few, which the map's order picks.
func (l *limiter) makeRoom() {
	if len(l.senders) < maxSenders {
		return
	}
	var quietest sender
	var last time.Time
	n := 0
	for p, t := range l.senders {
		if n == 0 || t.last.Before(last) {
			quietest, last = p, t.last
		}
		if n++; n == 16 {
			break
		}
	}
	delete(l.senders, quietest)
}
