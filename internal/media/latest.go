package media

import (
	"context"
	"sync/atomic"
)

// Latest is a mailbox for raw frames with one slot in which the newest wins: a late
// reader finds the newest picture, never a queue of old ones. One putter, one getter.
type Latest struct {
	c       chan *Frame
	dropped atomic.Uint64
}

// NewLatest makes an empty mailbox.
func NewLatest() *Latest { return &Latest{c: make(chan *Frame, 1)} }

// Put hands over one reference and never blocks. The frame that it pushes out is
// released and counted.
func (l *Latest) Put(f *Frame) {
	select {
	case old := <-l.c:
		old.Release()
		l.dropped.Add(1)
	default:
	}
	l.c <- f // the only putter just made room
}

// Get waits for a frame; the caller owns the reference.
func (l *Latest) Get(ctx context.Context) (*Frame, error) {
	select {
	case f := <-l.c:
		return f, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// C is the channel that Get reads, for a reader that waits for more than frames.
func (l *Latest) C() <-chan *Frame { return l.c }

// Dropped counts frames that were pushed out unread.
func (l *Latest) Dropped() uint64 { return l.dropped.Load() }

// Clear releases the frame inside, if any. Call it when neither side runs any more.
func (l *Latest) Clear() {
	select {
	case f := <-l.c:
		f.Release()
	default:
	}
}
