package systemd

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestNotify(t *testing.T) {
	for _, name := range []string{filepath.Join(t.TempDir(), "notify"), fmt.Sprintf("@anchord-test-%d", os.Getpid())} {
		l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"}) // Go reads @ likewise
		if err != nil {
			t.Fatal(err)
		}
		t.Setenv("NOTIFY_SOCKET", name)
		if err := Notify("READY=1\nSTATUS=ok"); err != nil {
			t.Fatal(err)
		}
		l.SetReadDeadline(time.Now().Add(5 * time.Second))
		b := make([]byte, 64)
		n, err := l.Read(b)
		if err != nil || string(b[:n]) != "READY=1\nSTATUS=ok" {
			t.Errorf("%s: %q, %v", name, b[:n], err)
		}
		l.Close()
		if err := Notify("READY=1"); err == nil {
			t.Errorf("%s: nobody listens, and all is well", name)
		}
	}
	t.Setenv("NOTIFY_SOCKET", "")
	if err := Notify("READY=1"); err != nil {
		t.Error(err)
	}
}

func TestLog(t *testing.T) {
	t.Setenv("JOURNAL_STREAM", "")
	var b bytes.Buffer
	s := NewLog(&b, slog.LevelInfo)
	l := slog.New(s).With("part", "x").WithGroup("g")
	l.Debug("not this")
	l.Info("two\nlines", "level", 3)
	l.Error("bad", "err", errors.New("why"))
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	if len(lines) != 2 || !strings.HasPrefix(lines[0], "time=") || !strings.HasSuffix(lines[0], ` level=INFO msg="two\nlines" part=x g.level=3`) ||
		!strings.HasSuffix(lines[1], ` level=ERROR msg=bad part=x g.err=why`) {
		t.Errorf("%q", lines)
	}
	if got := s.Tail(5); len(got) != 2 || got[0] != lines[0] || got[1] != lines[1] {
		t.Errorf("%q", got)
	}
	if got := s.Tail(1); len(got) != 1 || got[0] != lines[1] {
		t.Errorf("%q", got)
	}
}

func TestLevelIsSetForAll(t *testing.T) {
	var b bytes.Buffer
	s := NewLog(&b, slog.LevelInfo)
	l := slog.New(s).With("part", "x")
	for _, c := range []struct {
		set, old string
		debug    bool
	}{{"", "info", false}, {"debug", "info", true}, {"loud", "debug", true}, {"WARN", "debug", false}, {"", "warn", false}} {
		if old := s.SetLevel(c.set); old != c.old {
			t.Errorf("set %q: it was %s, not %s", c.set, old, c.old)
		}
		b.Reset()
		if l.Debug("d"); (b.Len() > 0) != c.debug {
			t.Errorf("after %q: %q", c.set, b.String())
		}
	}
}

func TestTailKeepsTheNewest(t *testing.T) {
	var b bytes.Buffer
	s := NewLog(&b, slog.LevelInfo)
	if got := s.Tail(10); got == nil || len(got) != 0 {
		t.Errorf("%#v", got)
	}
	for i := range 3*remembered/2 + 1 {
		slog.New(s).Info("line", "n", i)
	}
	got := s.Tail(1000)
	if len(got) != remembered {
		t.Fatalf("%d lines", len(got))
	}
	for i, l := range got {
		if !strings.HasSuffix(l, fmt.Sprintf(" n=%d", 3*remembered/2+1-remembered+i)) {
			t.Fatalf("line %d is %q", i, l)
		}
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
		if tail := s.Tail(1); !strings.HasPrefix(tail[0], "time=") || !strings.HasSuffix(tail[0], " level=ERROR msg=e") {
			t.Errorf("%s: %q", c.name, tail)
		}
		if err := s.Handle(t.Context(), slog.NewRecord(time.Now(), slog.LevelInfo, "closed", 0)); !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
