package media

import (
	"context"
	"sync/atomic"
)

// Mailbox is a bounded mailbox between two parts in which the newest wins: a late
// reader loses the oldest and is never behind by more than the slots. One putter, one
// getter.
type Mailbox[T item] struct {
	c       chan T
	dropped atomic.Uint64
	shut    atomic.Bool
}

// Latest is a mailbox for raw frames with one slot: its reader finds the newest
// picture, never a queue of old ones.
type Latest = Mailbox[*Frame]

// NewLatest makes an empty mailbox for one frame.
func NewLatest() *Latest { return NewMailbox[*Frame](1) }

// NewMailbox makes an empty mailbox with the given number of slots.
func NewMailbox[T item](slots int) *Mailbox[T] { return &Mailbox[T]{c: make(chan T, slots)} }

// Put hands over one reference and never blocks. What it pushes out is released and
// counted.
func (m *Mailbox[T]) Put(v T) {
	for {
		select {
		case m.c <- v:
			if m.shut.Load() {
				m.drop()
			}
			return
		default:
		}
		select {
		case old := <-m.c:
			release(old)
			m.dropped.Add(1)
		default: // the getter just made room
		}
	}
}

// Get waits for the oldest thing inside; the caller owns the reference.
func (m *Mailbox[T]) Get(ctx context.Context) (T, error) {
	select {
	case v := <-m.c:
		return v, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// C is the channel that Get reads, for a reader that waits for more than this.
func (m *Mailbox[T]) C() <-chan T { return m.c }

// Dropped counts what was pushed out unread.
func (m *Mailbox[T]) Dropped() uint64 { return m.dropped.Load() }

// Shut says that nobody reads for now: what is inside and what comes is released and
// counted. A driver's frame that lay here for as long would keep its camera from being
// closed.
func (m *Mailbox[T]) Shut(on bool) {
	if m.shut.Store(on); on {
		m.drop()
	}
}

func (m *Mailbox[T]) drop() {
	for {
		select {
		case v := <-m.c:
			release(v)
			m.dropped.Add(1)
		default:
			return
		}
	}
}

// Clear releases what is inside. Call it when the putter does not run any more.
func (m *Mailbox[T]) Clear() {
	for {
		select {
		case v := <-m.c:
			release(v)
		default:
			return
		}
	}
}
