package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// says runs one command of anchorctl.
func says(t *testing.T, socket string, words ...string) string {
	t.Helper()
	var out, bad bytes.Buffer
	c := program("anchorctl", append([]string{"-socket", socket}, words...)...)
	c.Stdout, c.Stderr = &out, &bad
	_ = c.Run() // what it prints tells
	return out.String() + bad.String()
}

// begin starts a daemon and waits till it can be told something.
func begin(t *testing.T, conf string, more ...string) (*written, string, func()) {
	t.Helper()
	file, socket := demo(t, t.TempDir(), conf)
	w := &written{}
	d := program("anchord", append([]string{"-config", file}, more...)...)
	d.Stderr = w
	if err := d.Start(); err != nil {
		t.Fatal(err)
	}
	until(t, w, "control socket is open")
	return w, socket, func() {
		t.Helper()
		d.Process.Signal(syscall.SIGTERM)
		if took, err := ends(t, d, w); err != nil {
			t.Errorf("after %v: %v\n%s", took, err, w)
		}
	}
}

// TestLogFile: what stderr says is in the file, from the first line to the last.
func TestLogFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "made", "anchord.log")
	w, socket, end := begin(t, embedded+fmt.Sprintf("[log]\nfile = %q\nmax_mb = 1\n", file))
	until(t, w, "onSendFirstLocalVideoFrame")
	if got := says(t, socket, "log", "level", "debug", "part=room"); !strings.Contains(got, "level: debug\nwas: info\nparts.room: debug\n") {
		t.Error(got)
	}
	if got := says(t, socket, "log", "level", "debug", "part=lens"); !strings.Contains(got, `no part is called "lens"; there are camera, `) {
		t.Error(got)
	}
	if got := says(t, socket, "log", "tail", "1", "part=camera"); strings.Count(got, "\n") != 1 || !strings.Contains(got, " part=camera ") {
		t.Error(got)
	}
	if got := says(t, socket, "log", "tail", "level=error"); got != "" {
		t.Error(got)
	}
	// pion speaks at debug: here it does, for the part that was asked for.
	says(t, socket, "room", "exit")
	says(t, socket, "room", "enter")
	until(t, w, " pion=")
	if strings.Contains(w.String(), "level=DEBUG msg=\"control client left\"") {
		t.Error("a part that was not asked for is at debug")
	}
	end()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(b) != w.String() || !strings.Contains(string(b), "level=INFO msg=\"anchord ends\"\n") { // counts of what came again may follow
		t.Errorf("the file has\n%s\nand stderr\n%s", b, w)
	}
}

// TestLogFileCannotBeWritten: it is said once, and all else goes on.
func TestLogFileCannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	w, _, end := begin(t, fmt.Sprintf("[log]\nlevel = \"debug\"\nfile = %q\n", filepath.Join(dir, "file", "anchord.log")))
	until(t, w, "camera streams")
	end()
	if n := strings.Count(w.String(), "lines are dropped until it can"); n != 1 || !strings.Contains(w.String(), "not a directory") {
		t.Errorf("said %d times:\n%s", n, w)
	}
}

// TestStoppedTerminal: a terminal that takes nothing keeps neither the daemon from its
// work nor its end.
func TestStoppedTerminal(t *testing.T) {
	r, wr, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer wr.Close()
	// Full but for one page.
	if _, _, e := syscall.Syscall(syscall.SYS_FCNTL, wr.Fd(), syscall.F_SETPIPE_SZ, 4096); e != 0 {
		t.Fatal(e)
	}
	if _, err := wr.Write(make([]byte, 4000)); err != nil {
		t.Fatal(err)
	}
	file, socket := demo(t, t.TempDir(), embedded+"[log]\nlevel = \"debug\"\n")
	d := program("anchord", "-config", file)
	d.Stderr = wr
	if err := d.Start(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); !strings.Contains(says(t, socket, "status"), ": in"); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not enter the room:", says(t, socket, "status"))
		}
	}
	d.Process.Signal(syscall.SIGTERM)
	if took, err := ends(t, d, &written{}); err != nil || took > 8*time.Second {
		t.Errorf("it ended after %v with %v", took, err)
	}
}

// TestNoCores looks at the limit of the running daemon.
func TestNoCores(t *testing.T) {
	for _, c := range []struct{ env, want string }{{"GOTRACEBACK=", "Max core file size 0"}, {"GOTRACEBACK=crash", ""}} {
		file, _ := demo(t, t.TempDir(), "")
		var w written
		d := program("anchord", "-config", file)
		d.Env = append(d.Env, c.env)
		d.Stderr = &w
		if err := d.Start(); err != nil {
			t.Fatal(err)
		}
		until(t, &w, "control socket is open")
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", d.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		own, err := os.ReadFile("/proc/self/limits")
		if err != nil {
			t.Fatal(err)
		}
		got := core(string(b))
		if c.want == "" {
			c.want = core(string(own))
		}
		if !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %s, not %s", c.env, got, c.want)
		}
		d.Process.Signal(syscall.SIGTERM)
		ends(t, d, &w)
	}
}

func core(limits string) string {
	for _, l := range strings.Split(limits, "\n") {
		if strings.HasPrefix(l, "Max core") {
			return strings.Join(strings.Fields(l), " ")
		}
	}
	return ""
}
