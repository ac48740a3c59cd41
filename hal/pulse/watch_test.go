package pulse_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"anchord/hal"
	"anchord/hal/pulse"
	"anchord/hal/pulse/pulsetest"
)

// watch runs Watch until the test ends; the channel gets a word at each change.
func watch(t *testing.T, at string) <-chan struct{} {
	t.Helper()
	changed := make(chan struct{}, 1000)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := pulse.New(pulse.Config{Server: at}).Watch(ctx, func() { changed <- struct{}{} }); err != nil {
			t.Errorf("watch: %v", err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return changed
}

func expect(t *testing.T, changed <-chan struct{}, d time.Duration, what string) {
	t.Helper()
	select {
	case <-changed:
	case <-time.After(d):
		t.Fatalf("no word of %s within %v", what, d)
	}
}

// drain waits until nothing was said for a while.
func drain(changed <-chan struct{}) (n int) {
	for {
		select {
		case <-changed:
			n++
		case <-time.After(300 * time.Millisecond):
			return n
		}
	}
}

func TestWatchTellsOfPlugsAndServers(t *testing.T) {
	t.Parallel()
	s := pulsetest.Start(t)
	changed := watch(t, s.Address())
	expect(t, changed, 2*time.Second, "the beginning")
	drain(changed)
	s.Unplug()
	expect(t, changed, time.Second, "an unplug")
	drain(changed)
	s.Plug()
	expect(t, changed, time.Second, "a plug")
	drain(changed)
	s.Pactl("set-default-source", pulsetest.Silent)
	expect(t, changed, time.Second, "another default")
	drain(changed)
	s.Pactl("set-source-volume", pulsetest.Silent, "50%")
	if n := drain(changed); n != 0 {
		t.Errorf("%d words of a volume", n)
	}
	s.Kill()
	expect(t, changed, time.Second, "the server's end")
	drain(changed)
	s.Start()
	begun := time.Now()
	expect(t, changed, time.Second, "the server's return")
	t.Logf("told %v after the server was up", time.Since(begun))
	drain(changed)
	s.Unplug()
	expect(t, changed, time.Second, "an unplug at the new server")
}

func TestWatchWaitsForTheFirstServer(t *testing.T) {
	s := pulsetest.New(t)
	// Not even the socket's directory is there.
	changed := watch(t, s.Address())
	expect(t, changed, time.Second, "the beginning")
	if n := drain(changed); n != 0 {
		t.Errorf("%d words of nothing", n)
	}
	s.Start()
	expect(t, changed, time.Second, "the first server")
	read(t, start(t, s, pulsetest.Mic, 1), 3)
}

func TestWatchFindsSocketsAtOnce(t *testing.T) {
	t.Parallel()
	// The server appears long after the tries have become rare, so inotify tells.
	s := pulsetest.Start(t)
	dir := filepath.Dir(s.Socket)
	changed := watch(t, filepath.Join(dir, "deep", "down", "native"))
	expect(t, changed, time.Second, "the beginning")
	select {
	case <-changed:
		t.Fatal("word of nothing")
	case <-time.After(3 * time.Second):
	}
	if err := os.MkdirAll(filepath.Join(dir, "deep", "down"), 0o700); err != nil {
		t.Fatal(err)
	}
	drain(changed)
	begun := time.Now()
	if err := os.Symlink(s.Socket, filepath.Join(dir, "deep", "down", "native")); err != nil {
		t.Fatal(err)
	}
	expect(t, changed, time.Second, "the socket")
	t.Logf("told after %v", time.Since(begun))
}

func TestWatchDoesNotSpin(t *testing.T) {
	t.Parallel()
	for name, serve := range map[string]func(net.Conn){
		"hangs up": func(c net.Conn) { c.Close() },
		"silent":   func(net.Conn) {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at := filepath.Join(t.TempDir(), "s")
			l, err := net.Listen("unix", at)
			if err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			tries := 0
			var all []net.Conn
			wg.Go(func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					tries++
					all = append(all, c)
					serve(c)
				}
			})
			changed := watch(t, at)
			expect(t, changed, 3*time.Second, "the beginning")
			time.Sleep(2 * time.Second) // counting tries needs time
			l.Close()
			wg.Wait()
			for _, c := range all {
				c.Close()
			}
			if tries == 0 || tries > 12 {
				t.Errorf("%d tries in 2 s", tries)
			}
		})
	}
}

func TestWatchLeavesNothing(t *testing.T) {
	s := pulsetest.Start(t)
	none := filepath.Join(t.TempDir(), "none")
	files, gos := 0, 0
	for i := range 20 {
		at := s.Address()
		if i%2 == 1 {
			at = none
		}
		ctx, cancel := context.WithCancel(t.Context())
		if err := pulse.New(pulse.Config{Server: at}).Watch(ctx, cancel); err != nil {
			t.Fatal(err)
		}
		if i == 1 {
			files, gos = openFiles(t), runtime.NumGoroutine()
		}
	}
	if n := openFiles(t); n > files {
		t.Errorf("%d open files, %d before", n, files)
	}
	deadline := time.Now().Add(time.Second)
	for runtime.NumGoroutine() > gos {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), gos)
		}
		runtime.Gosched()
	}
}

func TestWatchRefusesWhatCanNeverBe(t *testing.T) {
	if err := pulse.New(pulse.Config{Server: "nonsense"}).Watch(t.Context(), func() {}); err == nil {
		t.Error("no error")
	}
}

func TestTCPWithAndWithoutTheCookie(t *testing.T) {
	s := pulsetest.Start(t)
	at, cookie := s.ListenTCP()
	list, err := pulse.New(pulse.Config{Server: at, Cookie: cookie}).List(t.Context())
	if err != nil || len(list) != 2 {
		t.Errorf("with the cookie: %+v, %v", list, err)
	}
	wrong := filepath.Join(t.TempDir(), "wrong")
	if err := os.WriteFile(wrong, []byte(strings.Repeat("x", 256)), 0o600); err != nil {
		t.Fatal(err)
	}
	f := pulse.New(pulse.Config{Server: at, Cookie: wrong})
	if _, err := f.List(t.Context()); !errors.Is(err, hal.ErrDenied) || !strings.Contains(err.Error(), "cookie") {
		t.Errorf("list with a wrong cookie: %v", err)
	}
	if _, err := f.Open(t.Context(), hal.Device{ID: pulsetest.Mic}); !errors.Is(err, hal.ErrDenied) {
		t.Errorf("open with a wrong cookie: %v", err)
	}
	// One server that refuses does not hide another that answers, nor the reverse.
	both := pulse.New(pulse.Config{Server: at + " " + s.Address(), Cookie: wrong})
	if list, err := both.List(t.Context()); err != nil || len(list) != 2 {
		t.Errorf("the second server: %+v, %v", list, err)
	}
	mic, err := both.Open(t.Context(), hal.Device{ID: pulsetest.Mic})
	if err != nil {
		t.Fatal(err)
	}
	defer mic.Close()
	if _, err := mic.Start(t.Context(), hal.SoundFormat{Rate: 48000, Channels: 1}); err != nil {
		t.Fatal(err)
	}
	read(t, mic, 5)
	dead := pulse.New(pulse.Config{Server: at + " /nowhere/native", Cookie: wrong})
	if _, err := dead.List(t.Context()); !errors.Is(err, hal.ErrDenied) {
		t.Errorf("refused and absent: %v", err)
	}
}
