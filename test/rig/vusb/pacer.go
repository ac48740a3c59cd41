// SPDX-License-Identifier: Apache-2.0

package main

import (
	"sync"
	"time"
)

// pacer ends transfers one after the other, each after the time that the bus would have taken.
type pacer struct {
	wg   sync.WaitGroup
	stop chan struct{}
	wake chan struct{}

	mu sync.Mutex
	q  []paced
}

type paced struct {
	cost time.Duration
	do   func()
}

func newPacer() *pacer {
	p := &pacer{stop: make(chan struct{}), wake: make(chan struct{}, 1)}
	p.wg.Go(p.run)
	return p
}

func (p *pacer) add(cost time.Duration, do func()) {
	p.mu.Lock()
	p.q = append(p.q, paced{cost, do})
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// close forgets what is queued and waits for what is being done.
func (p *pacer) close() {
	close(p.stop)
	p.wg.Wait()
}

// wait returns false when the pacer is being closed.
func (p *pacer) wait(d time.Duration) bool {
	select {
	case <-p.stop:
		return false
	default:
	}
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-p.stop:
		return false
	}
}

func (p *pacer) next() (paced, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.q) == 0 {
		return paced{}, false
	}
	t := p.q[0]
	p.q = p.q[1:]
	return t, true
}

func (p *pacer) run() {
	const idle, late = 50 * time.Millisecond, 200 * time.Millisecond
	due := time.Now()
	for {
		t, ok := p.next()
		if !ok {
			select {
			case <-p.wake:
			case <-p.stop:
				return
			}
			if now := time.Now(); due.Before(now.Add(-idle)) {
				due = now
			}
			continue
		}
		due = due.Add(t.cost)
		d := time.Until(due)
		if !p.wait(d) {
			return
		}
		if d < -late { // too slow to catch up
			due = time.Now()
		}
		t.do()
	}
}
