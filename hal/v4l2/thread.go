package v4l2

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"anchord/hal"
)

// thread does jobs, one at a time, on a goroutine of its own, because any request to a
// driver may never return (https://github.com/raspberrypi/picamera2/issues/1090 has one in
// poll, https://github.com/radxa/kernel/issues/560 one that SIGKILL does not end). Then the
// thread is lost: the goroutine, and the kernel thread under it, stay behind, and whoever
// waited goes on.
type thread struct {
	jobs  chan func()
	done  chan struct{} // one token for each job that was done in time
	gone  chan struct{} // closed when the goroutine has ended
	after func() bool   // done between jobs while it says that there is more to do; nil for none
	bury  func()        // gives back what is left once a lost thread has come home; set before any job

	begun time.Time
	until atomic.Int64 // when the job that runs is overdue, counted from begun
	timer *time.Timer
	wait  sync.WaitGroup

	// mu also guards what the thread may touch only while somebody waits for it: the
	// pixels and the references of the picture that it codes.
	mu   sync.Mutex
	lost bool
}

func newThread() *thread {
	t := &thread{jobs: make(chan func(), 1), done: make(chan struct{}, 1), gone: make(chan struct{}),
		begun: time.Now(), timer: time.NewTimer(time.Hour)}
	t.timer.Stop()
	t.wait.Go(t.run)
	return t
}

func (t *thread) run() {
	defer close(t.gone)
	for job := range t.jobs {
		if !t.isLost() { // it was in after that it was lost
			job()
		}
		t.mu.Lock()
		lost := t.lost
		if !lost {
			t.done <- struct{}{}
		}
		t.mu.Unlock()
		if lost {
			if t.bury != nil {
				t.bury()
			}
			return
		}
		for t.after != nil && len(t.jobs) == 0 && t.after() {
		}
	}
}

// do has a job done and waits for it, at most for limit, or for as long as the job asks for
// by extend. An error means that the thread is lost (it wraps hal.ErrStuck unless ctx ended):
// the job may still run, and nothing that it uses may be touched. A lost thread takes no more.
func (t *thread) do(ctx context.Context, limit time.Duration, job func()) error {
	t.until.Store(int64(time.Since(t.begun) + limit))
	t.jobs <- job
	for {
		t.timer.Reset(t.left())
		select {
		case <-t.done:
			t.timer.Stop()
			return nil
		case <-t.timer.C:
			if t.left() <= 0 && t.giveUp() {
				return fmt.Errorf("%w: a request to its driver does not come back after %v", hal.ErrStuck, limit)
			}
		case <-ctx.Done():
			t.timer.Stop()
			if t.giveUp() {
				return ctx.Err()
			}
		}
	}
}

// giveUp writes the thread off unless the job is done.
func (t *thread) giveUp() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lost = len(t.done) == 0
	return t.lost
}

// extend gives the job that runs at least that long from now on.
func (t *thread) extend(d time.Duration) {
	t.until.Store(max(t.until.Load(), int64(time.Since(t.begun)+d)))
}

func (t *thread) left() time.Duration {
	return time.Duration(t.until.Load()) - time.Since(t.begun)
}

func (t *thread) isLost() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lost
}

// ended tells whether the goroutine has ended, as a lost one may some time.
func (t *thread) ended() bool {
	select {
	case <-t.gone:
		return true
	default:
		return false
	}
}

// end ends the goroutine, which must not be lost.
func (t *thread) end() {
	close(t.jobs)
	t.wait.Wait()
}
