package media

import (
	"context"
	"sync"
)

// Queue is a bounded mailbox for packets. A queue of pictures that overflows drops
// everything up to the next key picture and asks for one: a packet is never taken out
// of the middle of a group of pictures. A queue of sound drops its oldest block.
type Queue struct {
	mu      sync.Mutex
	ring    []*Packet
	head, n int
	video   bool
	starved bool // pictures are dropped until a key picture comes
	dropped uint64
	wake    chan struct{}
	wantKey func()
}

// NewQueue makes a queue for size packets. wantKey is called, without a lock held,
// when a queue of pictures needs a key picture to go on; it is nil for sound.
func NewQueue(size int, wantKey func()) *Queue {
	return &Queue{ring: make([]*Packet, size), video: wantKey != nil, starved: wantKey != nil,
		wake: make(chan struct{}, 1), wantKey: wantKey}
}

// Put hands over one reference and never blocks. A new queue of pictures begins with
// a key picture; what comes before is dropped.
func (q *Queue) Put(p *Packet) {
	ask := false
	q.mu.Lock()
	switch {
	case q.video && q.starved && !p.Key:
		q.drop(p)
	case q.n == len(q.ring) && q.video:
		q.clear()
		if q.starved = !p.Key; q.starved {
			q.drop(p)
			ask = true
		} else {
			q.push(p)
		}
	case q.n == len(q.ring):
		q.drop(q.pop())
		q.push(p)
	default:
		q.starved = false
		q.push(p)
	}
	q.mu.Unlock()
	if ask {
		q.wantKey()
	}
}

// Get waits for the oldest packet; the caller owns the reference.
func (q *Queue) Get(ctx context.Context) (*Packet, error) {
	for {
		if p := q.Try(); p != nil {
			return p, nil
		}
		select {
		case <-q.wake:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Try gives the oldest packet, or nil when there is none.
func (q *Queue) Try() *Packet {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.n == 0 {
		return nil
	}
	return q.pop()
}

// Ready is signalled after a Put into an empty queue, for a reader that waits for more
// than one thing: receive from it, then Try until nil.
func (q *Queue) Ready() <-chan struct{} { return q.wake }

// Dropped counts packets that were dropped.
func (q *Queue) Dropped() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.dropped
}

// Clear releases everything inside; pictures start again at a key picture.
func (q *Queue) Clear() {
	q.mu.Lock()
	q.clear()
	q.starved = q.video
	q.mu.Unlock()
}

func (q *Queue) push(p *Packet) {
	q.ring[(q.head+q.n)%len(q.ring)] = p
	q.n++
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *Queue) pop() *Packet {
	p := q.ring[q.head]
	q.ring[q.head] = nil
	q.head = (q.head + 1) % len(q.ring)
	q.n--
	return p
}

func (q *Queue) drop(p *Packet) {
	q.dropped++
	p.Release()
}

func (q *Queue) clear() {
	for q.n > 0 {
		q.drop(q.pop())
	}
}
