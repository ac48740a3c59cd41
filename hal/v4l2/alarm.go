package v4l2

import (
	"os"
	"sync"
	"time"
)

// alarm is a file's read deadline, which cannot be set again once it has ended. A
// deadline is how the runtime's poller lets another goroutine end a read.
type alarm struct {
	mu    sync.Mutex
	f     *os.File
	ended bool
}

// set sets the deadline, unless the alarm has ended.
func (a *alarm) set(t time.Time) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended || a.f == nil {
		return nil
	}
	return a.f.SetReadDeadline(t)
}

// past is a deadline that lies behind us.
func past() time.Time { return time.Unix(1, 0) }

// ring makes the read that waits now, or else the next one, end at once.
func (a *alarm) ring() { _ = a.set(past()) } // fails on a closed file, on which nobody waits

// end makes this and all later reads end at once.
func (a *alarm) end() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended = true
	if a.f != nil {
		_ = a.f.SetReadDeadline(past()) // as in ring
	}
}

// over tells whether the alarm has ended.
func (a *alarm) over() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ended
}
