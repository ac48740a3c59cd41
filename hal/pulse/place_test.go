package pulse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jfreymuth/pulse/proto"

	"anchord/hal"
)

func TestParseServer(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		in   string
		tcp  bool
		want []string
		err  string
	}{
		{"unix:/run/x", false, []string{"unix:/run/x"}, ""},
		{"/run/x", false, []string{"unix:/run/x"}, ""},
		{"  /a   unix:/b ", false, []string{"unix:/a", "unix:/b"}, ""},
		{"{" + host + "}/a {elsewhere}/b", false, []string{"unix:/a"}, ""},
		{"tcp:box:4714 tcp6:[::1]", true, []string{"tcp:box:4714", "tcp6:[::1]:4713"}, ""},
		{"tcp:box", true, []string{"tcp:box:4713"}, ""},
		{"tcp:box", false, nil, "not encrypted"},
		{"{elsewhere}/b", false, nil, "no address for this machine"},
		{"{" + host, false, nil, "no }"},
		{"{" + host + "}", false, nil, "want unix"},
		{"", false, nil, "no address"},
		{"unix:x", false, nil, "want unix"},
		{"box", true, nil, "want unix"},
		{"tcp:", true, nil, "want unix"},
		{"/" + strings.Repeat("x", 300), false, nil, "not usable"},
		{"/a\x00b", false, nil, "not usable"},
	} {
		got, err := parseServer(c.in, c.tcp)
		var have []string
		for _, p := range got {
			have = append(have, p.String())
		}
		if d := cmp.Diff(c.want, have); d != "" {
			t.Errorf("%q: %s", c.in, d)
		}
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%q: %v, want %q", c.in, err, c.err)
		}
	}
}

func FuzzParseServer(f *testing.F) {
	f.Add("unix:/run/x {h}tcp:y", true)
	f.Add("{", false)
	f.Fuzz(func(t *testing.T, s string, tcp bool) {
		list, err := parseServer(s, tcp)
		if (err == nil) != (len(list) > 0) {
			t.Errorf("%v and %v", list, err)
		}
		for _, p := range list {
			if p.network != "unix" && !tcp {
				t.Errorf("%v without leave", p)
			}
		}
	})
}

func TestUsualPlaces(t *testing.T) {
	t.Setenv("PULSE_SERVER", "")
	t.Setenv("PULSE_RUNTIME_PATH", "/rt")
	t.Setenv("XDG_RUNTIME_DIR", "/xdg")
	t.Setenv("HOME", "relative")
	list, err := places(Config{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range list {
		got = append(got, p.address)
	}
	want := []string{"/rt/native", "/xdg/pulse/native", fmt.Sprintf("/run/user/%d/pulse/native", os.Getuid()),
		"/run/pulse/native", "/var/run/pulse/native"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	t.Setenv("PULSE_SERVER", "/only")
	if list, err := places(Config{}); err != nil || len(list) != 1 || list[0].address != "/only" {
		t.Errorf("%v, %v", list, err)
	}
	if list, err := places(Config{Server: "/mine"}); err != nil || len(list) != 1 || list[0].address != "/mine" {
		t.Errorf("%v, %v", list, err)
	}
	t.Setenv("PULSE_SERVER", "tcp:box")
	if _, err := places(Config{}); err == nil || !strings.Contains(err.Error(), "$PULSE_SERVER") {
		t.Errorf("TCP from the environment: %v", err)
	}
}

func TestCookie(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("HOME", dir)
	t.Setenv("PULSE_COOKIE", "")
	if b, err := cookie(Config{}); err != nil || len(b) != cookieSize {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	file := filepath.Join(dir, ".pulse-cookie")
	if err := os.WriteFile(file, []byte(strings.Repeat("c", cookieSize)), 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err := cookie(Config{}); err != nil || b[0] != 'c' {
		t.Errorf("home's is not used: %v", err)
	}
	short := filepath.Join(dir, "short")
	if err := os.WriteFile(short, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{short, filepath.Join(dir, "none")} {
		_, err := cookie(Config{Cookie: f})
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", f, err)
		}
		if _, err := New(Config{Server: "/nowhere", Cookie: f}).List(t.Context()); err == nil || !strings.Contains(err.Error(), "cookie") {
			t.Errorf("list with %s: %v", f, err)
		}
	}
}

func TestErrorsHaveTheirMeaning(t *testing.T) {
	for _, c := range []struct{ err, want error }{
		{syscall.EACCES, hal.ErrDenied},
		{&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.EPERM)}, hal.ErrDenied},
		{proto.ErrAccessDenied, hal.ErrDenied},
		{proto.ErrNoAuthenticationKey, hal.ErrDenied},
		{proto.ErrDeviceOrEesourceBusy, hal.ErrBusy},
		{proto.ErrNotSupported, hal.ErrUnsupported},
		{proto.ErrNoSuchEntity, hal.ErrGone},
		{proto.ErrTimeout, hal.ErrGone},
		{io.EOF, hal.ErrGone},
		{io.ErrUnexpectedEOF, hal.ErrGone},
		{syscall.ECONNRESET, hal.ErrGone},
		{net.ErrClosed, hal.ErrGone},
		{context.DeadlineExceeded, hal.ErrGone},
	} {
		got := classify(c.err)
		n := 0
		for _, e := range []error{hal.ErrGone, hal.ErrBusy, hal.ErrDenied, hal.ErrUnsupported, hal.ErrStuck, hal.ErrStopped} {
			if errors.Is(got, e) {
				n++
			}
		}
		if !errors.Is(got, c.want) || n != 1 {
			t.Errorf("%v became %v", c.err, got)
		}
	}
	if classify(nil) != nil {
		t.Error("nil became an error")
	}
}

func TestNoServerAtAllSaysWhatToDo(t *testing.T) {
	at := filepath.Join(t.TempDir(), "none", "native")
	_, err := New(Config{Server: at}).List(t.Context())
	if !errors.Is(err, hal.ErrGone) || !errors.Is(err, hal.ErrNoServer) || !strings.Contains(err.Error(), at) || !strings.Contains(err.Error(), "start PulseAudio") {
		t.Errorf("got %v", err)
	}
}
