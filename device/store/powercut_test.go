package store_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"anchord/device/store"
	"anchord/device/store/powercut"
)

// TestPowerCut cuts the power before every single operation that the scripted run does on
// the disk, SQLite's and ours alike, three times each: with all kept that was written, with
// only that which was synced, and with a random part of the rest, torn. It proves that the
// store then starts, stores again, and holds exactly the last acknowledged state or the one
// that was being saved, that no file is ever seen damaged once the first save is through,
// and that the copies alone, without the database, have the room of that state. It takes for granted what the disk promises: that a sync is one,
// that a rename is whole, and that a cut tears only what is being written.
func TestPowerCut(t *testing.T) {
	t.Parallel()
	log, states := record(t)
	t.Logf("%d operations, %d acknowledged states", len(log), len(states))
	const workers = 4
	var points atomic.Int64
	t.Run("points", func(t *testing.T) {
		for w := range workers {
			t.Run(fmt.Sprint(w), func(t *testing.T) {
				t.Parallel()
				disk := newDisk(t)
				image := powercut.NewImage()
				for n := 0; n <= len(log); n++ {
					for _, s := range []powercut.Survivors{powercut.All, powercut.None, powercut.Some} {
						if (n*3+int(s))%workers == w {
							cutAt(t, disk, image, n, s, states)
							points.Add(1)
						}
					}
					if n < len(log) {
						image.Apply(log[n])
					}
				}
			})
		}
	})
	t.Logf("%d points", points.Load())
	if points.Load() < 2000 {
		t.Errorf("%d points, want 2000 or more", points.Load())
	}
}

func record(t *testing.T) ([]powercut.Op, []acked) {
	disk := newDisk(t)
	disk.Record = true
	dir := t.TempDir()
	s, _ := mustOpen(t, disk, dir)
	states := []acked{{0, map[string]string{}}}
	for _, step := range script(true) {
		if step.reopen {
			mustClose(t, s)
			s, _ = mustOpen(t, disk, dir)
			continue
		}
		if err := step.do(s); err != nil {
			t.Fatal(err)
		}
		states = append(states, acked{len(disk.Log()), s.Load()})
	}
	mustClose(t, s)
	return disk.Log(), states
}

func cutAt(t *testing.T, disk *powercut.Disk, image *powercut.Image, n int, s powercut.Survivors, states []acked) {
	t.Helper()
	dir := memoryDir(t)
	r := rand.New(rand.NewPCG(uint64(n), uint64(s)))
	if err := image.LayOut(dir, s, r); err != nil {
		t.Fatal(err)
	}
	st, found, err := store.Open(t.Context(), store.Config{Path: pathIn(dir), FS: disk})
	if err != nil {
		t.Fatalf("cut %d/%d: start refused: %v", n, s, err)
	}
	k := 0
	for k+1 < len(states) && states[k+1].at <= n {
		k++
	}
	next := states[min(k+1, len(states)-1)]
	if got := st.Load(); !oneOf(got, states[k].values, next.values) {
		t.Fatalf("cut %d/%d: %s\n got %v\nwant %v\n  or %v", n, s, codes(found), brief(got), brief(states[k].values), brief(next.values))
	}
	for _, p := range found.Problems {
		// The first making may be cut to pieces; after it nothing ever is.
		if k > 0 || p.Code != store.CodeCorrupt {
			t.Fatalf("cut %d/%d: %v", n, s, p)
		}
	}
	if !found.Storing {
		t.Fatalf("cut %d/%d: does not store: %v", n, s, found.Problems)
	}
	if n%8 == int(s) {
		mustSave(t, st, map[string]string{"log.level": "debug"})
	}
	mustClose(t, st)
	if n%4 != int(s) {
		return // a quarter is enough
	}
	dir = memoryDir(t)
	if err := image.LayOut(dir, s, r); err != nil {
		t.Fatal(err)
	}
	for _, side := range []string{"", "-wal"} {
		if err := os.Remove(pathIn(dir) + side); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	st, found = mustOpen(t, disk, dir)
	defer mustClose(t, st)
	if got := room(st.Load()); !oneOf(got, room(states[k].values), room(next.values)) {
		t.Fatalf("cut %d/%d without database: %s: got %v want %v or %v", n, s, codes(found), got, room(states[k].values), room(next.values))
	}
}

func room(values map[string]string) map[string]string {
	out := maps.Clone(values)
	maps.DeleteFunc(out, func(k, _ string) bool { return !strings.HasPrefix(k, "room.") })
	return out
}

// TestFault runs a shorter script once for every operation, reads and opens among them, and
// makes that one fail: once, or with every later one until the end (a disk that is full,
// that became read-only, that is gone). It proves that the daemon's start is never refused,
// that nothing acknowledged is lost, that nothing not acknowledged is seen in the process,
// and that after a restart on a healed disk at most a change that got an error is there too.
func TestFault(t *testing.T) {
	t.Parallel()
	disk := newDisk(t)
	faulty(t, disk, "none")
	total := disk.Count()
	writes := func(k powercut.Kind) bool {
		return k != powercut.Read && k != powercut.Open && k != powercut.Remove
	}
	kinds := []struct {
		name string
		fail func(n, at int, op powercut.Op) error
	}{
		{"once", func(n, at int, _ powercut.Op) error { return failIf(n == at, syscall.EIO) }},
		{"full", func(n, at int, op powercut.Op) error {
			return failIf(n >= at && (op.Kind == powercut.Write || op.Kind == powercut.Create), syscall.ENOSPC)
		}},
		{"full for a while", func(n, at int, op powercut.Op) error {
			return failIf(n >= at && n < at+12 && (op.Kind == powercut.Write || op.Kind == powercut.Create), syscall.ENOSPC)
		}},
		{"read-only", func(n, at int, op powercut.Op) error {
			return failIf(n >= at && (writes(op.Kind) || op.Kind == powercut.Remove), syscall.EROFS)
		}},
		{"no sync", func(n, at int, op powercut.Op) error {
			return failIf(n >= at && (op.Kind == powercut.Sync || op.Kind == powercut.SyncDir), syscall.EIO)
		}},
		{"gone", func(n, at int, _ powercut.Op) error { return failIf(n >= at, syscall.EIO) }},
	}
	var points atomic.Int64
	t.Run("kinds", func(t *testing.T) {
		for _, k := range kinds {
			t.Run(k.name, func(t *testing.T) {
				t.Parallel()
				for at := range total {
					disk, err := powercut.New()
					if err != nil {
						t.Fatal(err)
					}
					disk.Fault = func(n int, op powercut.Op) error { return k.fail(n, at, op) }
					faulty(t, disk, fmt.Sprintf("%s at %d", k.name, at))
					disk.Close()
					points.Add(1)
				}
			})
		}
	})
	t.Logf("%d operations, %d points", total, points.Load())
}

func failIf(b bool, err error) error {
	if b {
		return err
	}
	return nil
}

func faulty(t *testing.T, disk *powercut.Disk, what string) {
	t.Helper()
	dir := memoryDir(t)
	open := func(fs store.FS) (*store.Store, bool) {
		s, found, err := store.Open(t.Context(), store.Config{Path: pathIn(dir), FS: fs})
		if err != nil {
			t.Fatalf("%s: start refused: %v", what, err)
		}
		return s, found.Storing
	}
	s, _ := open(disk)
	have := map[string]string{}
	var maybe []map[string]string // got an error since
	for i, step := range script(false) {
		if step.reopen {
			_ = s.Close() // with a faulty disk it says so; what was saved is safe
			var storing bool
			s, storing = open(disk)
			// A start on a disk that cannot be had knows less than the files.
			if got := s.Load(); oneOf(got, append(maybe, have)...) {
				if storing {
					have, maybe = got, nil
				}
			} else if len(got) > 0 {
				t.Fatalf("%s: step %d: got %v want %v", what, i, brief(got), brief(have))
			}
			continue
		}
		was := s.Load()
		err := step.do(s)
		if got := s.Load(); err != nil && !maps.Equal(got, was) {
			t.Fatalf("%s: step %d: error %v and yet changed: %v", what, i, err, brief(got))
		}
		if err != nil {
			maybe = append(maybe, step.edited(was), step.edited(have))
			continue
		}
		// A store that could be opened again at this step has what the files had.
		got := s.Load()
		if !oneOf(got, append([]map[string]string{step.edited(have)}, editedAll(step, maybe)...)...) {
			t.Fatalf("%s: step %d: got %v want %v", what, i, brief(got), brief(step.edited(have)))
		}
		have, maybe = got, nil
	}
	_ = s.Close()
	healed := newDisk(t)
	s, storing := open(healed)
	if !storing {
		t.Fatalf("%s: healed, and yet it does not store", what)
	}
	if got := s.Load(); !oneOf(got, append(maybe, have)...) {
		t.Fatalf("%s: after restart got %v want %v or one of %d", what, brief(got), brief(have), len(maybe))
	}
	if err := s.Save(map[string]string{"log.level": "info"}); err != nil {
		t.Fatalf("%s: healed, and yet: %v", what, err)
	}
	if err := s.Close(); err != nil {
		t.Fatalf("%s: healed, and yet: %v", what, err)
	}
}

func editedAll(s step, all []map[string]string) []map[string]string {
	var out []map[string]string
	for _, m := range all {
		out = append(out, s.edited(m))
	}
	return out
}
