package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// shell gives a bash in which anchorctl is this program, and knows the socket.
func shell(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	dir := t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\nexport %s=anchorctl\nexec %q \"$@\"\n", asProgram, os.Args[0])
	if err := os.WriteFile(filepath.Join(dir, "anchorctl"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	c := exec.Command("bash", append([]string{"--norc", "--noprofile"}, args...)...)
	c.Dir = dir
	c.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "TERM=dumb", "PS1=> ", "PS2=", "HISTFILE=", "INPUTRC=/dev/null")
	return c
}

// TestBashCompletion asks bash's function what it would offer.
func TestBashCompletion(t *testing.T) {
	socket := box(t, nil)
	for _, c := range []struct {
		words []string // as bash parts them; the last is completed
		want  string
	}{
		{[]string{"vers"}, "version"},
		{[]string{"pro"}, "probe"},
		{[]string{"-so"}, "-socket"},
		{[]string{"completion", ""}, "bash"},
		{[]string{"room", "e"}, "enter exit"},
		{[]string{"room", "enter", ""}, "id= user="},
		{[]string{"room", "enter", "id", "=", "101", "u"}, "user="},
		{[]string{"camera", "mute", "state", "="}, "on off"},
		{[]string{"camera", "mute", "state", "=", "of"}, "off"},
		{[]string{"config", "set", "video.rot"}, "video.rotation"},
		{[]string{"help", "video", "ro"}, "rotation"},
		{[]string{"snapshot", "-"}, "-o"},
		{[]string{"nonsense", ""}, ""},
		// What the daemon knows. Bash replaces only what follows the last : or =.
		{[]string{"-socket", socket, "camera", "select", "usb"}, "usb-046d:0825-1.2"},
		{[]string{"-socket", socket, "camera", "select", "usb-046d", ":", "08"}, "0825-1.2"},
		{[]string{"-socket", socket, "camera", "select", "match", "=", "usb"}, "usb-046d:0825-1.2"},
		{[]string{"-socket", socket, "camera", "select", "tw"}, `two\ words`},
		{[]string{"-socket", socket, "camera", "select", `"two w`}, `two words`},
		{[]string{"-socket", socket + "-not", "camera", "select", ""}, "any test match="},
	} {
		script := "eval \"$(anchorctl completion bash)\"\nCOMP_WORDS=(anchorctl \"$@\")\nCOMP_CWORD=$#\n_anchorctl anchorctl\nIFS=' '; printf %s \"${COMPREPLY[*]}\"\n"
		sh := shell(t, append([]string{"-c", script, "bash"}, c.words...)...)
		out, err := sh.Output()
		if d := cmp.Diff(c.want, string(out)); err != nil || d != "" {
			t.Errorf("%q: %v\n%s", c.words, err, d)
		}
	}
}

// TestBashAtATerminal presses Tab in a bash that believes to have a terminal.
func TestBashAtATerminal(t *testing.T) {
	socket := box(t, nil)
	ptm, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer ptm.Close()
	n, err := unix.IoctlGetInt(int(ptm.Fd()), unix.TIOCGPTN)
	if err := errors.Join(err, unix.IoctlSetPointerInt(int(ptm.Fd()), unix.TIOCSPTLCK, 0)); err != nil {
		t.Fatal(err)
	}
	pts, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	sh := shell(t, "-i")
	sh.Stdin, sh.Stdout, sh.Stderr = pts, pts, pts
	sh.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Pdeathsig: syscall.SIGKILL}
	if err := sh.Start(); err != nil {
		t.Fatal(err)
	}
	pts.Close()
	var screen written
	read := make(chan struct{})
	go func() { defer close(read); io.Copy(&screen, ptm) }() // ends with EIO when bash is gone
	type_ := func(s string) {
		if _, err := io.WriteString(ptm, s); err != nil {
			t.Fatal(err)
		}
	}
	// Each line is typed with Tabs, and then shown as it stands.
	type_("eval \"$(anchorctl completion bash)\"; echo ready\"\"1\n")
	until(t, &screen, "ready1")
	for i, c := range []struct{ typed, want string }{
		{"anchorctl camer\tmu\tof\t", "anchorctl camera mute off "},
		{"anchorctl room ent\tus\tcart-7", "anchorctl room enter user=cart-7"},
		{"anchorctl -socket " + socket + " camera select us\t", "anchorctl -socket " + socket + " camera select usb-046d:0825-1.2 "},
		{"anchorctl -socket " + socket + " camera select usb-046d:\t", "anchorctl -socket " + socket + " camera select usb-046d:0825-1.2 "},
		{"anchorctl -socket " + socket + " camera select match=tw\t", "anchorctl -socket " + socket + ` camera select match=two\ words `},
		{"anchorctl -socket " + socket + " camera select \"tw\t", "anchorctl -socket " + socket + ` camera select "two words" `},
	} {
		mark := fmt.Sprintf("line-%d", i)
		type_(c.typed + "\x01: \x05#" + mark + "\n" + "fc -ln -1 | cat -A; echo done-\"" + mark + "\"\n")
		until(t, &screen, "done-"+mark+"\r\n")
		if !strings.Contains(screen.String(), ": "+c.want+"#"+mark+"$") {
			t.Errorf("%q does not become %q:\n%s", c.typed, c.want, screen.String())
		}
	}
	type_("exit\n")
	if err := sh.Wait(); err != nil {
		t.Error(err)
	}
	<-read
}

// BenchmarkCompletion is what a person waits for at the prompt, without the process itself.
func BenchmarkCompletion(b *testing.B) {
	for b.Loop() {
		var out bytes.Buffer
		if ctl([]string{"__complete", "--", "-socket", "/nowhere", "video", ""}, nil, &out, io.Discard) != done || out.Len() == 0 {
			b.Fatal(out.String())
		}
	}
}
