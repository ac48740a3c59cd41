// Package run is the supervisor: it starts parts in order, starts them again when they
// fail, ever later and with jitter, and stops them in reverse order.
package run

import (
	"context"
	"math/rand/v2"
	"time"
)

// Backoff says how long to wait before a try: full jitter between half of and the whole
// of Base·2ⁿ⁻¹, at most Max
// (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/), so that
// a thousand boxes that lost the same server do not come back in the same instant.
type Backoff struct{ Base, Max time.Duration }

// Delay gives the wait before try n; try 0 is at once.
func (b Backoff) Delay(n int) time.Duration {
	if n <= 0 {
		return 0
	}
	d := b.Max
	if n < 32 {
		d = min(b.Base<<(n-1), b.Max)
	}
	if d <= 0 {
		return 0
	}
	return d/2 + rand.N(d/2+1)
}

// Wait waits before try n. It ends early, with nil, when poke is signalled, and with the
// context's error when ctx ends. poke may be nil.
func (b Backoff) Wait(ctx context.Context, n int, poke <-chan struct{}) error {
	return Sleep(ctx, b.Delay(n), poke)
}

// Sleep waits for d, or until poke is signalled (nil in both cases), or until ctx ends.
func Sleep(ctx context.Context, d time.Duration, poke <-chan struct{}) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-poke:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
