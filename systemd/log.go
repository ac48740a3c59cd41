package systemd

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// Log is a slog.Handler for stderr that also remembers its newest lines. What goes to
// the journal begins with its priority, <3> to <7>
// (https://www.freedesktop.org/software/systemd/man/latest/sd-daemon.html), instead of
// time and level, which the journal has itself.
type Log struct {
	text  slog.Handler
	out   *lines
	level *slog.LevelVar
}

// lines is what all handlers of one log share.
type lines struct {
	mu      sync.Mutex
	w       io.Writer
	journal bool
	buf     bytes.Buffer
	ring    []string
	next    int
}

// remembered is how many lines are kept.
const remembered = 200

// NewLog makes a log that writes to w.
func NewLog(w io.Writer, level slog.Level) *Log {
	o := &lines{w: w, journal: journal(w), ring: make([]string, 0, remembered)}
	v := &slog.LevelVar{}
	v.Set(level)
	return &Log{slog.NewTextHandler(&o.buf, &slog.HandlerOptions{Level: v}), o, v}
}

// journal tells whether w is the journal's own stream: JOURNAL_STREAM names its device
// and inode, and is also inherited by programs whose stderr was turned elsewhere since,
// for instance by everything below a terminal that systemd started
// (https://www.freedesktop.org/software/systemd/man/latest/systemd.exec.html).
func journal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	fi, err := f.Stat()
	if err != nil {
		return false
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	return ok && os.Getenv("JOURNAL_STREAM") == fmt.Sprintf("%d:%d", st.Dev, st.Ino)
}

// Enabled implements slog.Handler.
func (l *Log) Enabled(_ context.Context, v slog.Level) bool { return v >= l.level.Level() }

// Handle implements slog.Handler.
func (l *Log) Handle(ctx context.Context, r slog.Record) error {
	l.out.mu.Lock()
	defer l.out.mu.Unlock()
	l.out.buf.Reset()
	if err := l.text.Handle(ctx, r); err != nil {
		return err
	}
	line := l.out.buf.Bytes()
	l.out.keep(strings.TrimSuffix(string(line), "\n"))
	if l.out.journal {
		// Time and level come before the message and never hold its key.
		line = append(priority(r.Level), line[bytes.Index(line, []byte(slog.MessageKey+"=")):]...)
	}
	_, err := l.out.w.Write(line)
	return err
}

func priority(v slog.Level) []byte {
	switch {
	case v >= slog.LevelError:
		return []byte("<3>")
	case v >= slog.LevelWarn:
		return []byte("<4>")
	case v >= slog.LevelInfo:
		return []byte("<6>")
	}
	return []byte("<7>")
}

func (o *lines) keep(s string) {
	if len(o.ring) < remembered {
		o.ring = append(o.ring, s)
		return
	}
	o.ring[o.next] = s
	o.next = (o.next + 1) % remembered
}

// WithAttrs implements slog.Handler.
func (l *Log) WithAttrs(a []slog.Attr) slog.Handler {
	return &Log{l.text.WithAttrs(a), l.out, l.level}
}

// WithGroup implements slog.Handler.
func (l *Log) WithGroup(name string) slog.Handler {
	return &Log{l.text.WithGroup(name), l.out, l.level}
}

// Tail gives the newest n lines, oldest first.
func (l *Log) Tail(n int) []string {
	l.out.mu.Lock()
	defer l.out.mu.Unlock()
	all := append(slices.Clone(l.out.ring[l.out.next:]), l.out.ring[:l.out.next]...)
	return all[max(0, len(all)-n):]
}

// SetLevel sets what is logged from now on ("debug", "info", "warn", "error"; others
// change nothing) and gives what was in force.
func (l *Log) SetLevel(name string) (old string) {
	old = strings.ToLower(l.level.Level().String())
	var v slog.Level
	if name != "" && v.UnmarshalText([]byte(name)) == nil {
		l.level.Set(v)
	}
	return old
}
