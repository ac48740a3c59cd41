package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"anchord/device/control"
	"anchord/internal/secret"
)

// asProgram makes the test's own binary the program, under the name in the variable.
const asProgram = "ANCHORD_TEST_RUN_AS"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "worker" { // started by a test, or by a daemon that one started
		syscall.Exit(daemonMain(os.Args[1:], os.Stdout, os.Stderr)) // os.Exit takes a second with the race detector
	}
	switch os.Getenv(asProgram) {
	case "anchord":
		os.Exit(daemonMain(os.Args[1:], os.Stdout, os.Stderr))
	case "anchorctl":
		os.Exit(ctl(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

func program(name string, args ...string) *exec.Cmd {
	c := exec.Command(os.Args[0], args...)
	c.Env = append(os.Environ(), asProgram+"="+name)
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return c
}

// written collects what a process says.
type written struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (w *written) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(b)
}

func (w *written) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

// demo gives a configuration in dir, and its control socket.
func demo(t *testing.T, dir, more string) (file, socket string) {
	t.Helper()
	file, socket = filepath.Join(dir, "anchord.toml"), filepath.Join(dir, "s", "control.sock")
	conf := fmt.Sprintf("%s\n[camera]\nmatch = \"test\"\n[mic]\nmatch = \"test\"\n[control]\nsocket = %q\n[control.http]\nlisten = \"127.0.0.1:0\"\n", more, socket)
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, socket
}

const embedded = "[room]\nurl = \"embedded:\"\nid = \"1\"\nuser = \"u\"\nauto_enter = true\n[rooms]\nenabled = true\n"

// until waits for what a process writes.
func until(t *testing.T, w *written, what string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !strings.Contains(w.String(), what); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it does not say %q:\n%s", what, w)
		}
	}
}

// ends waits for a process and gives how long that took.
func ends(t *testing.T, c *exec.Cmd, w *written) (time.Duration, error) {
	t.Helper()
	begun := time.Now()
	hangs := time.AfterFunc(10*time.Second, func() { c.Process.Signal(syscall.SIGQUIT) })
	defer hangs.Stop()
	err := c.Wait()
	if !hangs.Stop() {
		t.Fatalf("it did not end:\n%s", w)
	}
	return time.Since(begun), err
}

// TestListenersComeLast: whoever reaches the HTTP port finds the rooms behind it.
func TestListenersComeLast(t *testing.T) {
	file, _ := demo(t, t.TempDir(), embedded)
	var w written
	d := program("anchord", "-config", file)
	d.Stderr = &w
	if err := d.Start(); err != nil {
		t.Fatal(err)
	}
	until(t, &w, "HTTP is open")
	if s := w.String(); strings.Index(s, "room server started") > strings.Index(s, "HTTP is open") || !strings.Contains(s, "room server started") {
		t.Errorf("the port is open before the rooms are:\n%s", s)
	}
	d.Process.Signal(syscall.SIGTERM)
	if _, err := ends(t, d, &w); err != nil {
		t.Error(err)
	}
}

// TestTermEndsEveryPhase sends SIGTERM as soon as the log says something.
func TestTermEndsEveryPhase(t *testing.T) {
	nobody, err := net.Listen("tcp", "127.0.0.1:0") // the kernel connects, and nobody accepts
	if err != nil {
		t.Fatal(err)
	}
	defer nobody.Close()
	hangs := fmt.Sprintf("[room]\nurl = \"whip+http://%s/x\"\nid = \"1\"\nuser = \"u\"\nauto_enter = true\n", nobody.Addr())
	refused := "[room]\nurl = \"whip+http://127.0.0.1:1/x\"\nid = \"1\"\nuser = \"u\"\nauto_enter = true\n"
	for _, c := range []struct{ name, conf, when string }{
		{"at once", embedded, "anchord starts"},
		{"room server", embedded, "room server started"},
		{"control", embedded, "control socket is open"},
		{"entering", embedded, "to=entering"},
		{"in", embedded, "to=in "},
		{"encoding", embedded, "onSendFirstLocalVideoFrame"},
		{"a server that does not answer", hangs, "to=entering"},
		{"a server that is not there", refused, "to=entering"},
		{"in no room", "", "camera streams"},
	} {
		t.Run(c.name, func(t *testing.T) {
			file, _ := demo(t, t.TempDir(), c.conf)
			var w written
			d := program("anchord", "-config", file)
			d.Stderr = &w
			if err := d.Start(); err != nil {
				t.Fatal(err)
			}
			until(t, &w, c.when)
			if c.when == "anchord starts" { // the line comes before the signals are caught
				until(t, &w, "part=")
			}
			d.Process.Signal(syscall.SIGTERM)
			if took, err := ends(t, d, &w); err != nil || took > 3*time.Second {
				t.Errorf("%v after %v:\n%s", err, took, &w)
			}
		})
	}
}

// TestADaemonThatIsOneTooMany finds the port taken and disturbs nobody.
func TestADaemonThatIsOneTooMany(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	file, _ := demo(t, t.TempDir(), embedded)
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, bytes.ReplaceAll(b, []byte("127.0.0.1:0"), []byte(l.Addr().String())), 0o600); err != nil {
		t.Fatal(err)
	}
	var w written
	d := program("anchord", "-config", file)
	d.Stderr = &w
	var status *exec.ExitError
	if err := d.Run(); !errors.As(err, &status) || status.ExitCode() != failed {
		t.Errorf("%v", err)
	}
	s := w.String()
	if !strings.Contains(s, "another anchord?") || strings.Contains(s, "to=in") || strings.Contains(s, "camera streams") || strings.Contains(s, "microphone records") {
		t.Error(s)
	}
}

// TestLogReaderGoesAway closes the pipe that the log goes to.
func TestLogReaderGoesAway(t *testing.T) {
	file, socket := demo(t, t.TempDir(), "")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	d := program("anchord", "-config", file)
	d.Stderr = w
	if err := d.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	for b, said := make([]byte, 4096), ""; !strings.Contains(said, "control socket is open"); {
		n, err := r.Read(b)
		if err != nil {
			t.Fatalf("%v: %s", err, said)
		}
		said += string(b[:n])
	}
	r.Close()
	client := control.Client{Socket: socket}
	for _, words := range [][]string{{"camera", "stop"}, {"camera", "start"}, {"mic", "stop"}, {"version"}} { // all but the last are logged
		if _, err := client.Do(t.Context(), words); err != nil {
			t.Errorf("%v: %v", words, err)
		}
	}
	d.Process.Signal(syscall.SIGTERM)
	if _, err := ends(t, d, &written{}); err != nil {
		t.Error(err)
	}
}

// TestSecretsStayOutOfTheLog gives the daemon tokens, and strangers wrong ones, and reads all that it says.
func TestSecretsStayOutOfTheLog(t *testing.T) {
	const canary = "canary-0123456789abcdef-0123456789abcdef"
	seen := make(chan string, 100)
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case seen <- r.Header.Get("Authorization"):
		default:
		}
		http.Error(w, "no", http.StatusForbidden)
	}))
	defer evil.Close()
	dir := t.TempDir()
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte(canary+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	file, socket := demo(t, dir, fmt.Sprintf("[log]\nlevel = \"debug\"\n[room]\nurl = \"whip+%s/x?key=%s\"\nid = \"1\"\nuser = \"u\"\nauto_enter = true\ntoken_file = %q\n", evil.URL, "in-the-"+canary, token))
	var w written
	d := program("anchord", "-config", file)
	d.Stderr = &w
	if err := d.Start(); err != nil {
		t.Fatal(err)
	}
	select {
	case a := <-seen:
		if a != "Bearer "+canary {
			t.Errorf("the room got %q", a)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("the room is not asked:\n%s", &w)
	}
	until(t, &w, "HTTP is open")
	_, rest, _ := strings.Cut(w.String(), "HTTP is open")
	_, rest, _ = strings.Cut(rest, "address=")
	address, _, _ := strings.Cut(rest, "\n")
	own, err := secret.Read(filepath.Join(filepath.Dir(socket), "http.token"))
	if err != nil {
		t.Fatal(err)
	}
	answers := ""
	for _, auth := range []string{"Bearer " + own.Reveal(), "Bearer wrong-" + canary, "Basic " + canary, canary} {
		for _, path := range []string{"/v1/status", "/v1/" + canary, "/v1/../" + canary} {
			r, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+address+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", auth)
			res, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(res.Body)
			res.Body.Close()
			if err != nil {
				t.Fatal(err)
			}
			answers += string(b)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	for _, words := range [][]string{{"status"}, {"room", "show"}, {"log", "tail", "200"}, {"stats"}} {
		a, err := (&control.Client{Socket: socket}).Do(t.Context(), words)
		if err != nil {
			t.Fatal(err)
		}
		answers += string(a.Raw)
	}
	d.Process.Signal(syscall.SIGTERM)
	if _, err := ends(t, d, &w); err != nil {
		t.Error(err)
	}
	for what, s := range map[string]string{"log": w.String(), "answers": answers} {
		for _, text := range []string{canary, own.Reveal()} {
			for l := range strings.Lines(s) {
				if strings.Contains(l, text) {
					t.Errorf("%s: %s", what, l)
				}
			}
		}
	}
}

// TestCommandsLeaveNothing says many commands, in good and bad ways.
func TestCommandsLeaveNothing(t *testing.T) {
	file, socket := demo(t, t.TempDir(), embedded)
	var w written
	d := program("anchord", "-config", file)
	d.Stderr = &w
	if err := d.Start(); err != nil {
		t.Fatal(err)
	}
	until(t, &w, "onSendFirstLocalVideoFrame")
	fds := func() int {
		e, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", d.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		return len(e)
	}
	before := fds()
	lines := []string{"status", "stats", "camera list", "mic list", "room show", "video show", "snapshot", "help", "log tail", "camera stop", "camera start", "mic stop", "mic start",
		"video rotation 90", "video rotation 0", "video resolution 320x180", "video resolution 640x360", "room exit", "room enter", "nonsense", "\x00\xff", `{"cmd":`, strings.Repeat("x", 9000)}
	for range 5 {
		for _, l := range lines {
			c, err := net.Dial("unix", socket)
			if err != nil {
				t.Fatal(err)
			}
			c.SetDeadline(time.Now().Add(10 * time.Second))
			io.WriteString(c, l+"\n")
			c.(*net.UnixConn).CloseWrite()
			if _, err := io.ReadAll(c); err != nil {
				t.Errorf("%.20q: %v", l, err)
			}
			c.Close()
			half, err := net.Dial("unix", socket)
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(half, l) // without its end, and gone
			half.Close()
		}
	}
	for end := time.Now().Add(10 * time.Second); fds() > before; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Errorf("%d descriptors, before it were %d", fds(), before)
			break
		}
	}
	d.Process.Signal(syscall.SIGTERM)
	if took, err := ends(t, d, &w); err != nil || took > 3*time.Second {
		t.Errorf("%v after %v", err, took)
	}
}
