// Package haltest proves that an implementation of package hal keeps its contract: one
// suite a kind, run on the fakes, on kernel devices in the virtual-hardware rig, and on
// boards.
package haltest

import (
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"anchord/hal"
)

// leaks fails the test if, at its end, more goroutines of ours run or more files are
// open than now.
func leaks(t *testing.T) {
	t.Helper()
	g, f := runtime.NumGoroutine(), files()
	t.Cleanup(func() {
		until(t, "all goroutines and files are gone", func() bool {
			return runtime.NumGoroutine() <= g && files() <= f
		})
	})
}

// files counts open files, without the runtime's own.
func files() int {
	e, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	n := 0
	for _, d := range e {
		l, err := os.Readlink("/proc/self/fd/" + d.Name())
		if err == nil && !strings.Contains(l, "eventpoll") && !strings.Contains(l, "eventfd") {
			n++
		}
	}
	return n
}

// until waits up to 5 s for cond.
func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); !cond(); {
		if time.Now().After(end) {
			buf := make([]byte, 1<<16)
			t.Errorf("after 5 s not: %s\n%s", what, buf[:runtime.Stack(buf, true)])
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// wantErr fails the test unless err wraps want.
func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: error %v, want %v", what, err, want)
	}
}

// Finder runs the suite of a hal.Finder. add plugs a device in and returns its ID,
// remove unplugs it.
func Finder(t *testing.T, f hal.Finder, add func() string, remove func(id string)) {
	t.Run("list and watch", func(t *testing.T) {
		leaks(t)
		ctx := t.Context()
		has := func(id string) bool {
			ds, err := f.List(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range ds {
				if d.ID == "" || d.Node == "" || d.Name == "" {
					t.Errorf("incomplete: %+v", d)
				}
				if d.ID == id {
					return true
				}
			}
			return false
		}
		changed := make(chan struct{}, 100)
		stop := watch(t, f, func() { changed <- struct{}{} })
		defer stop()
		wait := func(what string, cond func() bool) {
			t.Helper()
			for end := time.After(5 * time.Second); !cond(); {
				select {
				case <-changed:
				case <-end:
					t.Fatalf("%s: not told within 5 s", what)
				}
			}
		}
		<-changed // the first is for what came before the watch
		id := add()
		wait("plug", func() bool { return has(id) })
		remove(id)
		wait("unplug", func() bool { return !has(id) })
		if id2 := add(); id2 != id {
			t.Errorf("the same device is %q first and %q then", id, id2)
		}
		wait("plug again", func() bool { return has(id) })
	})
}
