package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"anchord/device/control"
)

// binary is built once for all tests of the package.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "anchord-e2e")
	if err != nil {
		return "", err
	}
	out := filepath.Join(dir, "anchord")
	b, err := exec.Command("go", "build", "-o", out, "anchord/cmd/anchord").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build: %w: %s", err, b)
	}
	return out, os.Symlink("anchord", filepath.Join(dir, "anchorctl"))
})

// daemon is one running anchord.
type daemon struct {
	t      testing.TB
	dir    string
	cmd    *exec.Cmd
	http   string // base URL
	socket string
	ended  chan error

	mu  sync.Mutex
	log []string
}

// start starts a daemon with the given configuration, in which %DIR% is its own folder,
// and waits until it answers. env is added to its environment.
func start(t testing.TB, conf string, env ...string) *daemon {
	t.Helper()
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{t: t, dir: t.TempDir(), ended: make(chan error, 1)}
	d.socket = filepath.Join(d.dir, "control.sock")
	file := filepath.Join(d.dir, "anchord.toml")
	conf = fmt.Sprintf("%s\n[control]\nsocket = %q\n", strings.ReplaceAll(conf, "%DIR%", d.dir), d.socket)
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	d.cmd = exec.Command(bin, "-config", file)
	d.cmd.Env = append(os.Environ(), env...)
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	pipe, err := d.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	open, listens := make(chan string, 1), make(chan struct{})
	go d.read(bufio.NewScanner(pipe), open, listens)
	t.Cleanup(d.stop)
	for range 2 {
		select {
		case d.http = <-open:
			open = nil
		case <-listens:
			listens = nil
		case err := <-d.ended:
			d.ended <- err
			t.Fatalf("the daemon ended: %v\n%s", err, d.tail(20))
		case <-time.After(20 * time.Second):
			t.Fatalf("the daemon does not answer\n%s", d.tail(20))
		}
	}
	return d
}

var address = regexp.MustCompile(`msg="HTTP is open" part=http address=(\S+)`)

func (d *daemon) read(s *bufio.Scanner, open chan<- string, listens chan<- struct{}) {
	for s.Scan() {
		l := s.Text()
		d.mu.Lock()
		d.log = append(d.log, l)
		d.mu.Unlock()
		if m := address.FindStringSubmatch(l); m != nil {
			open <- "http://" + m[1]
		}
		if strings.Contains(l, "control socket is open") {
			close(listens)
		}
	}
	d.ended <- d.cmd.Wait()
}

// tail gives the newest n lines of the log.
func (d *daemon) tail(n int) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.log[max(0, len(d.log)-n):], "\n")
}

// stop ends the daemon as systemd does, and fails the test if it does not end well.
func (d *daemon) stop() {
	select {
	case err := <-d.ended: // ended before, by kill
		d.ended <- err
		return
	default:
	}
	d.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case err := <-d.ended:
		d.ended <- err
		if err != nil {
			d.t.Errorf("the daemon ended with %v\n%s", err, d.tail(30))
		}
	case <-time.After(10 * time.Second):
		d.cmd.Process.Signal(syscall.SIGQUIT)
		time.Sleep(time.Second)
		d.cmd.Process.Kill()
		d.t.Errorf("the daemon did not end within 10 s\n%s", d.tail(200))
	}
	if d.t.Failed() {
		d.t.Logf("log of the daemon:\n%s", d.tail(60))
	}
}

// kill ends the daemon as a power cut does.
func (d *daemon) kill() {
	d.cmd.Process.Kill()
	err := <-d.ended
	d.ended <- err
}

// do says one command and gives the answer; an error of the command fails the test.
func (d *daemon) do(words ...string) map[string]any {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c := control.Client{Socket: d.socket}
	a, err := c.Do(ctx, words)
	if err != nil {
		d.t.Fatalf("%v: %v", words, err)
	}
	if a.Error != nil {
		d.t.Fatalf("%v: %+v", words, *a.Error)
	}
	var m map[string]any
	if len(a.Result) > 0 {
		if err := json.Unmarshal(a.Result, &m); err != nil {
			d.t.Fatalf("%v: %v", words, err)
		}
	}
	return m
}

// until waits for cond.
func until(t testing.TB, within time.Duration, what string, cond func() bool) time.Duration {
	t.Helper()
	begun := time.Now()
	for !cond() {
		if time.Since(begun) > within {
			t.Fatalf("not within %v: %s", within, what)
		}
		time.Sleep(10 * time.Millisecond)
	}
	return time.Since(begun)
}

func TestMain(m *testing.M) {
	code := m.Run()
	if bin, err := binary(); err == nil {
		os.RemoveAll(filepath.Dir(bin))
	}
	os.Exit(code)
}
