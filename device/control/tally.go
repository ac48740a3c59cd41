package control

import (
	"cmp"
	"context"
	"slices"
	"sync"
)

// Tally counts requests by the way they came and by how they ended; both must be of a few
// known words. The zero Tally is ready, a nil one counts nothing. Its methods may be called
// from any goroutine.
type Tally struct {
	mu sync.Mutex
	n  map[[2]string]uint64
}

// Count is how many requests came by one way and ended in one way.
type Count struct {
	Way    string // of commands: "socket", "http"
	Result string // of commands: "ok", or the error's slug
	N      uint64
}

// Add counts one request.
func (t *Tally) Add(way, result string) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n == nil {
		t.n = map[[2]string]uint64{}
	}
	t.n[[2]string{way, result}]++
}

// Counts gives all counters in a stable order.
func (t *Tally) Counts() []Count {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]Count, 0, len(t.n))
	for k, n := range t.n {
		out = append(out, Count{k[0], k[1], n})
	}
	slices.SortFunc(out, func(a, b Count) int { return cmp.Or(cmp.Compare(a.Way, b.Way), cmp.Compare(a.Result, b.Result)) })
	return out
}

type tallyKey struct{}

// counted has commands in ctx counted under a way.
func (t *Tally) counted(ctx context.Context, way string) context.Context {
	return context.WithValue(ctx, tallyKey{}, func(result string) { t.Add(way, result) })
}

// count counts a command that ended with e; nil: well.
func count(ctx context.Context, e *Error) {
	note, ok := ctx.Value(tallyKey{}).(func(string))
	switch {
	case !ok:
	case e == nil:
		note("ok")
	default:
		note(slug(e.Code))
	}
}
