package systemd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
	"unicode/utf8"
)

func linesOf(b *bytes.Buffer) []string {
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
}

func TestLog(t *testing.T) {
	t.Setenv("JOURNAL_STREAM", "")
	var b bytes.Buffer
	s := NewLog(&b, slog.LevelInfo)
	l := slog.New(s).With("part", "x").WithGroup("g")
	l.Debug("not this")
	l.Info("two\nlines", "level", 3)
	l.Error("bad", "err", errors.New("why"))
	got := linesOf(&b)
	if len(got) != 2 || !strings.HasPrefix(got[0], "time=") || !strings.HasSuffix(got[0], ` level=INFO msg="two\nlines" part=x g.level=3`) ||
		!strings.HasSuffix(got[1], ` level=ERROR msg=bad part=x g.err=why`) {
		t.Errorf("%q", got)
	}
	if tail := s.Tail(5, "", ""); !slices.Equal(tail, got) {
		t.Errorf("%q", tail)
	}
	if tail := s.Tail(1, "", ""); !slices.Equal(tail, got[1:]) {
		t.Errorf("%q", tail)
	}
}

func TestLevels(t *testing.T) {
	var b bytes.Buffer
	s := NewLog(&b, slog.LevelInfo)
	x, y := slog.New(s).With("part", "x"), slog.New(s).With("a", 1, "part", "y").With("b", 2)
	grouped := slog.New(s).With("part", "x").WithGroup("g").With("part", "no part")
	none := slog.New(s)
	for i, c := range []struct {
		part, set, old string
		debug          string // which of them log at debug then
		warn           string // which of them log at warn
	}{
		{"", "", "info", "", "xyng"},
		{"x", "debug", "info", "xg", "xyng"},
		{"x", "", "debug", "xg", "xyng"},
		{"", "", "info", "xg", "xyng"},
		{"y", "ERROR", "info", "xg", "xng"},
		{"x", "info", "debug", "", "xng"},
		{"", "debug", "info", "xyng", "xyng"}, // forgets what single parts had
		{"y", "", "debug", "xyng", "xyng"},
		{"", "warn", "debug", "", "xyng"},
		{"", "info", "warn", "", "xyng"},
	} {
		if old, err := s.SetLevel(c.part, c.set); err != nil || old != c.old {
			t.Errorf("%d: it was %s, not %s; %v", i, old, c.old, err)
		}
		debug, warn := "", ""
		for _, l := range []struct {
			name string
			*slog.Logger
		}{{"x", x}, {"y", y}, {"n", none}, {"g", grouped}} {
			if b.Reset(); b.Len() == 0 {
				l.Debug(fmt.Sprint(i))
			}
			if b.Len() > 0 {
				debug += l.name
			}
			if b.Reset(); b.Len() == 0 {
				l.Warn(fmt.Sprint(i))
			}
			if b.Len() > 0 {
				warn += l.name
			}
		}
		if debug != c.debug || warn != c.warn {
			t.Errorf("%d: debug %s, warn %s, not %s, %s", i, debug, warn, c.debug, c.warn)
		}
	}
	for _, c := range []struct{ part, level, want string }{
		{"z\x1b", "debug", `no part is called "z\x1b"; there are x, y`},
		{"z", "", `no part is called "z"; there are x, y`},
		{"", "loud", `level "loud": allowed: debug, info, warn, error`},
		{"x", "loud", `level "loud": allowed: debug, info, warn, error`},
	} {
		if _, err := s.SetLevel(c.part, c.level); err == nil || err.Error() != c.want {
			t.Errorf("%s %s: %v", c.part, c.level, err)
		}
	}
	if _, err := s.SetLevel("x", "debug"); err != nil || fmt.Sprint(s.PartLevels()) != "map[x:debug]" {
		t.Error(err, s.PartLevels())
	}
	for i := range 2 * mostParts {
		slog.New(s).With("part", fmt.Sprint(i))
	}
	if n := len(s.out.levels.known); n != mostParts {
		t.Errorf("%d parts are remembered", n)
	}
}

func TestTail(t *testing.T) {
	s := NewLog(io.Discard, slog.LevelDebug)
	if got := s.Tail(10, "", ""); got == nil || len(got) != 0 {
		t.Errorf("%#v", got)
	}
	l := slog.New(s)
	l.Error("the first")
	l.With("part", "camera").Warn("gone")
	for i := range 1000 {
		l.With("part", []string{"room", "camera"}[i%2]).Info("line", "n", i)
	}
	for _, c := range []struct {
		n           int
		least, part string
		want        string // what the lines end with
	}{
		{3, "", "", "n=997 n=998 n=999"},
		{2, "info", "", "n=998 n=999"},
		{2, "", "room", "n=996 n=998"},
		{9, "warn", "", "first camera"},
		{9, "warn", "camera", "camera"},
		{9, "error", "", "first"},
		{9, "error", "camera", ""},
		{9, "", "none", ""},
		{1, "nonsense", "", "n=999"},
	} {
		var ends []string
		for _, line := range s.Tail(c.n, c.least, c.part) {
			end := line[strings.LastIndexAny(line, " =")+1:]
			if _, n, ok := strings.Cut(line, " n="); ok {
				end = "n=" + n
			}
			ends = append(ends, strings.Trim(end, `"`))
		}
		if got := strings.Join(ends, " "); got != c.want {
			t.Errorf("%d %s %s: %q, not %q", c.n, c.least, c.part, got, c.want)
		}
	}
	if got := len(s.Tail(10000, "", "")); got != 400 {
		t.Errorf("%d lines", got)
	}
}

// TestAgain says what comes again once a second, with the count.
func TestAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		s := NewLog(&b, slog.LevelInfo)
		l := slog.New(s).With("part", "x")
		for range 57 {
			l.Warn("lost", "err", "why")
			time.Sleep(10 * time.Millisecond)
		}
		l.Warn("lost", "err", "another why") // is not the same
		slog.New(s).Warn("lost", "err", "why")
		if got := linesOf(&b); len(got) != 3 {
			t.Fatalf("%q", got)
		}
		b.Reset()
		time.Sleep(time.Second)
		// Nobody runs, so the next line brings the count.
		l.Info("other")
		got := linesOf(&b)
		if len(got) != 2 || !strings.HasSuffix(got[0], ` level=WARN msg=lost part=x err=why repeated=56`) || !strings.HasPrefix(got[0], "time=2000-01-01T00:00:01.570Z ") ||
			!strings.HasSuffix(got[1], " msg=other part=x") {
			t.Errorf("%q", got)
		}
		b.Reset()
		time.Sleep(2 * time.Second)
		l.Warn("lost", "err", "why") // is new again
		if got := linesOf(&b); len(got) != 1 || strings.Contains(got[0], "repeated") {
			t.Errorf("%q", got)
		}
		if got := s.Tail(100, "warn", ""); len(got) != 5 {
			t.Errorf("%q", got)
		}
	})
}

// TestAgainWhileItRuns lets a flood go on for ten seconds: a line a second, and all are
// counted.
func TestAgainWhileItRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		var f closing
		s := NewLog(&b, slog.LevelInfo)
		s.Also(&f)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { s.Run(ctx) })
		l := slog.New(s)
		for range 10000 {
			l.Info("flood")
			time.Sleep(time.Millisecond)
		}
		time.Sleep(3 * time.Second)
		cancel()
		wg.Wait()
		sum := 0
		for i, line := range linesOf(&b) {
			n := 1
			if _, c, ok := strings.Cut(line, " repeated="); ok {
				fmt.Sscan(c, &n)
			} else if i > 0 {
				t.Errorf("%d: %s", i, line)
			}
			sum += n
		}
		if n := len(linesOf(&b)); sum != 10000 || n < 10 || n > 12 {
			t.Errorf("%d lines stand for %d:\n%s", n, sum, b.String())
		}
		if b.String() != f.String() {
			t.Errorf("the file has\n%s", f.String())
		}
	})
}

// TestAgainIsBounded: many different lines cost no more memory than a few.
func TestAgainIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewLog(io.Discard, slog.LevelInfo)
		l := slog.New(s)
		for i := range 10000 {
			l.Info("line", "n", i)
			l.Info("line", "n", i)
		}
		if n := len(s.out.again.seen); n != mostAgain {
			t.Errorf("%d lines are watched", n)
		}
		time.Sleep(3 * time.Second)
		s.Tail(1, "", "")
		time.Sleep(3 * time.Second)
		s.Tail(1, "", "")
		if n := len(s.out.again.seen); n != 0 {
			t.Errorf("%d lines are watched after a rest", n)
		}
	})
}

// closing is a file.
type closing struct {
	bytes.Buffer
	closed bool
}

func (c *closing) Close() error { c.closed = true; return nil }

// TestTheFileHasWhatWasSaidBefore: which file it is may be known late.
func TestTheFileHasWhatWasSaidBefore(t *testing.T) {
	for _, late := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var b bytes.Buffer
			var f closing
			s := NewLog(&b, slog.LevelInfo)
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			l := slog.New(s)
			l.Info("first")
			if late {
				wg.Go(func() { s.Run(ctx) })
				synctest.Wait()
			}
			l.Info("second")
			s.Also(&f)
			l.Info("third")
			if late {
				synctest.Wait()
				if f.String() != b.String() {
					t.Error(f.String())
				}
				cancel()
			} else {
				cancel()
				s.Run(ctx)
			}
			wg.Wait()
			if f.String() != b.String() || strings.Count(b.String(), "\n") != 3 || !f.closed {
				t.Errorf("%s and %s", b.String(), f.String())
			}
		})
	}
}

// stuck is a terminal that somebody stopped.
type stuck struct {
	gate chan struct{}
	bytes.Buffer
}

func (s *stuck) Write(b []byte) (int, error) {
	<-s.gate
	return s.Buffer.Write(b)
}

// TestStuckTerminal: nobody who logs waits, what is dropped is counted, and the file goes on.
func TestStuckTerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &stuck{gate: make(chan struct{})}
		var f closing
		s := NewLog(w, slog.LevelInfo)
		s.Also(&f)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { s.Run(ctx) })
		synctest.Wait()
		l := slog.New(s)
		const n = 2 * mostQueued / 100
		for i := range n {
			l.Info(strings.Repeat("x", 100), "n", i)
			if i%100 == 0 {
				synctest.Wait()
			}
		}
		synctest.Wait()
		if got := len(linesOf(&f.Buffer)); got != n {
			t.Errorf("the file has %d lines of %d", got, n)
		}
		lost, inFile := s.Dropped()
		if lost < n/4 || inFile != 0 {
			t.Errorf("%d and %d lines were dropped", lost, inFile)
		}
		close(w.gate)
		synctest.Wait()
		got := linesOf(&w.Buffer)
		if want := fmt.Sprintf(`level=WARN msg="lines are missing: they were not taken in time" lines=%d`, lost); len(got) != n-int(lost)+1 || !strings.HasSuffix(got[len(got)-1], want) {
			t.Errorf("%d lines, the last is %s", len(got), got[len(got)-1])
		}
		l.Info("the last")
		cancel()
		wg.Wait()
		if !strings.HasSuffix(w.String(), "msg=\"the last\"\n") {
			t.Error("the end is missing")
		}
		l.Info("after all")
		if !strings.HasSuffix(w.String(), "msg=\"after all\"\n") {
			t.Error("a line after the end is missing")
		}
	})
}

// hostile is what others could send to be shown.
var hostile = []string{
	"\x1b[2J\x1b]0;owned\x07", "\x9b31m", "\u009b31m", "a\nlevel=ERROR msg=forged", "a\r<3>forged", "\x00", "\x7f", "\u202egnp.exe", "\u2028", "\u2066x\u2069",
	"\xff\xfe\x1b", `\x1b`, `"; rm`, "\ufeff", "a\u0301", "\x1bP1;2|\x1b\\", "x\x08\x08y", "\u0085", "\U000e0041", "\t",
}

// TestNothingReachesTheTerminal: no control character, direction mark or broken UTF-8 of
// others', wherever in a line it stands.
func TestNothingReachesTheTerminal(t *testing.T) {
	for _, h := range hostile {
		harmless(t, h)
	}
}

func FuzzNothingReachesTheTerminal(f *testing.F) {
	for _, h := range hostile {
		f.Add(h)
	}
	f.Add(strings.Repeat("ä\x1b", 3000))
	f.Fuzz(func(t *testing.T, s string) { harmless(t, s) })
}

type said string

func (s said) String() string { return string(s) }

func harmless(t *testing.T, h string) {
	t.Helper()
	for _, stream := range []bool{false, true} {
		var b bytes.Buffer
		s := NewLog(&b, slog.LevelDebug)
		s.out.stderr.journal = stream
		l := slog.New(s)
		l.Info(h, h, h, "e", errors.New(h), "b", []byte(h), "s", said(h), "l", []string{h}, "m", map[string]string{h: h}, "p", &h, slog.Group(h, h, h))
		l.With("part", h).WithGroup(h).Debug("m", "k", struct{ S string }{h})
		if n := strings.Count(b.String(), "\n"); n != 2 {
			t.Errorf("%q: %d lines: %q", h, n, b.String())
		}
		for _, text := range append(s.Tail(9, "", ""), strings.ReplaceAll(b.String(), "\n", "")) {
			if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return r != ' ' && !unicode.IsPrint(r) }) {
				t.Errorf("%q: %q", h, text)
			}
		}
		if stream && !strings.HasPrefix(b.String(), "<6>") {
			t.Errorf("%q", b.String())
		}
	}
}

func TestLinesAreCut(t *testing.T) {
	var b bytes.Buffer
	slog.New(NewLog(&b, slog.LevelInfo)).Info("x", "v", strings.Repeat("😀", longest))
	if got := b.String(); len(got) > longest+5 || len(got) < longest-5 || !utf8.ValidString(got) || !strings.HasSuffix(got, "😀…\n") {
		t.Errorf("%d bytes, ends %q", len(got), got[max(0, len(got)-20):])
	}
}

func TestHide(t *testing.T) {
	var b bytes.Buffer
	var f closing
	s := NewLog(&b, slog.LevelInfo)
	s.Hide(func(l string) string { return strings.ReplaceAll(l, "c4nary", "***") })
	s.Also(&f)
	l := slog.New(s).With("part", "c4nary")
	l.Info("a c4nary", "c4nary", "c4nary")
	l.Info("a c4nary", "c4nary", "c4nary")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.Run(ctx)
	all := b.String() + f.String() + strings.Join(s.Tail(9, "", ""), "\n")
	if strings.Contains(all, "c4nary") || strings.Count(all, `msg="a ***"`) != 6 {
		t.Error(all)
	}
}

// TestJournal writes to a file that the environment says is the journal.
func TestJournal(t *testing.T) {
	for _, c := range []struct {
		name    string
		stream  func(*syscall.Stat_t) string
		journal bool
	}{
		{"the journal", func(st *syscall.Stat_t) string { return fmt.Sprintf("%d:%d", st.Dev, st.Ino) }, true},
		{"another stream", func(st *syscall.Stat_t) string { return fmt.Sprintf("%d:%d", st.Dev, st.Ino+1) }, false},
		{"none", func(*syscall.Stat_t) string { return "" }, false},
	} {
		f, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
		if err != nil {
			t.Fatal(err)
		}
		fi, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		t.Setenv("JOURNAL_STREAM", c.stream(fi.Sys().(*syscall.Stat_t)))
		s := NewLog(f, slog.LevelDebug)
		l := slog.New(s)
		l.Debug("d")
		l.Info("i", "level", 3, "time", "noon", "msg", "more")
		l.Warn("w")
		l.Error("e")
		f.Close()
		b, err := os.ReadFile(f.Name())
		if err != nil {
			t.Fatal(err)
		}
		if want := "<7>msg=d\n<6>msg=i level=3 time=noon msg=more\n<4>msg=w\n<3>msg=e\n"; (string(b) == want) != c.journal || strings.HasPrefix(string(b), "<") != c.journal {
			t.Errorf("%s: %q", c.name, b)
		}
		if tail := s.Tail(1, "", ""); !strings.HasPrefix(tail[0], "time=") || !strings.HasSuffix(tail[0], " level=ERROR msg=e") {
			t.Errorf("%s: %q", c.name, tail)
		}
		if err := s.Handle(t.Context(), slog.NewRecord(time.Now(), slog.LevelInfo, "closed", 0)); !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func BenchmarkLog(b *testing.B) {
	s := NewLog(io.Discard, slog.LevelInfo)
	l := slog.New(s).With("part", "x")
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		l.Info("line", "n", n)
	}
}

func BenchmarkNotLogged(b *testing.B) {
	l := slog.New(NewLog(io.Discard, slog.LevelInfo)).With("part", "x")
	b.ReportAllocs()
	for b.Loop() {
		l.Debug("line")
	}
}
