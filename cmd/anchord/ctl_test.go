package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"anchord/device"
	"anchord/device/config"
	"anchord/device/control"
	"anchord/hal"
	"anchord/internal/media"
)

// box serves the whole table over a box that does not exist, and gives its socket.
func box(t *testing.T, bundle []byte) string {
	t.Helper()
	list := func(id string) func(context.Context) ([]hal.Device, error) {
		return func(context.Context) ([]hal.Device, error) {
			return []hal.Device{{ID: id, Name: "A camera"}, {ID: "two words", Name: "Other"}}, nil
		}
	}
	jobs := control.NewJobs(nil)
	p := control.Parts{Version: "1.2.3", Device: device.New(config.Default(), nil), Jobs: jobs,
		Status:  func() control.Fields { return control.Fields{{Key: "room", Value: "none"}} },
		Cameras: list("usb-046d:0825-1.2"), Mics: list("mic"),
		Snapshot: func(_ context.Context, q int) ([]byte, media.Size, error) {
			if q == 1 {
				return nil, media.Size{}, control.Errorf(control.CodeState, "the camera is stopped: camera start")
			}
			return []byte("\xff\xd8"), media.Size{W: 640, H: 360}, nil
		},
		Support: func(_ context.Context, w io.Writer) error {
			if bundle == nil {
				return errors.New("out of paper")
			}
			_, err := w.Write(bundle)
			return err
		},
	}
	path := filepath.Join(t.TempDir(), "control.sock")
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 2)
	s := control.Socket{Path: path, Table: control.Commands(p), Log: slog.New(slog.DiscardHandler), Ready: func() { close(ready) }}
	go func() { ended <- jobs.Run(ctx) }()
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
	})
	select {
	case <-ready:
	case <-time.After(10 * time.Second):
		t.Fatal("the socket does not open")
	}
	return path
}

func TestCtl(t *testing.T) {
	socket := box(t, nil)
	dir := t.TempDir()
	picture := filepath.Join(dir, "picture.jpg")
	for _, c := range []struct {
		args     []string
		in       string
		status   int
		out, err string // within; "" is nothing at all
	}{
		{args: []string{"version"}, out: "version: 1.2.3\n"},
		{args: []string{"-json", "version"}, out: `{"ok":true,"result":{"version":"1.2.3"}}` + "\n"},
		{args: []string{"camera", "select", "HD Pro, any"}},
		{args: []string{"camera", "select", "match=HD Pro, any"}, out: "unchanged: yes\n"},
		{args: []string{"nonsense"}, status: usage, err: `anchorctl: there is no command "nonsense"; see help (101 unknown-command)`},
		{args: []string{"-json", "nonsense"}, status: usage, out: `{"ok":false,"error":{"code":101,"slug":"unknown-command","message":"there is no command \"nonsense\"; see help"}}` + "\n"},
		{args: []string{"video", "fps", "0"}, status: usage, err: "(102 bad-argument)"},
		{args: []string{"camera", "select", "a\x1bb"}, status: usage, err: "(100 syntax)"},
		{args: []string{"camera", "select", strings.Repeat("x", control.MaxLine)}, status: usage, err: "(103 too-long)"},
		{args: []string{"snapshot", "quality=1"}, status: failed, err: "the camera is stopped: camera start (110 bad-state)"},
		{args: []string{"snapshot", "quality=1", "-o", picture}, status: failed, err: "(110 bad-state)"},
		{args: []string{"snapshot", "-o", picture}, out: picture + ": 640x360, 2 bytes\n"},
		{args: []string{"snapshot", "-o", "-"}, out: "\xff\xd8"},
		{args: []string{"snapshot", "-o"}, status: usage, err: "-o needs a file"},
		{args: []string{"snapshot", "-o", dir}, status: failed, err: "write the file"},
		{args: []string{"support", "-o", picture}, status: failed, err: "job 1 failed: out of paper"},
		{args: []string{"job", "show", "7"}, status: failed, err: "(111 not-found)"},
		{args: []string{"version", "-json"}, status: usage, err: "options stand before the command: anchorctl -json … version"},
		{args: []string{"-nonsense", "version"}, status: usage, err: "flag provided but not defined: -nonsense"},
		{args: []string{"-url", "http://127.0.0.1:1", "version"}, status: usage, err: "-url needs -token-file"},
		{args: []string{"-url", "http://127.0.0.1:1", "-token-file", filepath.Join(dir, "none"), "version"}, status: usage, err: "no such file or directory"},
		{args: []string{"completion"}, status: usage, err: "usage: anchorctl completion bash"},
		{args: []string{}, status: usage, err: "usage: anchorctl"},
		{args: []string{"-"}, in: "version\n\n# a remark\n{\"id\":7,\"cmd\":\"version\"}\n  camera select \"HD Pro, any\"  \r\n", out: "version: 1.2.3\nversion: 1.2.3\nunchanged: yes\n"},
		{args: []string{"-json", "-"}, in: "version\n{\"id\":7,\"cmd\":\"version\"}", out: "{\"ok\":true,\"result\":{\"version\":\"1.2.3\"}}\n{\"id\":7,\"ok\":true,\"result\":{\"version\":\"1.2.3\"}}\n"},
		{args: []string{"-"}, in: "version\nsnapshot quality=1\nversion\n", status: failed, out: "version: 1.2.3\nversion: 1.2.3\n", err: "line 2: anchorctl: the camera is stopped"},
		{args: []string{"-"}, in: "nonsense\njob show 7\n", status: usage, err: "line 1: anchorctl: there is no command"},
		{args: []string{"-"}, in: "version\n" + strings.Repeat("x", 1<<17), status: failed, out: "version: 1.2.3\n", err: "read standard input"},
		{args: []string{"-"}},
		{args: []string{"help", "video", "fps"}, out: "usage: video fps fps=1…60\n"},
	} {
		var out, e bytes.Buffer
		args := c.args
		if len(args) > 0 && !strings.HasPrefix(args[0], "-url") {
			args = append([]string{"-socket", socket}, args...)
		}
		status := ctl(args, strings.NewReader(c.in), &out, &e)
		if status != c.status || !strings.Contains(out.String(), c.out) || (c.out == "") != (out.Len() == 0) || !strings.Contains(e.String(), c.err) || (c.err == "") != (e.Len() == 0) {
			t.Errorf("%.80q: status %d, %q, %q", c.args, status, out.String(), e.String())
		}
	}
	if fi, err := os.Stat(picture); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("the picture: %v, %v", fi.Mode(), err)
	}
}

func TestCtlWritesABundle(t *testing.T) {
	bundle := bytes.Repeat([]byte("0123456789"), 250_000) // it comes in three pieces
	socket := box(t, bundle)
	file := filepath.Join(t.TempDir(), "bundle.tar.gz")
	var out, e bytes.Buffer
	if status := ctl([]string{"-socket", socket, "support", "-o", file}, nil, &out, &e); status != done || !strings.Contains(out.String(), "2500000 bytes") {
		t.Errorf("status %d, %q, %q", status, &out, &e)
	}
	if b, err := os.ReadFile(file); err != nil || !bytes.Equal(b, bundle) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	out.Reset()
	if status := ctl([]string{"-socket", socket, "-json", "support"}, nil, &out, &e); status != done || out.String() != `{"ok":true,"result":{"job":2}}`+"\n" {
		t.Errorf("status %d, %q, %q", status, &out, &e)
	}
}

// TestCtlWithoutADaemon explains every command, and says what is wrong with all others.
func TestCtlWithoutADaemon(t *testing.T) {
	for _, c := range control.Offline() {
		var out, e bytes.Buffer
		if status := ctl(append([]string{"help"}, strings.Fields(c.Name)...), nil, &out, &e); status != done || !strings.Contains(out.String(), c.Usage()) || e.Len() > 0 {
			t.Errorf("help %s: %d, %q, %q", c.Name, status, &out, &e)
		}
	}
	var out, e bytes.Buffer
	if status := ctl([]string{"-json", "help", "video", "fps"}, nil, &out, &e); status != done || !json.Valid(out.Bytes()) {
		t.Errorf("%d, %q, %q", status, &out, &e)
	}
	out.Reset()
	if status := ctl([]string{"help", "nonsense"}, nil, &out, &e); status != usage || out.Len() > 0 || !strings.Contains(e.String(), "no command") {
		t.Errorf("%d, %q, %q", status, &out, &e)
	}
	e.Reset()
	if status := ctl([]string{"-socket", filepath.Join(t.TempDir(), "none"), "version"}, nil, &out, &e); status != failed || !strings.Contains(e.String(), "it does not run, or its socket is elsewhere") {
		t.Errorf("%d, %q, %q", status, &out, &e)
	}
}
