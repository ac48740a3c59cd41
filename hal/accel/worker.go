package accel

import (
	"context"
	"fmt"
	"sync"
	"time"

	"anchord/hal"
)

// worker does requests, one at a time, on a goroutine of its own, because one to a bus that
// hangs may not come back. Then the worker is lost: its goroutine stays behind until the
// kernel lets it go, and whoever waited goes on.
type worker struct {
	jobs chan func()
	wait sync.WaitGroup
	gone chan struct{} // closed when the goroutine has ended
	lost bool          // no more requests
	last func() error  // done after all requests, by a lost worker too; set by a request
	err  error         // last's; valid once it is gone
}

func newWorker() *worker {
	w := &worker{jobs: make(chan func()), gone: make(chan struct{})}
	w.wait.Go(func() {
		defer close(w.gone)
		for job := range w.jobs {
			job()
		}
		if w.last != nil {
			w.err = w.last()
		}
	})
	return w
}

// ask has a request done and gives its answer. An error that wraps hal.ErrStuck, or ctx's,
// says that there is none, and that the worker takes no more.
func ask[T any](ctx context.Context, w *worker, request func() T) (T, error) {
	var none T
	if w.lost {
		return none, fmt.Errorf("%w: an earlier request did not come back", hal.ErrStuck)
	}
	if err := ctx.Err(); err != nil {
		return none, err
	}
	answer := make(chan T, 1)
	w.jobs <- func() { answer <- request() }
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case a := <-answer:
		return a, nil
	case <-t.C:
		w.lose()
		return none, fmt.Errorf("%w: a request does not come back after %v", hal.ErrStuck, patience)
	case <-ctx.Done():
		w.lose()
		return none, ctx.Err()
	}
}

func (w *worker) lose() {
	w.lost = true
	close(w.jobs)
}

// end has the last request done and gives its error, unless the worker is lost or gets lost
// by it.
func (w *worker) end() error {
	if w.lost {
		return nil
	}
	w.lose()
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-w.gone:
		w.wait.Wait()
		return w.err
	case <-t.C:
		return fmt.Errorf("close accelerometer: %w: a request does not come back after %v", hal.ErrStuck, patience)
	}
}
