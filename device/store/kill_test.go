package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"anchord/device/store"

	"golang.org/x/sys/unix"
)

// child is what this program does instead of tests.
func child(word string) int {
	dir := os.Getenv("STORE_DIR")
	if word == "limited" {
		// As on a full disk, but only for this process: no file may grow beyond this.
		signal.Ignore(unix.SIGXFSZ)
		limit := unix.Rlimit{Cur: 64 << 10, Max: 64 << 10}
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
			fmt.Println(err)
			return 1
		}
	}
	if word == "nobody" && os.Getuid() == 0 {
		if err := syscall.Setuid(65534); err != nil {
			fmt.Println(err)
			return 1
		}
	}
	s, found, err := store.Open(context.Background(), store.Config{Path: filepath.Join(dir, "anchord.db")})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	switch word {
	case "hold":
		fmt.Println("holding")
		select {} // until killed
	case "nobody":
		fmt.Println(s.Load()["room.id"], found.Storing, found.Problems)
		fmt.Println(s.Save(map[string]string{"room.id": "7"}))
	case "limited":
		big := string(make([]byte, 0))
		for range 3000 {
			big += "0123456789abcdef"
		}
		var err error
		for i := 0; i < 50 && err == nil; i++ {
			err = s.Save(map[string]string{"a": big, "n": strconv.Itoa(i)})
			if err == nil {
				err = s.Save(map[string]string{"b" + strconv.Itoa(i): big})
			}
		}
		fmt.Println(errors.Is(err, store.ErrFull), err)
		fmt.Println(len(s.Load()), s.Load()["n"])
	case "count":
		n, _ := strconv.Atoi(s.Load()["n"])
		fmt.Println(n)
		for {
			n++
			if err := s.Save(map[string]string{"n": strconv.Itoa(n), "room.id": strconv.Itoa(n), "x": fmt.Sprintf("%0*d", n%5000, n)}); err != nil {
				fmt.Println(err)
				return 1
			}
			fmt.Println(n)
		}
	}
	return 0
}

// TestKill kills a process that saves as fast as it can, with signal 9 at random moments,
// 200 times on the same files. It proves that the next start has every save that was
// acknowledged on the pipe, and at most one more. (The page cache outlives a process, so
// this is about the process alone; TestPowerCut is about the power.)
func TestKill(t *testing.T) {
	t.Parallel()
	t.Run("kills", func(t *testing.T) {
		for w := range 4 {
			t.Run(fmt.Sprint(w), func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				last := 0
				for i := range 50 {
					last = killOnce(t, dir, last, time.Duration(rand.IntN(30_000))*time.Microsecond)
					if t.Failed() {
						t.Fatalf("kill %d", i)
					}
				}
				t.Logf("%d saves acknowledged", last)
				s, found := mustOpen(t, nil, dir)
				defer mustClose(t, s)
				if n, _ := strconv.Atoi(s.Load()["n"]); n < last || n > last+1 || s.Load()["room.id"] != s.Load()["n"] {
					t.Errorf("last acknowledged %d, found %d, room %s (%s)", last, n, s.Load()["room.id"], codes(found))
				}
			})
		}
	})
}

// killOnce starts the counter, which says first where it found itself, and kills it.
func killOnce(t *testing.T, dir string, last int, after time.Duration) int {
	t.Helper()
	cmd, lines := start(t, "count", dir)
	first := true
	for lines.Scan() {
		n, err := strconv.Atoi(lines.Text())
		if err != nil {
			t.Error(lines.Text())
			break
		}
		if first {
			if n < last || n > last+1 {
				t.Errorf("acknowledged %d, found %d", last, n)
			}
			timer := time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
			defer timer.Stop()
		}
		first, last = false, n
	}
	_ = cmd.Process.Kill() // it may have ended by itself
	_ = cmd.Wait()
	return last
}
