package systemd

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"
)

// Log is a slog.Handler for stderr, and for a file besides, that also remembers its newest
// lines. What goes to the journal begins with its priority, <3> to <7>
// (https://www.freedesktop.org/software/systemd/man/latest/sd-daemon.html), instead of
// time and level, which the journal has itself.
//
// What is not printable is quoted or escaped: no text of others' reaches a
// terminal as an escape sequence. A line that comes again within a second is counted, and
// said with the count when the second is over.
type Log struct {
	text slog.Handler
	out  *lines
	part string
	deep bool // in a group: an attribute "part" is not the part any more
}

// lines is what all handlers of one log share.
type lines struct {
	levels levels
	stderr *outlet
	hide   func(string) string
	joins  chan *outlet // the file's, till Run has it

	mu      sync.Mutex // guards what follows
	file    *outlet    // nil: none
	buf     bytes.Buffer
	again   again
	all     ring // of the newest
	grave   ring // of warnings and errors, which a flood of others must not push out
	waiting chan struct{}
}

// longest is what a line may have; the rest of it is cut off.
const longest = 4096

// NewLog makes a log that writes to w.
func NewLog(w io.Writer, level slog.Level) *Log {
	o := &lines{stderr: newOutlet(w, journal(w)), all: newRing(400), grave: newRing(100),
		joins: make(chan *outlet, 1), waiting: make(chan struct{}, 1)}
	o.levels.all.Set(level)
	o.again.seen = map[uint64]*repeated{}
	// The level is asked in Enabled.
	return &Log{text: slog.NewTextHandler(&o.buf, &slog.HandlerOptions{Level: lowest}), out: o}
}

// Also has all lines written to w as well, those first that are remembered. Run does it,
// and closes w: w may take its time, and what it cannot take in that time is dropped and
// counted. It may be called once.
func (l *Log) Also(w io.WriteCloser) {
	o := l.out
	o.mu.Lock()
	defer o.mu.Unlock()
	o.file = newOutlet(w, false)
	for _, e := range o.all.newest(len(o.all.kept), lowest, "") {
		o.file.queue(e)
	}
	o.joins <- o.file
}

// lowest is a level below all.
const lowest = slog.Level(-1000)

// Hide has every line go through hide, which takes out what is not to be seen. Call it
// before anything is logged.
func (l *Log) Hide(hide func(string) string) { l.out.hide = hide }

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

// Queue has lines wait for Run, which is about to be called.
func (l *Log) Queue() {
	o := l.out.stderr
	o.mu.Lock()
	defer o.mu.Unlock()
	o.running = true
}

// Run writes the lines until ctx ends, and then what is left of them. While it runs nobody
// who logs waits for stderr, which may be a serial line that somebody stopped. Without it
// lines are written by who logs them, and none to the file. It does not return while
// stderr takes nothing: then only the end of the process ends it.
func (l *Log) Run(ctx context.Context) error {
	o := l.out
	var wg sync.WaitGroup
	outlets, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer wg.Wait()
	defer stop()
	wg.Go(func() { o.stderr.run(outlets) })
	file := func(f *outlet) {
		wg.Go(func() {
			f.run(outlets)
			_ = f.w.(io.Closer).Close() // there is nobody left to tell
		})
	}
	for {
		select {
		case <-ctx.Done():
			select {
			case f := <-o.joins:
				file(f)
			default:
			}
			o.mu.Lock()
			o.say(o.again.due(time.Now().Add(again1), time.Now()))
			o.mu.Unlock()
			return ctx.Err()
		case f := <-o.joins:
			file(f)
			continue
		case <-o.waiting:
		}
		t := time.NewTimer(again1)
		select {
		case <-ctx.Done():
		case <-t.C:
			o.mu.Lock()
			o.say(o.again.due(time.Now(), time.Now()))
			if o.again.counts() {
				o.wait()
			}
			o.mu.Unlock()
		}
		t.Stop()
	}
}

// wait has Run look for counts that are to be said.
func (o *lines) wait() {
	select {
	case o.waiting <- struct{}{}:
	default:
	}
}

// Enabled implements slog.Handler.
func (l *Log) Enabled(_ context.Context, v slog.Level) bool { return v >= l.out.levels.of(l.part) }

// Handle implements slog.Handler.
func (l *Log) Handle(ctx context.Context, r slog.Record) error {
	o := l.out
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buf.Reset()
	if err := l.text.Handle(ctx, r); err != nil {
		return err
	}
	line := strings.TrimSuffix(o.buf.String(), "\n")
	if o.hide != nil {
		line = o.hide(line)
	}
	line = printable(line)
	if len(line) > longest {
		cut := longest
		for cut > 0 && !utf8.RuneStart(line[cut]) {
			cut--
		}
		line = line[:cut] + "…"
	}
	when := r.Time
	if when.IsZero() {
		when = time.Now()
	}
	o.say(o.again.due(when, when))
	e := entry{r.Level, l.part, line}
	if o.again.swallows(when, e) {
		o.wait()
		return nil
	}
	return o.write(e)
}

// printable escapes what is not printable: slog quotes it, but passes DEL on.
func printable(line string) string {
	bad := func(r rune) bool { return r == utf8.RuneError || !unicode.IsPrint(r) }
	if !strings.ContainsFunc(line, bad) {
		return line
	}
	var b strings.Builder
	for _, r := range line {
		if bad(r) {
			q := strconv.QuoteRune(r)
			b.WriteString(q[1 : len(q)-1])
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// say writes lines and has no use for their errors.
func (o *lines) say(es []entry) {
	for _, e := range es {
		_ = o.write(e)
	}
}

// write sends a line everywhere. o.mu is held.
func (o *lines) write(e entry) error {
	o.all.keep(e)
	if e.level >= slog.LevelWarn {
		o.grave.keep(e)
	}
	if o.file != nil {
		o.file.queue(e)
	}
	return o.stderr.put(e)
}

// WithAttrs implements slog.Handler. An attribute "part" names the part that logs.
func (l *Log) WithAttrs(a []slog.Attr) slog.Handler {
	n := *l
	n.text = l.text.WithAttrs(a)
	for _, x := range a {
		if x.Key == "part" && !l.deep {
			n.part = x.Value.Resolve().String()
			l.out.levels.knows(n.part)
		}
	}
	return &n
}

// WithGroup implements slog.Handler.
func (l *Log) WithGroup(name string) slog.Handler {
	n := *l
	n.text, n.deep = l.text.WithGroup(name), true
	return &n
}

// Tail gives the newest n lines of the part, or of all if it is empty, from the level
// least on ("debug", "info", "warn", "error"; else all), oldest first. Warnings and
// errors are remembered longer than the rest.
func (l *Log) Tail(n int, least, part string) []string {
	o := l.out
	o.mu.Lock()
	defer o.mu.Unlock()
	o.say(o.again.due(time.Now(), time.Now()))
	v := lowest
	if least != "" {
		_ = v.UnmarshalText([]byte(least)) // else all
	}
	from := &o.all
	if v >= slog.LevelWarn {
		from = &o.grave
	}
	lines := []string{}
	for _, e := range from.newest(n, v, part) {
		lines = append(lines, e.line)
	}
	return lines
}

// Dropped gives how many lines stderr and the file did not take in time.
func (l *Log) Dropped() (stderr, file uint64) {
	stderr = l.out.stderr.dropped()
	l.out.mu.Lock()
	f := l.out.file
	l.out.mu.Unlock()
	if f != nil {
		file = f.dropped()
	}
	return stderr, file
}

// levels says what is logged: of each part, and of all others.
type levels struct {
	all slog.LevelVar

	mu    sync.RWMutex
	parts map[string]slog.Level
	known map[string]bool // every part that may log
}

// mostParts bounds what is remembered of them.
const mostParts = 100

func (v *levels) knows(part string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.known) < mostParts {
		if v.known == nil {
			v.known = map[string]bool{}
		}
		v.known[part] = true
	}
}

func (v *levels) of(part string) slog.Level {
	if part != "" {
		v.mu.RLock()
		defer v.mu.RUnlock()
		if l, ok := v.parts[part]; ok {
			return l
		}
	}
	return v.all.Level()
}

// SetLevel sets what a part logs from now on, or all if part is empty, which forgets what
// was set for single ones. level is "debug", "info", "warn" or "error"; empty changes
// nothing. It gives what was in force.
func (l *Log) SetLevel(part, level string) (old string, err error) {
	v := &l.out.levels
	was := v.of(part)
	v.mu.Lock()
	defer v.mu.Unlock()
	if part != "" && !v.known[part] {
		return "", fmt.Errorf("no part is called %q; there are %s", part, strings.Join(slices.Sorted(maps.Keys(v.known)), ", "))
	}
	old = strings.ToLower(was.String())
	if level == "" {
		return old, nil
	}
	var now slog.Level
	if err := now.UnmarshalText([]byte(level)); err != nil {
		return "", fmt.Errorf("level %q: allowed: debug, info, warn, error", level)
	}
	if part == "" {
		v.all.Set(now)
		v.parts = nil
		return old, nil
	}
	if v.parts == nil {
		v.parts = map[string]slog.Level{}
	}
	v.parts[part] = now
	return old, nil
}

// Parts gives the names of the parts that may log.
func (l *Log) Parts() []string {
	v := &l.out.levels
	v.mu.RLock()
	defer v.mu.RUnlock()
	return slices.Sorted(maps.Keys(v.known))
}

// PartLevels gives the parts that have a level of their own.
func (l *Log) PartLevels() map[string]string {
	v := &l.out.levels
	v.mu.RLock()
	defer v.mu.RUnlock()
	out := map[string]string{}
	for p, x := range v.parts {
		out[p] = strings.ToLower(x.String())
	}
	return out
}
