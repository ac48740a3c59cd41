package control

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

var quiet = slog.New(slog.DiscardHandler)

// listen runs a socket; stop ends it and gives Run's error.
func listen(t *testing.T, path string) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ready, ended := make(chan struct{}), make(chan error, 1)
	s := Socket{Path: path, Table: Commands(parts()), Log: quiet, Ready: func() { close(ready) }}
	go func() { ended <- s.Run(ctx) }()
	select {
	case <-ready:
	case err := <-ended:
		cancel()
		t.Fatal(err)
	case <-time.After(5 * time.Second):
		cancel()
		t.Fatal("the socket does not open")
	}
	return func() error {
		cancel()
		select {
		case err := <-ended:
			return err
		case <-time.After(5 * time.Second):
			return errors.New("Run does not end")
		}
	}
}

func dial(t *testing.T, path string) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(5 * time.Second))
	return c, bufio.NewReader(c)
}

func TestSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "control.sock")
	stop := listen(t, path)
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o660 {
		t.Errorf("%v, %v", fi.Mode(), err)
	}
	c, r := dial(t, path)
	io.WriteString(c, "version\n{\"cmd\":\"version\"}\n")
	for _, want := range []string{"version: 1.2.3\n", "OK\n", "{\"ok\":true,\"result\":{\"version\":\"1.2.3\"}}\n"} {
		if got, err := r.ReadString('\n'); err != nil || got != want {
			t.Errorf("%q, %v", got, err)
		}
	}
	// Another daemon is refused, and takes nothing away.
	other := Socket{Path: path, Table: Table{}, Log: quiet}
	if err := other.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "another daemon answers") {
		t.Error(err)
	}
	io.WriteString(c, "room show\n")
	if got, err := r.ReadString('\n'); err != nil || got != "state: out\n" {
		t.Errorf("%q, %v", got, err)
	}
	// The client is still there when the daemon ends.
	if err := stop(); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err := io.ReadAll(r); err != nil && !errors.Is(err, io.EOF) {
		t.Errorf("the client's connection: %v", err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket stays: %v", err)
	}
}

func TestSocketOfADeadDaemonIsRemoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	stop := listen(t, path)
	c, r := dial(t, path)
	io.WriteString(c, "version\n")
	if got, err := r.ReadString('\n'); err != nil || got != "version: 1.2.3\n" {
		t.Errorf("%q, %v", got, err)
	}
	stop()
}

// TestSocketOfABusyDaemonStays: a daemon that does not accept at the moment is alive.
func TestSocketOfABusyDaemonStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.sock")
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	dial(t, path) // and the queue is full
	s := Socket{Path: path, Table: Table{}, Log: quiet}
	if err := s.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "stop the other daemon") {
		t.Error(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("its socket: %v", err)
	}
}

// TestSocketOutlivesAShortage takes all descriptors that the process may have.
func TestSocketOutlivesAShortage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.sock")
	stop := listen(t, path)
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	c := os.NewFile(uintptr(fd), "client")
	defer c.Close()
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 3, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	err = syscall.Connect(fd, &syscall.SockaddrUnix{Name: path})
	// The socket is tried several times in this time, and fails.
	time.Sleep(100 * time.Millisecond)
	if e := errors.Join(err, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old)); e != nil {
		t.Fatal(e)
	}
	io.WriteString(c, "version\n")
	if got, err := bufio.NewReader(c).ReadString('\n'); err != nil || got != "version: 1.2.3\n" {
		t.Errorf("%q, %v", got, err)
	}
	if err := stop(); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestSocketTakesNothingElsesPlace(t *testing.T) {
	dir := t.TempDir()
	file, link, folder := filepath.Join(dir, "file"), filepath.Join(dir, "link"), filepath.Join(dir, "folder")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Symlink(file, link), os.Mkdir(folder, 0o700)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, link, folder} {
		s := Socket{Path: path, Log: quiet}
		if err := s.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "is not a socket") {
			t.Errorf("%s: %v", path, err)
		}
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "precious" {
		t.Errorf("%q, %v", b, err)
	}
	for _, path := range []string{filepath.Join(file, "control.sock"), filepath.Join(dir, strings.Repeat("x", 200))} {
		s := Socket{Path: path, Log: quiet}
		if err := s.Run(t.Context()); err == nil {
			t.Errorf("%s is listened on", path)
		}
	}
}

func TestSocketRefusesTooMany(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.sock")
	stop := listen(t, path)
	defer stop()
	ask := func(c net.Conn, r *bufio.Reader) string {
		io.WriteString(c, "room show\n")
		s, err := r.ReadString('\n')
		if err != nil {
			return err.Error()
		}
		return s
	}
	var first net.Conn
	for range maxConns {
		c, r := dial(t, path)
		if first == nil {
			first = c
		}
		if got := ask(c, r); got != "state: out\n" {
			t.Fatal(got)
		}
	}
	_, r := dial(t, path)
	if got, err := r.ReadString('\n'); err != nil || got != fmt.Sprintf("ERR 113 busy %d clients are connected already\n", maxConns) {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := r.ReadByte(); err != io.EOF {
		t.Errorf("it is not let go: %v", err)
	}
	client := Client{Socket: path}
	if a, err := client.Do(t.Context(), []string{"room", "show"}); err != nil || a.Error == nil || a.Error.Code != CodeBusy || a.Error.Message != fmt.Sprintf("%d clients are connected already", maxConns) ||
		!json.Valid(a.Raw) {
		t.Errorf("the client: %+v, %v", a, err)
	}
	// A place that becomes free is given away again.
	first.Close()
	for end := time.Now().Add(5 * time.Second); ; {
		c, r := dial(t, path)
		got := ask(c, r)
		if got == "state: out\n" {
			break
		}
		if time.Now().After(end) {
			t.Fatal(got)
		}
		c.Close()
	}
}
