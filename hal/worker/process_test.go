package worker

import (
	"bufio"
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"anchord/internal/media"
)

// text is a log that can be read while it is written.
type text struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *text) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *text) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// What a worker has: no privileges, no files of ours, no secrets, small limits.
func TestWorkerHasLittle(t *testing.T) {
	nothingLeft(t)
	t.Setenv("ANCHORD_TOKEN", "secret")
	open, err := unix.Open("/dev/null", unix.O_RDONLY, 0) // as a C library opens its files
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(open)
	var said text
	m := workers(t, "report 99")
	m.c.Log = slog.New(slog.NewTextHandler(&said, nil))
	e, _, err := m.Open(t.Context(), small())
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	out := said.String()
	for _, want := range []string{"NoNewPrivs: 1", "CapEff: 0000000000000000", "CapPrm: 0000000000000000",
		"Max core file size 0 0", "Max open files 256 256", "oom_score_adj 500", "file 3 socket:", "variable PATH=", "in /"} {
		if !strings.Contains(out, want) {
			t.Errorf("not said: %s", want)
		}
	}
	for _, bad := range []string{"secret", "ANCHORD_TOKEN", "file 0 socket", "file 4 socket", "file 5 socket"} {
		if strings.Contains(out, bad) {
			t.Errorf("said: %s", bad)
		}
	}
	if n := strings.Count(out, "/dev/null"); n != 1 {
		t.Errorf("/dev/null is open %d times", n)
	}
	_, group, _ := strings.Cut(out, "group ")
	var pgid, pid int
	if n, err := fmt.Sscanf(group, "%d of %d", &pgid, &pid); n != 2 || pgid != pid {
		t.Errorf("process group %d of process %d: %v", pgid, pid, err)
	}
	if t.Failed() {
		t.Log(out)
	}
}

// A worker does not outlive the daemon, not even one that hangs and could not notice.
func TestWorkerDiesWithTheDaemon(t *testing.T) {
	nothingLeft(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	daemon := exec.Command(self)
	daemon.Env = append(os.Environ(), double+"=parent")
	out, err := daemon.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(pid, 0); err != nil {
		t.Fatal(err)
	}
	_ = daemon.Process.Kill()
	_ = daemon.Wait()
	until(t, "the worker is gone", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err != nil || strings.Contains(string(stat), ") Z ") // nobody may reap it in here
	})
}

func TestRelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said text
		log := slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey || a.Key == slog.LevelKey {
				return slog.Attr{}
			}
			return a
		}}))
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		write := func(s string) {
			if _, err := w.WriteString(s); err != nil {
				t.Error(err)
			}
		}
		var wg sync.WaitGroup
		write("one\n\n two\x1b[31m\ttwo \xff\n" + strings.Repeat("long ", 1000) + "\nthree\n")
		write(strings.Repeat("more\n", 100))
		write("the last, without an end")
		w.Close()
		wg.Go(func() { relay(r, log) })
		wg.Wait()
		r.Close()
		want := "msg=\"worker says\" line=one\n" +
			"msg=\"worker says\" line=\"two [31m two\"\n" +
			"msg=\"worker says\" line=\"" + strings.TrimSpace(strings.Repeat("long ", lineLength/5)) + "\"\n" +
			"msg=\"worker says\" line=three\n" +
			strings.Repeat("msg=\"worker says\" line=more\n", linesAtOnce-4) +
			"msg=\"worker said too much\" unheard=85\n"
		if got := said.String(); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
}

func TestBucket(t *testing.T) {
	b := bucket{left: linesAtOnce}
	at := time.Unix(1000, 0)
	take := func(n int) (got int) {
		for range n {
			if b.take(at) {
				got++
			}
		}
		return got
	}
	if n := take(100); n != linesAtOnce {
		t.Errorf("%d at once", n)
	}
	at = at.Add(linesEach * 3)
	if n := take(100); n != 3 {
		t.Errorf("%d after three times", n)
	}
	at = at.Add(time.Hour)
	if n := take(100); n != linesAtOnce {
		t.Errorf("%d after an hour", n)
	}
}

// A worker that was stopped for long, and goes on, is not waited for: what it says later
// is for nobody.
func TestWorkerThatComesBackLate(t *testing.T) {
	nothingLeft(t)
	m := workers(t, "fake")
	m.c.Limits.Picture = 100 * time.Millisecond
	e, g, err := m.Open(t.Context(), small())
	if err != nil {
		t.Fatal(err)
	}
	encodeAll(t, e, g.Input, 3)
	pid := e.(*encoder).proc.pid
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	f := media.NewFrames(g.Input, 1).Get()
	_, err = e.Encode(f, true)
	if err == nil || !strings.Contains(err.Error(), "no answer for 100ms") {
		t.Error(err)
	}
	_ = unix.Kill(pid, unix.SIGCONT)
	if _, err := e.Encode(f, true); err == nil {
		t.Error("it works again")
	}
	f.Release()
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}
