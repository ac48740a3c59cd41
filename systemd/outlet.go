package systemd

import (
	"context"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"
)

// outlet is a place where lines go. While it runs, who logs leaves them in its queue.
type outlet struct {
	w       io.Writer
	journal bool
	wake    chan struct{}

	mu      sync.Mutex // guards what follows
	running bool
	queued  []byte
	spare   []byte
	lost    int    // lines since that was last said
	total   uint64 // lines lost in all
}

// mostQueued bounds a queue, in bytes.
const mostQueued = 256 << 10

func newOutlet(w io.Writer, journal bool) *outlet {
	return &outlet{w: w, journal: journal, wake: make(chan struct{}, 1)}
}

// put writes a line, or queues it while the outlet runs.
func (o *outlet) put(e entry) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.running {
		o.add(e)
		return nil
	}
	o.spare = o.append(o.spare[:0], e)
	_, err := o.w.Write(o.spare)
	return err
}

// queue queues a line, also while the outlet does not run yet.
func (o *outlet) queue(e entry) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.add(e)
}

// add queues a line if there is room. o.mu is held.
func (o *outlet) add(e entry) {
	if len(o.queued)+len(e.line) > mostQueued {
		o.lost++
		o.total++
		return
	}
	o.queued = o.append(o.queued, e)
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// append appends a line as the place wants it.
func (o *outlet) append(b []byte, e entry) []byte {
	line := e.line
	if o.journal {
		b = append(b, priority(e.level)...)
		// Time and level come before the message and never hold its key.
		line = line[max(0, strings.Index(line, slog.MessageKey+"=")):]
	}
	return append(append(b, line...), '\n')
}

func priority(v slog.Level) string {
	switch {
	case v >= slog.LevelError:
		return "<3>"
	case v >= slog.LevelWarn:
		return "<4>"
	case v >= slog.LevelInfo:
		return "<6>"
	}
	return "<7>"
}

func (o *outlet) dropped() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.total
}

// run writes what is queued until ctx ends and the queue is empty.
func (o *outlet) run(ctx context.Context) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.running = true
	for {
		for len(o.queued) > 0 {
			b := o.queued
			if o.lost > 0 {
				b = o.append(b, entry{level: slog.LevelWarn, line: stamp(time.Now()) + `level=WARN msg="lines are missing: they were not taken in time" lines=` + strconv.Itoa(o.lost)})
				o.lost = 0
			}
			o.queued = o.spare[:0]
			o.mu.Unlock()
			_, _ = o.w.Write(b) // there is nobody to tell
			o.mu.Lock()
			o.spare = b
		}
		if ctx.Err() != nil {
			o.running = false
			return
		}
		o.mu.Unlock()
		select {
		case <-o.wake:
		case <-ctx.Done():
		}
		o.mu.Lock()
	}
}
